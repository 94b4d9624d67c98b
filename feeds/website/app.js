// The page: wires feed, rankings, streams and the keyboard together.

import { getPost, serverNow } from "./api.js";
import { setUpAudit } from "./audit.js";
import { Card } from "./card.js";
import { Composer } from "./composer.js";
import { age, byId } from "./dom.js";
import { Feed } from "./feed.js";
import { keep } from "./memory.js";
import { posts } from "./posts.js";
import { RankingList } from "./rankings.js";
import { session } from "./session.js";
import { Stream } from "./stream.js";
import { say } from "./toasts.js";
import { setUpUsers } from "./users.js";
import { shareConnections } from "./windows.js";

const HIDDEN_PAUSE_MS = 5_000;
const FEED_STREAMS = 2, RANKING_STREAMS = 1; // in all windows of a browser: half of its connections
const GLANCE_MS = { posts: 2_000, rankings: 5_000 };
const NOT_THERE = "This post is not there any more.";
const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
const WORST_FIRST = ["offline", "reconnecting", "connecting", "live"];

const feed = new Feed((page) => {
  noteChanges(page);
  feedStream.open(page.stream_id);
  pauseWhileHidden();
});
const rankings = { trending: new RankingList("trending", openPost), rising: new RankingList("rising", openPost) };
let lastHeard = 0; // when the newest change of a post came
let pauseTimer = 0;
let hiddenAt = Date.now();
let postsAsked = 0; // for the dialog: only the last one is shown

const feedStream = new Stream(
  "/feed/stream",
  {
    post: heard((post) => feed.arrive(post)),
    deleted: heard(({ post_id: postId }) => feed.leave(postId)),
    reset: (page) => {
      noteChanges(page);
      feed.reset(page); // and the stream goes on: another one may be of a service that has other ids
    },
  },
  showConnection,
);
const rankingStream = new Stream(
  "/trending/stream",
  {
    trending: (ranking) => rankings.trending.show(ranking),
    rising: (ranking) => rankings.rising.show(ranking),
  },
  showConnection,
);
const streams = [feedStream, rankingStream];

function heard(handle) {
  return (data) => {
    lastHeard = serverNow();
    handle(data);
  };
}

function noteChanges(page) {
  lastHeard = Math.max(lastHeard, ...page.posts.map((post) => Date.parse(post.updated_at)));
}

function showConnection() {
  const states = streams.map(({ state }) => state);
  const state = WORST_FIRST.find((worst) => states.includes(worst)) ?? "connecting";
  const chip = byId("connection-text").parentElement;
  if (chip.dataset.state === state) return;
  chip.dataset.state = state;
  byId("connection-text").textContent = STATES[state];
}

/** How old what is shown is, told every second; rankings tell it of themselves. */
function showAges() {
  byId("age").parentElement.hidden = !lastHeard;
  byId("age").textContent = `${age(serverNow() - lastHeard)} ago`;
  Object.values(rankings).forEach((ranking) => ranking.renderAge());
}

/** A post of a ranking, which need not be in the feed. */
async function openPost(postId) {
  const dialog = byId("post-dialog");
  const question = ++postsAsked;
  try {
    const post = await getPost(postId);
    if (question !== postsAsked) return;
    if (posts.isGone(postId)) return say(NOT_THERE, { error: true });
    const card = new Card(post, { onLeave: () => dialog.close(), onReturn: (back) => feed.add(back) });
    dialog.onclose?.(); // of the one before, if it is still there
    dialog.append(card.element);
    dialog.onclose = () => card.dispose();
    dialog.onclick = ({ target }) => (target === dialog || target.closest(".close")) && dialog.close();
    dialog.showModal();
  } catch (error) {
    say(error.status === 404 ? NOT_THERE : error.message, { error: true });
  }
}

function setUpTabs() {
  const tabs = [...document.querySelectorAll(".tabs button")];
  for (const tab of tabs) {
    tab.onclick = () => {
      document.body.dataset.tab = tab.dataset.tab;
      tabs.forEach((other) => other.setAttribute("aria-current", other === tab));
      scrollTo({ top: 0 });
    };
  }
}

function setUpTheme() {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  const render = () => {
    root.dataset.shade = isDark() ? "dark" : "light";
    byId("theme").setAttribute("aria-pressed", isDark());
  };
  byId("theme").onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    keep("msm.theme", root.dataset.theme);
    render();
  };
  prefersDark.onchange = render;
  render();
}

function setUpKeys() {
  const focus = (card) => card.element.focus();
  const keys = { j: focus, k: focus, l: (card) => card.like(), c: (card) => card.write() };
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select, dialog");
    if (event.key === "l" && event.repeat) return; // held down, it would like and unlike
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    const card = cardFor(event.key);
    if (!card) return;
    event.preventDefault();
    keys[event.key](card);
  });
}

/** The card that has the focus, or for J and K the one after or before it; where none has it, the one in view. */
function cardFor(key) {
  const cards = feed.cards();
  const at = cards.findIndex(({ element }) => element.contains(document.activeElement));
  if (key !== "j" && key !== "k") return cards[at];
  if (at < 0) return cards.find(({ element }) => element.getBoundingClientRect().bottom > innerHeight / 3);
  return cards[key === "j" ? at + 1 : at - 1];
}

/** A hidden tab gives its connections back: a browser has few for each site. */
function setUpPauses() {
  document.addEventListener("visibilitychange", () => {
    pauseWhileHidden();
    if (document.hidden) hiddenAt = Date.now();
    else comeBack();
  });
  addEventListener("online", () => document.hidden || streams.forEach((stream) => stream.open()));
  addEventListener("offline", () => streams.forEach((stream) => stream.lost()));
}

function pauseWhileHidden() {
  clearTimeout(pauseTimer);
  if (document.hidden) pauseTimer = setTimeout(pause, HIDDEN_PAUSE_MS);
}

function pause() {
  streams.forEach((stream) => stream.pause());
}

function comeBack() {
  if (Date.now() - hiddenAt > HIDDEN_PAUSE_MS) pause(); // a page that the system froze has not done it
  streams.filter(({ state }) => state === "paused").forEach((stream) => stream.open());
}

setUpTheme();
setUpTabs();
setUpKeys();
setUpPauses();
setUpUsers();
setUpAudit();
new Composer(
  (post) => {
    feed.add(post);
    feed.toTop();
  },
  (post) => feed.arrive(post),
);
shareConnections((later) => {
  feedStream.glance(later < FEED_STREAMS ? 0 : GLANCE_MS.posts);
  rankingStream.glance(later < RANKING_STREAMS ? 0 : GLANCE_MS.rankings);
});
setInterval(showAges, 1_000);
setInterval(() => feed.cards().forEach((card) => card.renderAge()), 30_000);
session.addEventListener("another", () => feed.cards().forEach((card) => card.forget()));
session.start();
feed.load();
rankingStream.open(); // begins with both rankings
pauseWhileHidden(); // a tab may be opened in the background
