// Asks anew for what is shown, after changes that the stream did not tell.

import { getFeed, getPost } from "./api.js";
import { posts } from "./posts.js";

const EVERY_MS = 5_000; // at most
const SPREAD_MS = 1_000; // many pages are told to begin anew at once
const PAGE = 100;
const FEW = 5;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

export class Refresher {
  #round = 0; // the last that was begun: the ones before it end
  #timer = 0;
  #notBefore = 0;

  /** `onPost` gets each post as it is now; `cursorsOf` tells after which cursors pages have these ids. */
  constructor(onPost, cursorsOf) {
    this.onPost = onPost;
    this.cursorsOf = cursorsOf;
  }

  /** Soon; `fresh` are the ids of posts that need not be asked for. */
  refresh(fresh) {
    const round = ++this.#round;
    const old = new Set(posts.shown()); // what is loaded from now on is as it is now
    const wait = Math.max(this.#notBefore - performance.now(), Math.random() * SPREAD_MS);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(old, fresh, round), wait);
  }

  /** For pages while they have much of it, then for one post after the other. */
  async #ask(old, fresh, round) {
    const stale = () => posts.shown().filter((id) => old.has(id) && !fresh.has(id));
    if (stale().length) this.#notBefore = performance.now() + EVERY_MS;
    const asked = new Set([undefined]); // nobody knows the page
    for (let left = stale(); left.length > FEW; left = stale()) {
      const cursor = this.cursorsOf(left).find((one) => !asked.has(one));
      if (cursor === undefined) break;
      asked.add(cursor);
      const page = await this.#answer(() => getFeed(cursor, PAGE), round);
      for (const post of page?.posts ?? []) {
        fresh.add(post.post_id);
        this.onPost(post);
      }
    }
    for (const postId of stale()) {
      const post = await this.#answer(() => getPost(postId), round);
      if (post) posts.put(post);
      else if (post === null) posts.lose(postId);
    }
  }

  /** However long it takes; null where there is no such thing, undefined where another round has begun. */
  async #answer(ask, round) {
    for (let pause = FIRST_PAUSE_MS; round === this.#round; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await ask();
      } catch (error) {
        if (error.status === 404) return null;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}
