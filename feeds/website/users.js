// The corner where one is somebody: a picker in the demo, a token otherwise.

import { gate } from "./card.js";
import { byId, showAvatar } from "./dom.js";
import { posts } from "./posts.js";
import { session } from "./session.js";
import { say } from "./toasts.js";

/** Wires the corner up; call before the session starts. */
export function setUpUsers() {
  byId("user").onchange = (event) => choose(event.target.value);
  byId("sign-in").onclick = openTokenDialog;
  byId("sign-out").onclick = () => session.leave();
  byId("token-cancel").onclick = () => byId("token-dialog").close();
  byId("token-form").onsubmit = (event) => {
    event.preventDefault();
    signIn();
  };
  byId("token-dialog").onclose = () => { byId("token").value = ""; };
  gate.open = openGate;
  session.addEventListener("change", render);
}

async function choose(user) {
  try {
    if (user) await session.become(user);
    else session.leave();
  } catch (error) {
    say(error.message, { error: true });
    render();
  }
}

function openGate() {
  byId("post-dialog").close(); // what is behind it can be neither read nor used
  if (!session.isDemo) return openTokenDialog();
  say("Choose who you are first: at the top, on the right.");
  byId("user").focus();
}

function openTokenDialog() {
  byId("token-error").textContent = "";
  byId("token-dialog").showModal();
}

function signIn() {
  try {
    session.signIn(byId("token").value.trim());
    byId("token-dialog").close();
  } catch (error) {
    byId("token-error").textContent = error.message;
  }
}

function render() {
  const { who, isDemo } = session;
  renderPicker(who);
  byId("sign-in").hidden = isDemo || who !== null;
  byId("sign-out").hidden = isDemo || who === null;
  byId("me").hidden = !who;
  byId("composer").hidden = !who;
  byId("welcome").hidden = Boolean(who);
  byId("welcome").textContent = isDemo
    ? "You are just reading. Choose a user at the top to like, comment and post."
    : "You are just reading. Sign in to like, comment and post.";
  if (who) [byId("me"), byId("composer-avatar")].forEach((avatar) => showAvatar(avatar, who.user));
  if (who) byId("me").title = who.user;
  posts.touchAll();
}

function renderPicker(who) {
  const picker = byId("user");
  picker.hidden = !session.isDemo;
  if (picker.options.length === 1) session.demoUsers.forEach((user) => picker.add(new Option(user, user)));
  picker.value = who?.user ?? "";
}
