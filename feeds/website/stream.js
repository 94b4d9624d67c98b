// Server-sent events that come back by themselves, from where they were. Asked for it, the server says `live` once all
// that was missed is told, and every 15 seconds.

const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 15_000;
const OFFLINE_AFTER = 4; // failed attempts in a row
const LONGEST_SILENCE_MS = 40_000;

/** One stream; `state` is "connecting", "live", "reconnecting", "offline" or "paused". */
export class Stream {
  #source = null;
  #timer = 0; // until it is opened again or, while it is open, has been silent for too long
  #failures = 0;
  #lastId = null;
  #every = 0;
  state = "connecting";

  constructor(path, handlers, onState) {
    this.path = path;
    this.handlers = handlers;
    this.onState = onState;
  }

  /** Starts, or goes on after `lastId` where one is given. */
  open(lastId = this.#lastId) {
    this.#stop();
    this.#lastId = lastId;
    if (this.state === "paused") this.#become("connecting");
    const query = new URLSearchParams({ live: true, ...(lastId && { last_event_id: lastId }) });
    this.#source = new EventSource(`${this.path}?${query}`);
    this.#source.onopen = () => this.#opened();
    this.#source.onerror = () => this.#failed();
    for (const [name, handle] of Object.entries({ ...this.handlers, live: () => this.#toldAll() })) {
      this.#source.addEventListener(name, (event) => this.#take(event, handle));
    }
    this.#waitForLife();
  }

  /** Looks so often only, and gives the connection back in between; 0: stays open. */
  glance(everyMs) {
    if (everyMs === this.#every) return;
    this.#every = everyMs;
    if (this.state === "live") this.open();
  }

  /** Gives the connection back, for a page that nobody looks at. */
  pause() {
    this.#stop();
    this.#failures = 0;
    this.#become("paused");
  }

  /** The network is known to be gone: do not wait for the browser to notice. */
  lost() {
    if (this.state !== "paused") this.#failed();
  }

  #waitForLife() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#failed(), LONGEST_SILENCE_MS);
  }

  #take(event, handle) {
    this.#waitForLife();
    if (event.lastEventId) this.#lastId = event.lastEventId;
    handle(JSON.parse(event.data || "{}"));
  }

  #opened() {
    this.#waitForLife();
    this.#failures = 0;
    this.#become("live");
  }

  #toldAll() {
    if (!this.#every) return;
    this.#stop();
    this.#timer = setTimeout(() => this.open(), this.#every);
  }

  #failed() {
    this.#stop();
    this.#failures += 1;
    const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#timer = setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
    this.#become(this.#failures >= OFFLINE_AFTER || !navigator.onLine ? "offline" : "reconnecting");
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #become(state) {
    this.state = state;
    this.onState();
  }
}
