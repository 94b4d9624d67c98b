// One post as it is shown. Cards are made once and then only changed where something differs.

import { comment, deleteComment, deletePost, setLiked } from "./actions.js";
import { newKey, serverNow } from "./api.js";
import { age, animate, byId, fromTemplate, showAvatar, showCount, showPicture } from "./dom.js";
import { posts } from "./posts.js";
import { session } from "./session.js";
import { openWhy } from "./why.js";

const LONG_CAPTION = 280;

/** Words that nobody has sent yet, by post, with whose they are: a card may go and come again, as in a dialog. */
const drafts = new Map();

/** Opens whatever lets a reader become a user; set by the page. */
export const gate = { open: () => {} };

export class Card {
  /** `onLeave` is called when the post is deleted, `onReturn` when a deletion failed. */
  constructor(post, { onLeave, onReturn }) {
    this.postId = post.post_id;
    this.onLeave = onLeave;
    this.onReturn = onReturn;
    this.element = fromTemplate("card-template");
    this.element.dataset.postId = post.post_id;
    this.parts = partsOf(this.element);
    this.shownComments = null;
    this.unsent = {}; // {words, key} of a comment that failed
    this.sending = 0;
    posts.watch(this.postId, this);
    posts.put(post);
    this.fill(post);
    this.listen();
    this.takeUpDraft();
    this.render();
  }

  /** What never changes. */
  fill(post) {
    const { avatar, author, picture, caption, unfold } = this.parts;
    this.element.setAttribute("aria-label", `Post by ${post.user_id}`);
    showAvatar(avatar, post.user_id);
    author.textContent = post.user_id;
    caption.textContent = post.caption;
    caption.parentElement.hidden = post.caption === "";
    unfold.hidden = post.caption.length <= LONG_CAPTION && post.caption.split("\n").length <= 5;
    caption.classList.toggle("folded", !unfold.hidden);
    showPicture(picture, post.image_url, post.caption.slice(0, 120) || `Picture by ${post.user_id}`);
  }

  listen() {
    const { like, talk, remove, form, text, unfold } = this.parts;
    like.onclick = () => this.like();
    talk.onclick = () => this.write();
    this.parts.whyLikes.onclick = () => openWhy(this.postId, "likes", posts.count(this.postId, "likes"));
    this.parts.whyComments.onclick = () => openWhy(this.postId, "comments", posts.count(this.postId, "comments"));
    remove.onclick = () => this.askToDelete();
    text.oninput = () => this.keepDraft();
    form.onsubmit = (event) => {
      event.preventDefault();
      this.send();
    };
    unfold.onclick = () => {
      this.parts.caption.classList.remove("folded");
      this.element.focus({ preventScroll: true }); // the button that had it is gone
      unfold.hidden = true;
    };
  }

  /** What changes: counts, and what is the viewer's own. */
  render() {
    const post = posts.get(this.postId);
    if (!post) return;
    this.createdAt = post.created_at;
    showCount(this.parts.likes, posts.count(this.postId, "likes"));
    showCount(this.parts.comments, posts.count(this.postId, "comments"));
    this.element.dataset.version = post.version;
    this.element.setAttribute("aria-busy", posts.isBusy(this.postId));
    this.renderOwn(post, session.who);
    this.renderAge();
  }

  renderOwn(post, who) {
    const { like, remove, form } = this.parts;
    const liked = who?.memory.likes(this.postId) ?? false;
    like.setAttribute("aria-pressed", liked);
    remove.hidden = post.user_id !== who?.user;
    form.hidden = !who;
    this.renderComments(who);
  }

  renderComments(who) {
    const comments = who?.memory.comments(this.postId) ?? [];
    const shown = JSON.stringify([who?.user, comments]);
    if (shown === this.shownComments) return;
    this.shownComments = shown;
    this.parts.ownComments.replaceChildren(...comments.map((own) => this.commentItem(own, who.user)));
  }

  commentItem(own, user) {
    const item = fromTemplate("comment-template");
    const remove = item.querySelector("button");
    item.querySelector(".author").textContent = user;
    item.querySelector(".text").textContent = own.text;
    item.classList.toggle("pending", own.id === null);
    remove.hidden = own.id === null;
    remove.onclick = () => {
      deleteComment(this.postId, own);
      this.parts.text.focus({ preventScroll: true });
    };
    return item;
  }

  renderAge() {
    const { when } = this.parts;
    when.dateTime = this.createdAt;
    when.title = new Date(this.createdAt).toLocaleString();
    const milliseconds = serverNow() - Date.parse(this.createdAt);
    when.textContent = milliseconds < 10_000 ? "just now" : `${age(milliseconds)} ago`;
  }

  takeUpDraft() {
    const draft = drafts.get(this.postId);
    if (draft?.writer === session.writer) this.parts.text.value = draft.words;
    this.renderSend();
  }

  renderSend() {
    this.parts.send.disabled = this.parts.text.value.trim() === "";
  }

  keepDraft() {
    const words = this.parts.text.value;
    if (words) drafts.set(this.postId, { words, writer: session.writer });
    else drafts.delete(this.postId);
    this.renderSend();
  }

  like() {
    if (!session.who) return gate.open();
    const likes = !session.who.memory.likes(this.postId);
    setLiked(this.postId, likes);
    const frames = [{ transform: "scale(1)" }, { transform: "scale(1.32)" }, { transform: "scale(1)" }];
    if (likes) animate(this.parts.heart, frames, { duration: 280, easing: "ease-out" });
  }

  write() {
    if (!session.who) return gate.open();
    this.parts.text.focus();
  }

  /** Whether there are words here that are not stored yet. */
  get isWritten() {
    return this.sending > 0 || this.parts.text.value !== "";
  }

  async send() {
    const { text } = this.parts;
    const words = text.value.trim();
    if (!words || !session.who) return;
    const { user } = session.who;
    text.value = "";
    text.focus({ preventScroll: true });
    this.keepDraft();
    const key = words === this.unsent.words ? this.unsent.key : newKey();
    const goesBack = () => this.element.isConnected && session.writer === user; // else it is no word of who writes here
    this.sending += 1;
    const isSent = await comment(this.postId, words, key, session.who, goesBack);
    this.sending -= 1;
    if (!goesBack()) return;
    this.unsent = isSent ? {} : { words, key };
    if (this.unsent.words) text.value = text.value === "" ? words : `${words} ${text.value}`;
    this.keepDraft();
  }

  /** What was written and not sent. */
  forget() {
    this.parts.text.value = "";
    this.unsent = {};
    this.renderSend();
  }

  askToDelete() {
    const dialog = byId("confirm");
    const post = posts.get(this.postId);
    dialog.onclick = ({ target }) => {
      const { answer } = target.dataset;
      if (!answer && target !== dialog) return;
      dialog.close();
      if (answer === "yes") deletePost(posts.get(this.postId) ?? post, this.onReturn);
    };
    dialog.showModal();
  }

  /** The post is gone for everybody. */
  left() {
    this.onLeave(this);
  }

  /** The card is not needed any more. */
  dispose() {
    posts.unwatch(this.postId, this);
    this.element.remove();
  }
}

function partsOf(element) {
  const one = (selector) => element.querySelector(selector);
  return {
    avatar: one(".avatar"),
    author: one(".author"),
    when: one("time"),
    remove: one(".delete-post"),
    picture: one(".picture"),
    like: one(".like"),
    heart: one(".like .icon"),
    talk: one(".talk"),
    whyLikes: one("[data-testid=why-likes]"),
    whyComments: one("[data-testid=why-comments]"),
    likes: one("[data-testid=likes]"),
    comments: one("[data-testid=comments]"),
    caption: one(".caption"),
    unfold: one(".unfold"),
    ownComments: one(".own-comments"),
    form: one(".comment-form"),
    text: one("[data-testid=comment-text]"),
    send: one("[data-testid=comment-send]"),
  };
}
