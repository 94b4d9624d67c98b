// What the feed does not tell: which posts a user likes, and the user's own comments.

const LIKES_MOST = 5_000;
const COMMENTED_MOST = 1_000;

/** One user's likes and comments, kept in this browser. */
export class Memory {
  constructor(user) {
    this.user = user;
    this.key = `msm.memory.${user}`;
    this.drafts = new Map();
    this.isKept = true;
    this.load();
  }

  load() {
    const kept = readJson(this.key);
    this.liked = new Set(Array.isArray(kept?.liked) ? kept.liked : []);
    this.commented = new Map(Array.isArray(kept?.commented) ? kept.commented : []);
  }

  likes(postId) {
    return this.liked.has(postId);
  }

  setLiked(postId, likes) {
    this.refresh();
    this.liked.delete(postId);
    if (likes) this.liked.add(postId);
    this.save();
  }

  /** Comments that are stored (with an id) and those on their way (without), as they were written. */
  comments(postId) {
    const all = [...(this.commented.get(postId) ?? []), ...(this.drafts.get(postId) ?? [])];
    return all.sort((one, other) => (one.written ?? 0) - (other.written ?? 0)); // browsers may remember some without
  }

  addDraft(postId, draft) {
    this.drafts.set(postId, [...(this.drafts.get(postId) ?? []), draft]);
  }

  removeDraft(postId, draft) {
    this.drafts.set(postId, (this.drafts.get(postId) ?? []).filter((other) => other !== draft));
  }

  addComment(postId, comment) {
    this.refresh();
    const before = this.commented.get(postId) ?? [];
    this.commented.delete(postId);
    this.commented.set(postId, [...before, comment]);
    this.save();
  }

  removeComment(postId, commentId) {
    this.refresh();
    const left = (this.commented.get(postId) ?? []).filter(({ id }) => id !== commentId);
    if (left.length) this.commented.set(postId, left);
    else this.commented.delete(postId);
    this.save();
  }

  forget(postId) {
    this.refresh();
    this.liked.delete(postId);
    this.commented.delete(postId);
    this.drafts.delete(postId);
    this.save();
  }

  /** Another tab may have changed it. */
  refresh() {
    if (this.isKept) this.load();
  }

  save() {
    const liked = [...this.liked].slice(-LIKES_MOST);
    const commented = [...this.commented].slice(-COMMENTED_MOST);
    this.isKept = keep(this.key, JSON.stringify({ liked, commented }));
  }
}

/** Whether the browser keeps it. Where storage is full or forbidden, it is remembered for as long as the page is open. */
export function keep(key, text, storage = "localStorage") {
  try {
    window[storage].setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

export function readJson(key, storage = "localStorage") {
  try {
    return JSON.parse(window[storage].getItem(key));
  } catch {
    return null;
  }
}
