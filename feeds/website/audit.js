// The line on the last recount of all facts: quiet while nothing differs, loud where something does.

import { getAudit, serverNow } from "./api.js";
import { age, byId } from "./dom.js";

const EVERY_MS = 60_000;
let told = ""; // when the recount was made that was spoken last
const whole = new Intl.NumberFormat("en");

/** "recounted 4 min ago, 1,204,311 facts, drift 0"; of many facts a part at a time: "... facts (part 3 of 8), ..." */
export function sentence({ audited_at: at, facts, part, parts, drift }) {
  const time = age(serverNow() - Date.parse(at));
  const which = parts > 1 ? ` (part ${part + 1} of ${parts})` : "";
  return `recounted ${time} ago, ${whole.format(facts)} facts${which}, drift ${whole.format(drift)}`;
}

async function show() {
  const audit = await getAudit().catch(() => null);
  if (!audit?.audited_at) return;
  const line = byId("audit");
  line.hidden = false;
  const isNews = audit.drift > 0 && audit.audited_at !== told;
  line.role = isNews ? "alert" : null; // nobody wants its age spoken each minute
  if (isNews) told = audit.audited_at;
  line.textContent = sentence(audit);
  line.title = new Date(audit.audited_at).toLocaleString();
  line.classList.toggle("drift", audit.drift > 0);
  // Nobody should have to look for it where something is wrong.
  if (audit.drift > 0) byId("feed").prepend(line);
  else byId("audit-place").append(line);
}

export function setUpAudit() {
  show();
  setInterval(() => document.hidden || show(), EVERY_MS);
  document.addEventListener("visibilitychange", () => document.hidden || show());
}
