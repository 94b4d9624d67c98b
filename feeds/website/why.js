// The panel behind a number: which facts made it, class by class.

import { getExplanation } from "./api.js";
import { byId, byTestId, fromTemplate } from "./dom.js";

const plain = new Intl.NumberFormat("en");
let asked = 0;

/** Opens the panel for the `likes` or the `comments` of a post. */
export async function openWhy(postId, topic, count) {
  const dialog = byId("why");
  const question = ++asked;
  byId("why-title").textContent = title(count, topic);
  byId("why-sum").textContent = "Reading the archive…";
  byId("why-classes").replaceChildren();
  byTestId("why-close").onclick = () => dialog.close();
  dialog.onclick = ({ target }) => target === dialog && dialog.close();
  dialog.showModal();
  try {
    const found = await getExplanation(postId);
    if (question === asked) show(found, topic);
  } catch (error) {
    if (question === asked) byId("why-sum").textContent = error.message;
  }
}

function show(found, topic) {
  const classes = Object.entries(found.classes).filter(([, group]) => group[topic] > 0);
  const records = classes.reduce((sum, [, group]) => sum + group[topic], 0);
  byId("why-title").textContent = title(found.published?.[topic] ?? 0, topic);
  byId("why-sum").textContent = `${verdict(found)} ${plain.format(records)} records of ${topic} name this post.`;
  byId("why-classes").replaceChildren(...classes.map(([name, group]) => classItem(name, group, topic)));
}

const title = (count, topic) => `Why ${plain.format(count)} ${count === 1 ? topic.slice(0, -1) : topic}?`;

function verdict(found) {
  if (found.behind) return `The archive is ${plain.format(found.behind)} records behind: look again in some seconds.`;
  if (!found.closes) return "The sums do not close!";
  const { erased } = found;
  return erased ? `The sums close, but for ${plain.format(erased)} records erased with their user.` : "The sums close.";
}

function classItem(name, group, topic) {
  const item = fromTemplate("why-template");
  item.dataset.class = name;
  item.querySelector(".why-count").textContent = plain.format(group[topic]);
  item.querySelector(".why-name").textContent = name.replace("_", " ");
  item.querySelector(".why-meaning").textContent = group.meaning;
  const newest = group.newest.filter((place) => place.topic === topic);
  item.querySelector("ol").replaceChildren(...newest.map(placeItem));
  return item;
}

function placeItem(place) {
  const item = document.createElement("li");
  const what = place.reason ?? place.event_type ?? "a record";
  const at = new Date(place.occurred_at ?? place.arrived_at).toLocaleString();
  item.textContent = `${what} by ${place.user_id ?? "nobody"}, ${at}`;
  item.title = `${place.topic}, partition ${place.partition}, offset ${place.offset}, arrived ${place.arrived_at}`;
  return item;
}
