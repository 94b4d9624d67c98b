// New posts that are not shown yet: they come in by themselves when that disturbs nobody, or by the pill.

import { byId } from "./dom.js";

const MOST_WAITING = 200;
const AT_TOP_PX = 140;
const HANDS_OFF_MS = 2_500;
const LOOK_AGAIN_MS = 500;
const hasPointer = matchMedia("(hover: hover)"); // else one taps, and nothing may move right then

export const isAtTop = () => scrollY < AT_TOP_PX;

export class Newcomers {
  #waiting = new Map();
  #pill = byId("pill");
  #busyUntil = 0;
  #timer = 0;

  /** `onAsked` is called when somebody wants to see them. */
  constructor(list, onAsked) {
    this.list = list;
    this.#pill.onclick = onAsked;
    const busy = () => { this.#busyUntil = performance.now() + HANDS_OFF_MS; };
    for (const kind of ["pointermove", "pointerdown", "keydown"]) {
      list.addEventListener(kind, busy, { passive: true });
    }
  }

  has(postId) {
    return this.#waiting.has(postId);
  }

  /** Keeps the highest version; false where too many wait already, and it is not kept. */
  add(post) {
    const before = this.#waiting.get(post.post_id);
    if (!before && this.#waiting.size >= MOST_WAITING) return false;
    if (!before || post.version > before.version) this.#waiting.set(post.post_id, post);
    return true;
  }

  remove(postId) {
    this.#waiting.delete(postId);
  }

  /** All of them; none waits any more. */
  takeAll() {
    const taken = [...this.#waiting.values()];
    this.#waiting.clear();
    return taken;
  }

  /** Calls `letIn` now if nobody is about to click or writes something here, else when that is so. */
  whenQuiet(letIn) {
    clearTimeout(this.#timer);
    if (!this.#waiting.size || !isAtTop() || !hasPointer.matches) return;
    if (this.#isBusy()) this.#timer = setTimeout(() => this.whenQuiet(letIn), LOOK_AGAIN_MS);
    else letIn();
  }

  #isBusy() {
    const field = document.activeElement;
    const isWriting = this.list.contains(field) && Boolean(field.value);
    return isWriting || performance.now() < this.#busyUntil;
  }

  /** Offers a way to the top: to those that wait, or because the list does not begin there (`isCut`). */
  showPill(isCut) {
    const count = this.#waiting.size;
    const many = count === 1 ? "1 new post" : `${count} new posts`;
    this.#pill.hidden = count === 0 && !isCut;
    this.#pill.querySelector("span").textContent = isCut ? "Newest posts" : many;
  }
}
