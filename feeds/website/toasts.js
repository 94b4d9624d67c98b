// Messages at the lower edge: spoken by screen readers, gone by themselves.

import { byId, fromTemplate } from "./dom.js";

const MOST = 3;
const shelf = byId("toasts");
let focused = null; // before a toast was
shelf.addEventListener("focusin", ({ relatedTarget: before }) => {
  if (!shelf.contains(before)) focused = before;
});
for (const change of ["toggle", "close"]) document.addEventListener(change, place, { capture: true }); // of dialogs

/** Says something; `action` is {label, run} for a button beside it. */
export function say(text, { error = false, action = null } = {}) {
  const toast = fromTemplate("toast-template");
  const [act, dismiss] = toast.querySelectorAll("button");
  toast.classList.toggle("error", error);
  toast.setAttribute("role", error ? "alert" : "status");
  dismiss.onclick = () => remove(toast);
  if (action) {
    act.hidden = false;
    act.textContent = action.label;
    act.onclick = () => {
      remove(toast);
      action.run();
    };
  }
  show(toast, text, error ? 10_000 : 4_000);
}

function show(toast, text, milliseconds) {
  place();
  while (shelf.children.length >= MOST) shelf.firstElementChild.remove();
  shelf.append(toast);
  // Filled in after it is in the page, or screen readers would not notice it.
  toast.querySelector("p").textContent = text;
  const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 1_000) : toast.remove());
  setTimeout(leave, milliseconds);
}

/** Into the dialog that is open: all else is inert then. */
function place() {
  const home = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  if (shelf.parentElement !== home) home.append(shelf);
}

function remove(toast) {
  const hasFocus = toast.contains(document.activeElement);
  toast.remove();
  if (hasFocus) focused?.focus({ preventScroll: true });
}
