// The posts that the page knows: the highest version of each, and what the viewer's own clicks add to it.

import { onceAFrame } from "./dom.js";

const MOST_RECENT = 2_000;

/** What was put in last: the oldest is forgotten first. */
class Recent extends Map {
  set(key, value) {
    this.delete(key);
    super.set(key, value);
    if (this.size > MOST_RECENT) this.delete(this.keys().next().value);
    return this;
  }
}

/** A count that shows the viewer's own clicks before the pipeline has counted them, and never twice. */
class Expected {
  #start; // before the first click
  #change = 0; // by all clicks; what is counted of it lies between these two
  #lowest = 0;
  #highest = 0;
  #open = 0;

  constructor(start) {
    this.#start = start;
  }

  expect(change) {
    this.#change += change;
    this.#lowest = Math.min(this.#lowest, this.#change);
    this.#highest = Math.max(this.#highest, this.#change);
    this.#open += 1;
  }

  settle(undone = 0) {
    this.#change -= undone;
    this.#open -= 1;
  }

  get isOpen() {
    return this.#open > 0;
  }

  /** What differs from the start is the viewer's own, as far as it can be. */
  shown(actual) {
    const counted = Math.max(this.#lowest, Math.min(this.#highest, actual - this.#start));
    return Math.max(0, actual - counted + this.#change);
  }
}

class Posts {
  #posts = new Map(); // those that a card shows
  #told = new Recent(); // of each post the highest version, shown or not: an answer that was on its way may be older
  #expected = new Map();
  #cards = new Map();
  #gone = new Recent(); // post_id -> whether for good
  #dirty = new Set();
  #render = onceAFrame(() => this.#flush());

  get(postId) {
    return this.#posts.get(postId);
  }

  /** Takes in what is told of a post, shown or not: a lower version never replaces a higher one, a deletion is final. */
  put(post) {
    const postId = post.post_id;
    const told = this.#told.get(postId);
    const newest = told?.version > post.version ? told : post;
    this.#told.set(postId, newest);
    if (this.#gone.has(postId) || !this.#cards.has(postId) || newest.version <= this.get(postId)?.version) return;
    this.#posts.set(postId, newest);
    this.touch(postId);
  }

  /** A deletion is `forGood` once the feed tells it. */
  remove(postId, forGood = false) {
    this.#gone.set(postId, forGood || this.#gone.get(postId) === true);
    this.lose(postId);
  }

  /** Its cards go, but what tells of it brings it back. */
  lose(postId) {
    this.#posts.delete(postId);
    for (const card of this.#cards.get(postId) ?? []) card.left();
  }

  isGone(postId) {
    return this.#gone.has(postId);
  }

  /** A deletion that failed is taken back; false where the feed told it meanwhile, so that it did not. */
  restore(postId) {
    if (this.#gone.get(postId)) return false;
    this.#gone.delete(postId);
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

  /** The ids of what is shown, but for the viewer's own posts that the feed has not told yet. */
  shown() {
    return [...this.#posts.values()].filter(({ version }) => version >= 0).map(({ post_id: id }) => id);
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
    const expected = this.#expected.get(key) ?? new Expected(this.count(postId, kind));
    expected.expect(change);
    this.#expected.set(key, expected);
    this.touch(postId);
    return (happened = true) => {
      expected.settle(happened ? 0 : change);
      if (!expected.isOpen) this.#expected.delete(key);
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
