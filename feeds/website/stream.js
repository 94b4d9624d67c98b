// Server-sent events that come back by themselves, from where they were.

const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 15_000;
const OFFLINE_AFTER = 4; // failed attempts in a row

/** One stream; `state` is "connecting", "live", "reconnecting", "offline" or "paused". */
export class Stream {
  #source = null;
  #timer = 0;
  #failures = 0;
  #lastId = null;
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
    this.#become(this.#failures ? this.state : "connecting");
    const query = lastId ? `?${new URLSearchParams({ last_event_id: lastId })}` : "";
    this.#source = new EventSource(this.path + query);
    this.#source.onopen = () => this.#opened();
    this.#source.onerror = () => this.#failed();
    for (const [name, handle] of Object.entries(this.handlers)) {
      this.#source.addEventListener(name, (event) => this.#take(event, handle));
    }
  }

  /** Gives the connection back, for a page that nobody looks at. */
  pause() {
    this.#stop();
    this.#become("paused");
  }

  /** The network is known to be gone: do not wait for the browser to notice. */
  lost() {
    if (this.state !== "paused") this.#failed();
  }

  #take(event, handle) {
    if (event.lastEventId) this.#lastId = event.lastEventId;
    handle(JSON.parse(event.data || "{}"));
  }

  #opened() {
    this.#failures = 0;
    this.#become("live");
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
