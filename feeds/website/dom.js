// Small helpers of the page. Text from users goes in by textContent and nowhere else.

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const plain = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const byId = (id) => document.getElementById(id);
export const byTestId = (id) => document.querySelector(`[data-testid="${id}"]`);

/** A copy of what a <template> holds. */
export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

const UPLOAD = /^\/media\/\w[\w.-]*$/;

/** The address of a picture if it is one that may be loaded: http(s), and of this service only uploads. Else null. */
export function safeImage(address) {
  if (UPLOAD.test(address)) return address;
  const url = URL.parse?.(address) ?? parsed(address);
  if (!/^https?:$/.test(url?.protocol)) return null;
  return url.host !== location.host || UPLOAD.test(url.pathname) ? url.href : null;
}

function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

/** Shows a picture, and the frame's own placeholder while or where there is none. */
export function showPicture(frame, address, alt) {
  const image = frame.querySelector("img");
  const safe = safeImage(address);
  frame.style.setProperty("--hue", hue(address));
  image.alt = alt;
  image.onload = () => image.classList.add("loaded");
  if (safe) image.src = safe;
}

/** A colour for a name: the same one everywhere. */
export function hue(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360_007;
  return hash % 360;
}

export function showAvatar(element, user) {
  element.textContent = user.slice(0, 1).toUpperCase();
  element.style.setProperty("--hue", hue(user));
}

export const formatCount = (count) => (count < 10_000 ? plain : compact).format(count);

/** Puts a number in; one that changes rolls, up or down. */
export function showCount(element, count) {
  const before = element.dataset.count;
  if (before === String(count)) return;
  element.dataset.count = count;
  element.textContent = formatCount(count);
  element.title = plain.format(count);
  if (before === undefined || reducedMotion.matches) return;
  const from = count > Number(before) ? "55%" : "-55%";
  element.animate(
    [{ transform: `translateY(${from})`, opacity: 0.15 }, { transform: "none", opacity: 1 }],
    { duration: 260, easing: "cubic-bezier(.2,.8,.3,1)" },
  );
}

/** Animates where motion is welcome. */
export function animate(element, frames, options) {
  if (!reducedMotion.matches) element.animate(frames, options);
}

/** Moves things about; what has the focus keeps it. */
export function keepingFocus(change) {
  const focused = document.activeElement;
  change();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

/** A short "3 s", "5 min", "2 h", or a date. */
export function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

const LONGEST_FRAME_MS = 50; // a window behind others may get one frame a second

/** Calls `work` in the next frame, once, however often it is asked for. */
export function onceAFrame(work) {
  let timer = 0; // 0: not asked
  let frame = 0;
  const run = () => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    timer = 0;
    work();
  };
  return () => {
    if (timer) return;
    timer = setTimeout(run, LONGEST_FRAME_MS);
    frame = requestAnimationFrame(run);
  };
}
