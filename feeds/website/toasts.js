// Messages at the lower edge: spoken by screen readers, gone by themselves.

import { byId, fromTemplate } from "./dom.js";

const MOST = 3;

/** Says something; `action` is {label, run} for a button beside it. */
export function say(text, { error = false, action = null } = {}) {
  const toast = fromTemplate("toast-template");
  const [act, dismiss] = toast.querySelectorAll("button");
  toast.classList.toggle("error", error);
  toast.setAttribute("role", error ? "alert" : "status");
  dismiss.onclick = () => toast.remove();
  if (action) {
    act.hidden = false;
    act.textContent = action.label;
    act.onclick = () => {
      toast.remove();
      action.run();
    };
  }
  show(toast, text, error ? 10_000 : 4_000);
}

function show(toast, text, milliseconds) {
  const shelf = byId("toasts");
  while (shelf.children.length >= MOST) shelf.firstElementChild.remove();
  shelf.append(toast);
  // Filled in after it is in the page, or screen readers would not notice it.
  toast.querySelector("p").textContent = text;
  const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 1_000) : toast.remove());
  setTimeout(leave, milliseconds);
}
