// The trending and rising lists: who is where, and who moved since the ranking before.

import { serverNow } from "./api.js";
import { age, animate, byTestId, fromTemplate, keepingFocus, showCount, showPicture } from "./dom.js";

const isNarrow = matchMedia("(max-width: 899px)");
const few = () => (isNarrow.matches ? 12 : 5);
const MOVES_SHOWN_MS = 20_000;
const EMPTY = { trending: "Nothing is trending in the past hour.", rising: "No young post is rising right now." };

export class RankingList {
  #items = new Map(); // post_id -> {element, movedAt}
  #ranking = null;
  #ranks = new Map(); // post_id -> its rank in the ranking before
  #unfolded = false;

  /** `onOpen` gets the id of a post that somebody wants to see. */
  constructor(name, onOpen) {
    this.name = name;
    this.onOpen = onOpen;
    this.list = byTestId(name);
    this.section = this.list.parentElement;
    this.age = this.section.querySelector(".ranking-age");
    this.unfold = this.section.querySelector(".link");
    this.unfold.onclick = () => {
      this.#unfolded = !this.#unfolded;
      this.render();
    };
  }

  get generatedAt() {
    return this.#ranking ? Date.parse(this.#ranking.generated_at) : 0;
  }

  /** Shows the ranking that came last: its time may be earlier, where the clock that it is from was set back. */
  show(ranking) {
    this.#ranks = new Map(this.#ranking?.posts.map(({ post_id: id, rank }) => [id, rank]));
    this.#ranking = ranking;
    this.render(this.#ranks.size > 0);
  }

  render(hasMoved = false) {
    const all = this.#ranking.posts;
    const shown = this.#unfolded ? all : all.slice(0, few());
    const tops = this.#tops();
    const elements = shown.map((post) => this.#item(post, hasMoved));
    this.#forget(new Set(all.map(({ post_id: id }) => id)));
    keepingFocus(() => this.#place(elements));
    this.list.dataset.empty = all.length ? "" : EMPTY[this.name];
    this.unfold.hidden = all.length <= few();
    this.unfold.textContent = this.#unfolded ? "Show fewer" : `Show all ${all.length}`;
    this.#glide(tops);
    this.renderAge();
  }

  renderAge() {
    this.age.textContent = this.generatedAt > 0 ? `${age(serverNow() - this.generatedAt)} ago` : "";
  }

  #item(post, hasMoved) {
    const known = this.#items.get(post.post_id);
    const item = known ?? { element: this.#create(post), movedAt: 0 };
    this.#items.set(post.post_id, item);
    this.#showMove(item, hasMoved ? this.#placesUp(post) : 0);
    const one = (selector) => item.element.querySelector(selector);
    one(".rank").textContent = post.rank;
    showCount(one(".ranked-likes"), post.likes);
    showCount(one(".ranked-comments"), post.comments);
    showCount(one(".score b"), post.score);
    return item.element;
  }

  #create(post) {
    const element = fromTemplate("ranked-template");
    element.dataset.postId = post.post_id;
    element.querySelector(".ranked-caption").textContent = post.caption || "Untitled";
    element.querySelector(".ranked-author").textContent = post.user_id;
    element.querySelector("button").onclick = () => this.onOpen(post.post_id);
    showPicture(element.querySelector(".thumb"), post.image_url, "");
    return element;
  }

  /** Null for a post that the ranking before did not have. */
  #placesUp({ post_id: id, rank }) {
    return this.#ranks.has(id) ? this.#ranks.get(id) - rank : null;
  }

  #showMove(item, places) {
    const move = item.element.querySelector(".move");
    if (places === 0) {
      if (performance.now() - item.movedAt > MOVES_SHOWN_MS) move.textContent = move.dataset.way = "";
      return;
    }
    item.movedAt = performance.now();
    move.dataset.way = places === null ? "new" : places > 0 ? "up" : "down";
    move.textContent = places === null ? "new" : `${places > 0 ? "▲" : "▼"}${Math.abs(places)}`;
    move.title = places === null ? "New in this list" : `${places > 0 ? "Up" : "Down"} ${Math.abs(places)}`;
  }

  #forget(ranked) {
    for (const postId of this.#items.keys()) if (!ranked.has(postId)) this.#items.delete(postId);
  }

  /** Only moves what is in another place, so that hover stays. */
  #place(elements) {
    const kept = new Set(elements);
    for (const element of [...this.list.children]) if (!kept.has(element)) element.remove();
    elements.forEach((element, index) => {
      const here = this.list.children[index];
      if (here !== element) this.list.insertBefore(element, here ?? null);
    });
  }

  #tops() {
    return new Map([...this.list.children].map((element) => [element, element.offsetTop]));
  }

  #glide(tops) {
    for (const element of this.list.children) {
      const distance = (tops.get(element) ?? element.offsetTop) - element.offsetTop;
      if (!distance) continue;
      const frames = [{ transform: `translateY(${distance}px)` }, { transform: "none" }];
      animate(element, frames, { duration: 380, easing: "cubic-bezier(.2,.8,.3,1)" });
    }
  }
}
