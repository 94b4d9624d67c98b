// The list of posts, newest first: pages below, new posts above, never more than a screenful of memory.

import { getFeed } from "./api.js";
import { Card } from "./card.js";
import { byId, fromTemplate, keepingFocus, onceAFrame } from "./dom.js";
import { isAtTop, Newcomers } from "./newcomers.js";
import { posts } from "./posts.js";
import { Refresher } from "./refresher.js";

const MOST_CARDS = 200;
const MOST_PAGES = 12; // at a time: as many as are shown, and some more
const BAR_PX = 64;

/** Newest first; equal moments by id, as the service orders them. */
function isNewer(one, other) {
  if (one.created_at !== other.created_at) return one.created_at > other.created_at;
  return one.post_id > other.post_id;
}

const keyOf = (post) => ({ created_at: post.created_at, post_id: post.post_id });
const idsOf = (page) => new Set(page.posts.map(({ post_id: id }) => id));

export class Feed {
  #list = byId("posts");
  #more = byId("more");
  #entries = []; // {key, card, from}, newest first; `from` is the cursor of a page that has it, or had
  #newest = null; // key of the newest post that was ever seen, shown or waiting
  #newcomers = new Newcomers(this.#list, () => this.#greet());
  #changed = new Map(); // what the stream brought since the last frame
  #end = { cursor: null }; // another object once the list goes on elsewhere
  #atEnd = false;
  #cutAbove = false;
  #loading = null; // a page that is on its way
  #reloading = null;
  #retryMs = 1_000;
  #retry = 0;
  #nearEnd = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.more(), {
    rootMargin: "900px",
  });
  #takeIn = onceAFrame(() => this.#flush());
  #refresher = new Refresher(
    (post) => this.arrive(post),
    (ids) => this.#entries.filter(({ card }) => ids.includes(card.postId)).map(({ from }) => from),
  );

  /** `onLoaded` gets the newest page, with the id from which the stream goes on. */
  constructor(onLoaded) {
    this.onLoaded = onLoaded;
    this.#more.querySelector("button").onclick = () => this.more();
    addEventListener("scroll", onceAFrame(() => this.#letIn()), { passive: true });
  }

  /** Loads the newest page in place of what is shown. */
  load() {
    clearTimeout(this.#retry);
    this.#reloading ??= this.#reload().finally(() => { this.#reloading = null; });
    return this.#reloading;
  }

  async #reload() {
    await this.#loading;
    this.#loading = this.#load().finally(() => { this.#loading = null; });
    await this.#loading;
  }

  async #load() {
    if (!this.#entries.length) this.#showSkeletons();
    try {
      const page = await getFeed(null);
      this.show(page);
      this.onLoaded(page);
    } catch (error) {
      this.#say(`${error.message} Trying again…`);
      this.#retry = setTimeout(() => this.load(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, 15_000);
    }
    this.#list.setAttribute("aria-busy", "false");
  }

  /** Shows the newest page in place of what is shown. Cards that stay are the same ones, with what is written there. */
  show(page) {
    clearTimeout(this.#retry);
    this.#retryMs = 1_000;
    const ids = idsOf(page);
    const stays = ({ card }) => ids.has(card.postId) || card.isWritten;
    this.#keepingPlace(() => {
      this.#clear(stays);
      this.#addPage(page);
    }, stays);
    this.#refresher.refresh(ids);
  }

  /** The stream begins anew, with the newest page. Whoever reads further down keeps all cards. */
  reset(page) {
    if (isAtTop() || !this.#entries.length) return this.show(page);
    this.#newcomers.takeAll();
    this.#changed.clear();
    this.#newest = this.#entries[0].key;
    this.#cutAbove ||= page.next !== null && isNewer(page.posts.at(-1), this.#newest);
    this.#end = { ...this.#end }; // a page that is on its way may be older
    page.posts.forEach((post) => this.arrive(post));
    this.#refresher.refresh(idsOf(page));
  }

  /** Loads what comes after the last card. Without a cursor it is looked for from the top. */
  async more() {
    if (this.#loading || this.#reloading || this.#atEnd || !this.#entries.length) return;
    this.#loading = this.#nextPage().finally(() => { this.#loading = null; });
    await this.#loading;
  }

  async #nextPage() {
    const before = this.#entries.at(-1)?.card;
    try {
      for (let pages = 0; pages < MOST_PAGES && !this.#atEnd && this.#entries.at(-1)?.card === before; pages += 1) {
        const end = this.#end;
        const page = await getFeed(end.cursor);
        if (end !== this.#end) return this.#watchEnd();
        const below = page.posts.filter((post) => !this.#isAbove(post)); // the others wait, or are cut off
        this.#addPage({ ...page, posts: below }, end.cursor);
      }
      this.#trimAbove();
    } catch (error) {
      this.#say(error.message, true);
    }
  }

  #addPage(page, from = null) {
    for (const post of page.posts) this.#insert(post, from);
    this.#end = { cursor: page.next };
    this.#atEnd = page.next === null;
    if (!this.#entries.length) this.#say("No posts yet. Share the first picture!");
    else this.#say(this.#atEnd ? "You have seen it all." : "", !this.#atEnd);
    this.#watchEnd();
  }

  /** Observed anew after each page, since the end may still be near. */
  #watchEnd() {
    this.#nearEnd.unobserve(this.#more);
    this.#nearEnd.observe(this.#more);
  }

  /** A post from the stream: an update of what is shown, a new one, or nothing of interest. */
  arrive(post) {
    posts.put(post);
    const before = this.#changed.get(post.post_id);
    if (!before || post.version > before.version) this.#changed.set(post.post_id, post);
    this.#takeIn();
  }

  /** Somebody deleted a post. */
  leave(postId) {
    this.#changed.delete(postId);
    this.#newcomers.remove(postId);
    posts.remove(postId, true);
    this.#showPill();
  }

  #flush() {
    const oldestFirst = [...this.#changed.values()].sort((one, other) => (isNewer(one, other) ? 1 : -1));
    for (const post of oldestFirst) this.#sort(post);
    this.#changed.clear();
    this.#letIn();
  }

  #sort(post) {
    const known = posts.get(post.post_id);
    if (known) return this.#update(post);
    if (posts.isGone(post.post_id)) return;
    const isNew = !this.#newest || isNewer(post, this.#newest) || this.#isAbove(post);
    if (isNew || this.#newcomers.has(post.post_id)) return this.#wait(post);
    const last = this.#entries.at(-1)?.key;
    const isInside = last && (isNewer(post, last) || this.#atEnd);
    if (isInside && !this.#cutAbove) this.#keepingPlace(() => this.#insert(post));
  }

  #update(post) {
    posts.put(post);
    this.#replace(posts.get(post.post_id));
  }

  /** The viewer's own post had the browser's time until the feed told its real one, whoever heard that first. */
  #replace(post) {
    const at = this.#entries.findIndex(({ card }) => card.postId === post?.post_id);
    if (at === -1 || this.#entries[at].key.created_at === post.created_at) return;
    const [entry] = this.#entries.splice(at, 1);
    this.#noteNewest(post);
    const place = this.#placeOf(post);
    this.#entries.splice(place, 0, { ...entry, key: keyOf(post) });
    const next = this.#entries[place + 1]?.card.element ?? null;
    if (place !== at) keepingFocus(() => this.#list.insertBefore(entry.card.element, next));
  }

  #wait(post) {
    this.#noteNewest(post);
    this.#cutAbove ||= !this.#newcomers.add(post); // now there is a hole: to the top means loading anew
  }

  #letIn() {
    if (!this.#cutAbove) this.#newcomers.whenQuiet(() => this.#showNewcomers());
    this.#showPill();
  }

  #showNewcomers() {
    this.#keepingPlace(() => {
      for (const post of this.#newcomers.takeAll()) this.#insert(post)?.element.classList.add("fresh");
    });
    this.#trimBelow();
    this.#showPill();
  }

  #showPill() {
    this.#newcomers.showPill(this.#cutAbove);
  }

  async #greet() {
    await this.toTop();
    this.#entries[0]?.card.element.focus({ preventScroll: true });
  }

  /** To the newest posts, those that wait included. */
  async toTop() {
    scrollTo({ top: 0 });
    if (this.#cutAbove) return void (await this.load());
    this.#showNewcomers();
  }

  /** The viewer's own new post, or one whose deletion failed. */
  add(post) {
    if (!this.#cutAbove || !this.#isAbove(post)) {
      this.#keepingPlace(() => this.#insert(post)?.element.classList.add("fresh"));
    }
    this.#say("", !this.#atEnd);
  }

  cards() {
    return this.#entries.map(({ card }) => card);
  }

  #insert(post, from) {
    this.#noteNewest(post);
    this.#newcomers.remove(post.post_id);
    if (posts.isGone(post.post_id)) return null;
    if (this.#entries.some(({ card }) => card.postId === post.post_id)) {
      this.#update(post);
      return null;
    }
    const card = new Card(post, {
      onLeave: (left) => this.#drop(left.postId),
      onReturn: (back) => this.add(back),
    });
    const known = posts.get(post.post_id);
    const at = this.#placeOf(known);
    this.#entries.splice(at, 0, { key: keyOf(known), card, from: from ?? this.#entries[at - 1]?.from ?? null });
    const next = this.#entries[at + 1]?.card.element ?? null;
    this.#list.insertBefore(card.element, next);
    return card;
  }

  /** Newer than all that are shown. */
  #isAbove(post) {
    return this.#entries.length > 0 && isNewer(post, this.#entries[0].key);
  }

  #placeOf(post) {
    const at = this.#entries.findIndex(({ key }) => isNewer(post, key));
    return at === -1 ? this.#entries.length : at;
  }

  #drop(postId) {
    const at = this.#entries.findIndex(({ card }) => card.postId === postId);
    if (at === -1) return;
    const { card } = this.#entries[at];
    const hadFocus = card.element.contains(document.activeElement);
    this.#entries.splice(at, 1);
    this.#keepingPlace(() => card.dispose());
    if (hadFocus) this.#entries[Math.min(at, this.#entries.length - 1)]?.card.element.focus();
    if (!this.#entries.length && this.#atEnd) this.#say("No posts yet. Share the first picture!");
  }

  #noteNewest(post) {
    if (!this.#newest || isNewer(post, this.#newest)) this.#newest = keyOf(post);
  }

  #trimAbove() {
    const surplus = this.#entries.length - MOST_CARDS;
    if (surplus <= 0) return;
    this.#cutAbove = true;
    this.#keepingPlace(() => this.#keep(({ card }, at) => at >= surplus || card.isWritten));
    this.#showPill();
  }

  #trimBelow() {
    if (this.#entries.length <= MOST_CARDS) return;
    this.#keep(({ card }, at) => at < MOST_CARDS || card.isWritten);
    this.#end = { cursor: null }; // of the page that was cut: found again from the top
    this.#atEnd = false;
    this.#say("", true);
  }

  /** Changes the list without moving what is being looked at: the first card in sight that `stays`. */
  #keepingPlace(change, stays = () => true) {
    const isSeen = ({ card }) => card.element.getBoundingClientRect().bottom > BAR_PX;
    const anchor = this.#entries.find((entry) => isSeen(entry) && stays(entry))?.card.element;
    const before = anchor?.getBoundingClientRect().top;
    change();
    const isFree = isAtTop() && !this.#list.contains(document.activeElement);
    if (anchor?.isConnected && !isFree) scrollBy(0, anchor.getBoundingClientRect().top - before);
  }

  #keep(stays) {
    const kept = this.#entries.filter(stays);
    for (const entry of this.#entries) if (!kept.includes(entry)) entry.card.dispose();
    this.#entries = kept;
  }

  #clear(stays) {
    this.#keep(stays);
    this.#list.querySelectorAll(".skeleton").forEach((skeleton) => skeleton.remove());
    this.#newcomers.takeAll();
    this.#changed.clear();
    this.#newest = null;
    this.#cutAbove = false;
    this.#showPill();
  }

  #showSkeletons() {
    this.#list.replaceChildren(...[0, 1, 2].map(() => fromTemplate("skeleton-template")));
  }

  #say(text, canGoOn = false) {
    this.#more.querySelector("p").textContent = text;
    this.#more.querySelector("button").hidden = !canGoOn;
  }
}
