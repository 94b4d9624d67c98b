// The posts that the page knows: the highest version of each, and what the viewer's own clicks add to it.

import { onceAFrame } from "./dom.js";

/** A count that shows the viewer's own clicks before the pipeline has counted them, and never twice. */
class Expected {
  #target = 0;
  #rising = true;
  #open = 0;

  expect(shown, change) {
    this.#target = shown + change;
    this.#rising = change > 0;
    this.#open += 1;
  }

  settle(undone = 0) {
    this.#target -= undone;
    this.#open -= 1;
  }

  get isOpen() {
    return this.#open > 0;
  }

  shown(actual) {
    if (this.#open === 0) return actual;
    return Math.max(0, this.#rising ? Math.max(actual, this.#target) : Math.min(actual, this.#target));
  }
}

class Posts {
  #posts = new Map();
  #expected = new Map();
  #cards = new Map();
  #gone = new Set();
  #goneForGood = new Set();
  #dirty = new Set();
  #render = onceAFrame(() => this.#flush());

  get(postId) {
    return this.#posts.get(postId);
  }

  /** Takes a post in if it is news: a lower version never replaces a higher one, a deletion is final. */
  put(post) {
    const known = this.#posts.get(post.post_id);
    if (this.#gone.has(post.post_id) || (known && post.version <= known.version)) return false;
    this.#posts.set(post.post_id, post);
    this.touch(post.post_id);
    return true;
  }

  /** A deletion is `forGood` once the feed tells it. */
  remove(postId, forGood = false) {
    if (forGood) this.#goneForGood.add(postId);
    this.#gone.add(postId);
    this.#posts.delete(postId);
    for (const card of this.#cards.get(postId) ?? []) card.left();
  }

  isGone(postId) {
    return this.#gone.has(postId);
  }

  /** A deletion that failed is taken back; false where the feed told it meanwhile, so that it did not. */
  restore(post) {
    if (this.#goneForGood.has(post.post_id)) return false;
    this.#gone.delete(post.post_id);
    this.put(post);
    return true;
  }

  /** A card shows a post until it is unwatched; then the post is forgotten. */
  watch(postId, card) {
    if (!this.#cards.has(postId)) this.#cards.set(postId, new Set());
    this.#cards.get(postId).add(card);
  }

  unwatch(postId, card) {
    const cards = this.#cards.get(postId);
    cards?.delete(card);
    if (cards?.size) return;
    this.#cards.delete(postId);
    this.#posts.delete(postId);
  }

  /** What is shown of "likes" or "comments". */
  count(postId, kind) {
    const actual = this.#posts.get(postId)?.[kind] ?? 0;
    return this.#expected.get(`${kind} ${postId}`)?.shown(actual) ?? actual;
  }

  /** Whether something of the viewer's is not confirmed yet. */
  isBusy(postId) {
    return ["likes", "comments"].some((kind) => this.#expected.get(`${kind} ${postId}`)?.isOpen);
  }

  /** Shows a change of a count at once; the function that is returned ends that, `false` takes it back. */
  expect(postId, kind, change) {
    const key = `${kind} ${postId}`;
    const shown = this.count(postId, kind);
    if (!this.#expected.has(key)) this.#expected.set(key, new Expected());
    this.#expected.get(key).expect(shown, change);
    this.touch(postId);
    return (happened = true) => {
      this.#expected.get(key).settle(happened ? 0 : change);
      this.touch(postId);
    };
  }

  touch(postId) {
    this.#dirty.add(postId);
    this.#render();
  }

  touchAll() {
    for (const postId of this.#cards.keys()) this.touch(postId);
  }

  #flush() {
    for (const postId of this.#dirty) {
      for (const card of this.#cards.get(postId) ?? []) card.render();
    }
    this.#dirty.clear();
  }
}

export const posts = new Posts();
