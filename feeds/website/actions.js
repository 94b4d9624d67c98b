// What a user does. It shows at once, is confirmed by the feed, and is taken back where it failed.

import * as api from "./api.js";
import { posts } from "./posts.js";
import { session } from "./session.js";
import { say } from "./toasts.js";

const AGAIN_AFTER_MS = [1_000, 3_000];
const queues = new Map();
const wishes = new Map(); // of a user for a post: the latest click, and whether the like is stored

/** One after the other for each post, so that a like and an unlike never overtake each other. */
function inOrder(postId, work) {
  const turn = (queues.get(postId) ?? Promise.resolve()).then(work);
  const settled = turn.catch(() => {});
  queues.set(postId, settled);
  settled.then(() => queues.get(postId) === settled && queues.delete(postId));
  return turn;
}

async function withToken(who, call) {
  try {
    return await call(who.token);
  } catch (error) {
    if (error.status !== 401 || !(await session.renew(who))) throw error;
    return call(who.token);
  }
}

/** Sends once more, and again, where that may help, while it `isWanted`: something that counts once. */
async function insist(isWanted, send, [pause, ...others] = AGAIN_AFTER_MS, wasUnknown = false) {
  if (!isWanted()) return null;
  try {
    return await send();
  } catch (error) {
    error.isUnknown ||= wasUnknown;
    if (!pause || !(error.isUnknown || error.status === 503)) throw error;
    await new Promise((resolve) => setTimeout(resolve, pause));
    return insist(isWanted, send, others, error.isUnknown);
  }
}

/** `retry` gets whoever did it, as they are signed in by then. */
function complain(what, error, who = null, retry = null) {
  if (error.status === 401) return say("Your session has ended. Sign in again.", { error: true });
  const mayPass = error.status === 0 || error.status >= 500 || error.status === 429;
  const isThem = () => session.who?.user === who.user;
  const run = () => (isThem() ? retry(session.who) : say(`Only ${who.user} can do that.`, { error: true }));
  say(`${what} ${error.message}`, { error: true, action: mayPass && retry ? { label: "Retry", run } : null });
}

async function confirm(stored, settle) {
  const post = await api.confirmed(stored);
  if (post) posts.put(post);
  settle();
}

/** Likes the post, or takes the like back. Of quick clicks that wait for each other only the last is sent. */
export async function setLiked(postId, likes, who = session.who) {
  const { memory } = who;
  const key = `${who.user} ${postId}`;
  const wish = wishes.get(key) ?? { isStored: memory.likes(postId) };
  const click = (wish.latest = Symbol(key));
  const isLatest = () => wish.latest === click;
  wishes.set(key, wish);
  memory.setLiked(postId, likes);
  const settle = posts.expect(postId, "likes", likes ? 1 : -1);
  const call = (token) => (likes ? api.like : api.unlike)(token, postId);
  try {
    const stored = await inOrder(postId, () => insist(isLatest, () => withToken(who, call)));
    if (!stored) return settle();
    wish.isStored = likes;
    await confirm(stored, settle);
  } catch (error) {
    if (!isLatest()) return settle(); // what is shown is the click after it
    settle(false);
    if (!error.isUnknown) memory.setLiked(postId, wish.isStored);
    const what = outcome(
      error,
      likes ? "Not liked." : "Still liked.",
      `your like ${likes ? "arrived" : "is taken back"}`,
    );
    complain(what, error, who, (now) => setLiked(postId, likes, now));
  } finally {
    if (isLatest()) wishes.delete(key);
  }
}

/** What to say of a command that failed, or of which nobody knows whether it did. */
export function outcome(error, failed, unknown) {
  return error.isUnknown ? `It is not known whether ${unknown}.` : failed;
}

/**
 * Comments; true once it is stored. Tried again under the same key, it counts once.
 * `goesBack` tells whether a form has the text again where that failed.
 */
export async function comment(postId, text, key, who = session.who, goesBack = () => false) {
  const draft = { id: null, text, written: Date.now() };
  who.memory.addDraft(postId, draft);
  const settle = posts.expect(postId, "comments", 1);
  try {
    const stored = await withToken(who, (token) => api.comment(token, postId, text, key));
    who.memory.addComment(postId, { ...draft, id: stored.comment_id });
    confirm(stored, settle);
    return true;
  } catch (error) {
    settle(false);
    const retry = goesBack() ? null : (now) => comment(postId, text, key, now);
    complain(outcome(error, "Not sent.", "your comment arrived"), error, who, retry);
    return false;
  } finally {
    who.memory.removeDraft(postId, draft);
    posts.touch(postId);
  }
}

/** Takes back a comment of one's own, for good. */
export async function deleteComment(postId, comment, who = session.who) {
  who.memory.removeComment(postId, comment.id);
  const settle = posts.expect(postId, "comments", -1);
  try {
    await confirm(await withToken(who, (token) => api.deleteComment(token, postId, comment.id)), settle);
  } catch (error) {
    who.memory.addComment(postId, comment);
    settle(false);
    const what = outcome(error, "The comment is still there.", "the comment is deleted");
    complain(what, error, who, (now) => deleteComment(postId, comment, now));
  }
}

/** Deletes a post of one's own, for good; `onFailure` gets it back if that failed. */
export async function deletePost(post, onFailure, who = session.who) {
  posts.remove(post.post_id);
  try {
    await withToken(who, (token) => api.deletePost(token, post.post_id));
  } catch (error) {
    if (posts.restore(post.post_id)) {
      onFailure(post);
      const what = outcome(error, "The post is still there.", "the post is deleted");
      return complain(what, error, who, (now) => deletePost(post, onFailure, now));
    }
  }
  who.memory.forget(post.post_id);
  say("Your post is deleted.");
}

/**
 * Posts a picture; the post as it will be, before the feed has it (its version is the lowest).
 * `onConfirmed` gets it as the feed has it.
 */
export async function publish(picture, onConfirmed, who = session.who) {
  const stored = await withToken(who, (token) => api.createPost(token, picture));
  const moment = new Date(api.serverNow()).toISOString();
  api.confirmed(stored).then((post) => post && onConfirmed(post));
  return {
    post_id: stored.post_id,
    user_id: who.user,
    image_url: stored.image_url ?? picture.address,
    caption: picture.caption,
    created_at: moment,
    updated_at: moment,
    likes: 0,
    comments: 0,
    version: -1,
  };
}
