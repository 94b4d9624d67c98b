// A browser has six connections to a site, for all of its windows: the two that were used last stream, the others glance.

const STREAMING = 2;

/** `glance` is told whether this window is one of the others from now on. */
export function shareConnections(glance) {
  if (!window.BroadcastChannel) return;
  const channel = new BroadcastChannel("msm.windows");
  const id = Math.random();
  const others = new Map(); // when each of them was used last, while it is in view
  let used = 0;
  const decide = () => glance([...others.values()].filter((other) => other > used).length >= STREAMING);
  const tell = (moment) => {
    used = moment;
    channel.postMessage({ id, used });
    decide();
  };
  const use = () => tell(Date.now() + id); // no two are the same
  channel.onmessage = ({ data }) => {
    if (data.used) others.set(data.id, data.used);
    else others.delete(data.id);
    decide();
  };
  addEventListener("focus", use);
  addEventListener("pagehide", () => tell(0));
  document.addEventListener("visibilitychange", () => (document.hidden ? tell(0) : use()));
  if (!document.hidden) use();
}
