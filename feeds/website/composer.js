// The form that posts a picture: from a file, the clipboard, a drop, or an address.

import { outcome, publish } from "./actions.js";
import { newKey } from "./api.js";
import { byId, safeImage } from "./dom.js";
import { session } from "./session.js";
import { say } from "./toasts.js";

const KINDS = ["image/jpeg", "image/png", "image/webp", "image/gif"];
const PICTURE_MAX_BYTES = 10 * 1024 * 1024;
const CAPTION_MAX = 2_200; // characters as the server counts them: an emoji is one
const NEARLY_FULL = 200;

export class Composer {
  #form = byId("composer");
  #caption = byId("caption");
  #file = byId("image");
  #address = byId("image-url");
  #preview = byId("preview");
  #error = byId("composer-error");
  #button = byId("post");
  #picked = null;
  #focused = null; // of its fields, when they were disabled
  #key = newKey(); // of what is in the form: posted again after a failure, it counts once

  /** `onPosted` gets the new post, `onConfirmed` the same as the feed has it. */
  constructor(onPosted, onConfirmed) {
    this.onPosted = onPosted;
    this.onConfirmed = onConfirmed;
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#file.onchange = () => this.#pick(this.#file.files[0]);
    this.#address.oninput = () => this.#showAddress();
    this.#caption.oninput = () => this.#showLength();
    this.#caption.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    };
    this.#preview.querySelector("button").onclick = () => this.#reset({ keepCaption: true });
    this.#preview.querySelector("img").onerror = () => this.#complain("This picture cannot be shown.");
    this.#takeDropsAndPastes();
    session.addEventListener("another", () => this.#reset());
  }

  #takeDropsAndPastes() {
    this.#form.ondragover = (event) => {
      event.preventDefault();
      this.#form.classList.add("drop");
    };
    this.#form.ondragleave = () => this.#form.classList.remove("drop");
    this.#form.ondrop = (event) => {
      event.preventDefault();
      this.#form.classList.remove("drop");
      this.#pick(event.dataTransfer.files[0]);
    };
    this.#caption.onpaste = (event) => {
      if (event.clipboardData.files[0]) this.#pick(event.clipboardData.files[0]);
    };
  }

  #pick(file) {
    if (!file || this.#button.disabled) return;
    if (!KINDS.includes(file.type)) return this.#complain("Choose a JPEG, PNG, WebP or GIF picture.");
    if (file.size > PICTURE_MAX_BYTES) return this.#complain("Choose a smaller picture: at most 10 MiB.");
    this.#complain("");
    this.#picked = file;
    this.#address.value = "";
    this.#show(URL.createObjectURL(file));
  }

  #showAddress() {
    this.#complain("");
    this.#picked = null;
    this.#file.value = "";
    this.#show(this.#typedAddress());
  }

  /** The address that was typed, if it is one of a picture that may be shown. */
  #typedAddress() {
    const typed = this.#address.value.trim();
    return /^https?:/i.test(typed) ? safeImage(typed) : null;
  }

  #show(address) {
    this.#key = newKey();
    const image = this.#preview.querySelector("img");
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
    this.#preview.hidden = !address;
    if (address) image.src = address;
    else image.removeAttribute("src");
  }

  #showLength() {
    this.#key = newKey();
    const left = roomAfter(this.#caption.value);
    const words = left < 0 ? `${-left} too many` : `${left} left`;
    byId("counter").textContent = left < NEARLY_FULL ? words : "";
  }

  async #submit() {
    const caption = this.#caption.value.trim();
    const picture = { file: this.#picked, address: this.#typedAddress(), caption, key: this.#key };
    if (!session.who || this.#button.disabled) return;
    if (!picture.file && !picture.address) return this.#complain(this.#missing());
    if (roomAfter(caption) < 0) return this.#complain("The caption is too long.");
    this.#busy(true);
    try {
      const post = await publish(picture, this.onConfirmed);
      this.#reset();
      this.onPosted(post);
      say("Posted.");
    } catch (error) {
      this.#complain(`${outcome(error, "Not posted.", "your post arrived")} ${error.message}`);
      if (error.status === 401) say("Not posted. Your session has ended. Sign in again.", { error: true });
    } finally {
      this.#busy(false);
    }
  }

  #missing() {
    if (this.#address.value.trim() === "") return "Add a picture first.";
    return "The address must begin with https:// or http://.";
  }

  #busy(busy) {
    if (busy) this.#focused = this.#form.contains(document.activeElement) ? document.activeElement : null;
    for (const field of this.#form.elements) field.disabled = busy; // what is written meanwhile would be lost
    this.#button.textContent = busy ? "Posting…" : "Post";
    if (!busy && document.activeElement === document.body) this.#focused?.focus({ preventScroll: true });
  }

  #complain(text) {
    this.#error.textContent = text;
  }

  #reset({ keepCaption = false } = {}) {
    this.#picked = null;
    this.#file.value = this.#address.value = "";
    if (!keepCaption) this.#caption.value = "";
    this.#complain("");
    this.#show(null);
    this.#showLength();
  }
}

const roomAfter = (text) => CAPTION_MAX - [...text].length;
