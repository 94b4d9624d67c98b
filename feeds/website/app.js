// The page: wires feed, rankings, streams and the keyboard together.

import { getPost, serverNow } from "./api.js";
import { setUpAudit } from "./audit.js";
import { Card } from "./card.js";
import { Composer } from "./composer.js";
import { age, byId } from "./dom.js";
import { Feed } from "./feed.js";
import { RankingList } from "./rankings.js";
import { session } from "./session.js";
import { Stream } from "./stream.js";
import { say } from "./toasts.js";
import { setUpUsers } from "./users.js";

const HIDDEN_PAUSE_MS = 5_000;
const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
const WORST_FIRST = ["offline", "reconnecting", "connecting", "live"];

const feed = new Feed((streamId) => {
  lastHeard = serverNow();
  feedStream.open(streamId);
});
const rankings = { trending: new RankingList("trending", openPost), rising: new RankingList("rising", openPost) };
let lastHeard = 0;

const feedStream = new Stream(
  "/feed/stream",
  {
    post: heard((post) => feed.arrive(post)),
    deleted: heard(({ post_id: postId }) => feed.leave(postId)),
    reset: () => feed.load(),
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

function heard(handle) {
  return (data) => {
    lastHeard = serverNow();
    handle(data);
  };
}

function showConnection() {
  const states = [feedStream.state, rankingStream.state];
  const state = WORST_FIRST.find((worst) => states.includes(worst)) ?? "connecting";
  const chip = byId("connection-text").parentElement;
  if (chip.dataset.state === state) return;
  chip.dataset.state = state;
  byId("connection-text").textContent = STATES[state];
}

/** How old what is shown is, told every second. */
function showAges() {
  const newest = Math.max(lastHeard, rankings.trending.generatedAt, rankings.rising.generatedAt);
  byId("age").textContent = newest > 0 ? `${age(serverNow() - newest)} ago` : "";
  Object.values(rankings).forEach((ranking) => ranking.renderAge());
}

/** A post of a ranking, which need not be in the feed. */
async function openPost(postId) {
  const dialog = byId("post-dialog");
  try {
    const post = await getPost(postId);
    const card = new Card(post, { onLeave: () => dialog.close(), onReturn: (back) => feed.add(back) });
    dialog.replaceChildren(card.element);
    dialog.onclose = () => card.dispose();
    dialog.onclick = ({ target }) => target === dialog && dialog.close();
    dialog.showModal();
  } catch (error) {
    say(error.status === 404 ? "This post is not there any more." : error.message, { error: true });
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
    localStorage.setItem("msm.theme", root.dataset.theme);
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
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    const card = cardFor(event.key);
    if (!card) return;
    event.preventDefault();
    keys[event.key](card);
  });
}

/** The card that has the focus, or for J and K the one after or before it. */
function cardFor(key) {
  const cards = feed.cards();
  const at = cards.findIndex(({ element }) => element.contains(document.activeElement));
  if (key === "j") return cards[at + 1];
  if (key === "k") return cards[at - 1];
  return cards[at];
}

/** A hidden tab gives its connections back: a browser has few for each site. */
function setUpPauses() {
  let timer = 0;
  const streams = [feedStream, rankingStream];
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => streams.forEach((stream) => stream.pause()), HIDDEN_PAUSE_MS);
    else streams.filter(({ state }) => state === "paused").forEach((stream) => stream.open());
  });
  addEventListener("online", () => streams.forEach((stream) => stream.open()));
  addEventListener("offline", () => streams.forEach((stream) => stream.lost()));
}

setUpTheme();
setUpTabs();
setUpKeys();
setUpPauses();
setUpUsers();
setUpAudit();
new Composer((post) => {
  feed.toTop();
  feed.add(post);
});
setInterval(showAges, 1_000);
setInterval(() => feed.cards().forEach((card) => card.renderAge()), 30_000);
session.start();
feed.load();
rankingStream.open(); // begins with both rankings
