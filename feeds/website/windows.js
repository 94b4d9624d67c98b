// A browser has six connections to a site, for all of its windows: those that were used last stream, the others glance.

/** `share` is told how many windows in view were used later than this one, whenever that may have changed. */
export function shareConnections(share) {
  if (!window.BroadcastChannel) return;
  const channel = new BroadcastChannel("msm.windows");
  const id = Math.random();
  const others = new Map(); // when each of them was used last, while it is in view
  let used = 0;
  const later = () => [...others.values()].filter((other) => other > used).length;
  const tell = (moment) => {
    used = moment;
    channel.postMessage({ id, used });
    share(later());
  };
  const use = () => tell(Date.now() + id); // no two are the same
  channel.onmessage = ({ data }) => {
    if (data.used) others.set(data.id, data.used);
    else others.delete(data.id);
    share(later());
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => later() && use(), { passive: true });
  addEventListener("focus", use);
  addEventListener("pagehide", () => tell(0));
  document.addEventListener("visibilitychange", () => (document.hidden ? tell(0) : use()));
  if (!document.hidden) use();
}
