// Who uses this tab. The token lives in sessionStorage, so two tabs can be two users.

import { getDemo, getDemoToken, serverNow } from "./api.js";
import { keep, Memory, readJson } from "./memory.js";

const KEY = "msm.session";

class Session extends EventTarget {
  /** {user, token, memory}, or null for somebody who only reads. */
  who = null;
  demoUsers = [];
  memories = new Map();
  /** Whose words are in the forms: who was signed in last. */
  writer = null;
  choice = 0;

  /** Finds out whether this is the demo, and takes up the user that the tab was before. */
  async start() {
    this.demoUsers = await demoUsers();
    const kept = readJson(KEY, "sessionStorage");
    if (kept?.token && (!this.isDemo || this.demoUsers.includes(kept.user))) this.set(kept.user, kept.token);
    else this.leave();
    addEventListener("storage", (event) => this.heard(event.key));
  }

  get isDemo() {
    return this.demoUsers.length > 0;
  }

  /** Demo only: be this user from now on. */
  async become(user) {
    const choice = ++this.choice;
    const { token } = await getDemoToken(user);
    if (choice === this.choice) this.set(user, token); // else somebody else was chosen meanwhile
  }

  /** Use a token that somebody was given; an Error says what is wrong with it. */
  signIn(token) {
    this.set(userOf(token), token);
  }

  leave() {
    this.choice += 1;
    keep(KEY, "null", "sessionStorage");
    this.who = null;
    this.changed();
  }

  /** After a 401: a new token where that is possible, else nobody is signed in any more. */
  async renew(who) {
    if (this.isDemo) {
      who.token = (await getDemoToken(who.user)).token;
      if (this.who === who) keep(KEY, JSON.stringify({ user: who.user, token: who.token }), "sessionStorage");
      return true;
    }
    if (this.who === who) this.leave();
    return false;
  }

  set(user, token) {
    keep(KEY, JSON.stringify({ user, token }), "sessionStorage");
    this.choice += 1;
    this.who = { user, token, memory: this.memoryOf(user) };
    if (this.writer && this.writer !== user) this.dispatchEvent(new Event("another"));
    this.writer = user;
    this.changed();
  }

  /** One for each user: what was on its way when somebody else was chosen still goes there. */
  memoryOf(user) {
    if (!this.memories.has(user)) this.memories.set(user, new Memory(user));
    this.memories.get(user).refresh();
    return this.memories.get(user);
  }

  /** The same user did something in another tab. */
  heard(key) {
    if (!this.who || key !== this.who.memory.key) return;
    this.who.memory.load();
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Whom one may be; nobody where this is no demo. Asked again until the server answers. */
async function demoUsers() {
  for (;;) {
    try {
      return (await getDemo()).users ?? [];
    } catch (error) {
      if (error.status >= 400 && error.status < 500) return [];
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}

function userOf(token) {
  const claims = claimsOf(token);
  if (!/^[\w-]{1,64}$/.test(claims?.sub ?? "")) throw new Error("This is not an access token.");
  if (claims.exp * 1000 < serverNow()) throw new Error("This token has expired.");
  return claims.sub;
}

function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return null;
  }
}

export const session = new Session();
