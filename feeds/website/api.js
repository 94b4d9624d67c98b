// The HTTP interface: commands, reads, and waiting until a command is visible.

const PATIENCE_MS = 30_000;
const FORM_PATIENCE_MS = 150_000; // the server's own patience with a picture, and some more
const QUICK_MS = 1_000;
const CONFIRMATIONS = 3;
const PASSING = [404, 429, 503]; // not known yet, asked too often, or a feed that is being built
const LEAST_MS = 1_000; // that a confirmation takes: where too many wait, the server answers at once
const MOST_WAITING = 2; // a browser has six connections for a site, three are streams: one is left for clicks

let skew = 0;
let waiting = 0;
const queue = [];
let isLeaving = false;
addEventListener("pagehide", () => { isLeaving = true; });
addEventListener("pageshow", () => { isLeaving = false; });

/** The server's clock, near enough to tell ages by. */
export const serverNow = () => Date.now() + skew;

export class ApiError extends Error {
  /** `isUnknown`: what was asked for may have happened all the same. */
  constructor(status, message, isUnknown = false) {
    super(message);
    this.status = status;
    this.isUnknown = isUnknown;
  }
}

async function send(method, path, { token, json, form, key } = {}) {
  const headers = { Accept: "application/json" };
  if (key) headers["Idempotency-Key"] = key;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (json) headers["Content-Type"] = "application/json";
  const body = json ? JSON.stringify(json) : form;
  const keepalive = method !== "GET" && !form; // a click right before one leaves still counts
  const signal = AbortSignal.timeout(form ? FORM_PATIENCE_MS : PATIENCE_MS);
  const asked = performance.now();
  const response = await reach(path, { method, headers, body, keepalive, signal });
  // The header may be of when the server was asked: of an answer that took long it says nothing.
  if (performance.now() - asked < QUICK_MS) noteClock(response.headers.get("Date"));
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const isUnknown = [502, 504].includes(response.status) || /may be stored/.test(answer?.detail);
    throw new ApiError(response.status, sentence(method, response.status, answer?.detail), isUnknown);
  }
  if (answer === null) await fail("The server's answer was cut off.");
  return { answer, caughtUp: response.headers.get("X-Caught-Up") !== "false" };
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    return fail("The server cannot be reached.");
  }
}

async function fail(why) {
  if (isLeaving) await new Promise(() => {}); // not a failure: nobody is there to be told
  throw new ApiError(0, why, true);
}

function noteClock(date) {
  const difference = Date.parse(date) - Date.now();
  // The header has whole seconds only: less than two are no difference.
  if (Number.isFinite(difference)) skew = Math.abs(difference) < 2_000 ? 0 : difference;
}

function sentence(method, status, detail) {
  if (status === 503) return `The service is briefly unavailable.${method === "GET" ? "" : " Try again: it counts once."}`;
  if (typeof detail === "string") return capitalised(detail);
  if (Array.isArray(detail) && detail[0]?.msg) return capitalised(detail[0].msg);
  return `The server answered with an error (${status}).`;
}

const capitalised = (text) => `${text[0]?.toUpperCase() ?? ""}${text.slice(1).replace(/\.?$/, ".")}`;
const command = async (...request) => (await send(...request)).answer;

/** A name for one intention: retried under the same key, it counts once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
}

const postPath = (postId) => `/posts/${encodeURIComponent(postId)}`;

export const getDemo = () => command("GET", "/demo");
export const getDemoToken = (user) => command("POST", "/demo/token", { json: { user_id: user } });
export const getAudit = () => command("GET", "/audit");
export const getExplanation = (postId) => command("GET", `${postPath(postId)}/explain`);
export const getPost = (postId) => command("GET", postPath(postId));

/** A page of the feed, newest first, after the cursor of the page before. */
export function getFeed(before, limit = 20) {
  const query = new URLSearchParams({ limit });
  if (before) query.set("before", before);
  return command("GET", `/feed?${query}`);
}

export const like = (token, postId) => command("PUT", `${postPath(postId)}/like`, { token });
export const unlike = (token, postId) => command("DELETE", `${postPath(postId)}/like`, { token });
export const deletePost = (token, postId) => command("DELETE", postPath(postId), { token });
export const comment = (token, postId, text, key) =>
  command("POST", `${postPath(postId)}/comments`, { token, key, json: { text } });
export const deleteComment = (token, postId, commentId) =>
  command("DELETE", `${postPath(postId)}/comments/${encodeURIComponent(commentId)}`, { token });

/** Posts a file, or a picture that is already at an address. */
export function createPost(token, { file, address, caption, key }) {
  if (!file) return command("POST", "/posts", { token, key, json: { image_url: address, caption } });
  const form = new FormData();
  form.set("image", file);
  form.set("caption", caption);
  return command("POST", "/posts", { token, key, form });
}

/** The post once a command's fact is in it; null where it is not to be had. */
export async function confirmed({ post_id: postId, token }) {
  if (waiting === MOST_WAITING) await new Promise((resolve) => queue.push(resolve));
  else waiting += 1;
  try {
    return await once(postId, token);
  } finally {
    const next = queue.shift();
    if (next) next(); // takes this place
    else waiting -= 1;
  }
}

async function once(postId, token) {
  const path = `${postPath(postId)}?${new URLSearchParams({ after: token })}`;
  for (let attempt = 0; attempt < CONFIRMATIONS; attempt += 1) {
    const least = new Promise((resolve) => setTimeout(resolve, LEAST_MS));
    try {
      const { answer, caughtUp } = await send("GET", path);
      if (caughtUp) return answer;
    } catch (error) {
      if (!PASSING.includes(error.status)) return null;
    }
    await least;
  }
  return null;
}
