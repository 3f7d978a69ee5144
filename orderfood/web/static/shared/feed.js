/**
 * What happens to orders, as it happens, in all tabs of a browser by one stream: a browser has six
 * connections to a host, and the service six streams for a user.
 *
 * The tab that holds the lock named by the URL leads: it holds the stream, and passes on what it
 * hears. Each tab keeps the place up to which it has everything; one that is behind what the leader
 * says reads what it lacks as pages. What comes may come twice, and what was read as a page may come
 * after what is newer: an order's version tells.
 */

import { call } from "./api.js";
import { Stream } from "./stream.js";

/**
 * @typedef {import("./api.js").Order} Order
 * @typedef {import("./stream.js").Message} Message
 *
 * @typedef {object} Options
 * @property {string} url of the stream
 * @property {number} [after] the position of the listing that the page shows; where it is not known
 *   the page lists each time `onLive(true)` is called
 * @property {(order: Order, seq: number) => void} onOrder
 * @property {() => void} onReset events are missing: list again, and forget the versions
 * @property {(live: boolean, since: number) => void} onLive true each time the stream has opened; false
 *   when nothing was heard since that moment (milliseconds, as Date.now()) for 40 s, or the browser is
 *   offline
 * @property {() => void} [onRefused] an answer came that was no stream: the session may have ended
 *
 * @typedef {{kind: "ask"} | {kind: "open", id?: number, heardAt: number} | {kind: "shut", refused: boolean}
 *   | {kind: "message", message: Message}} Word what tabs say to each other
 */

/** Milliseconds of silence after which the connection counts as lost: beats come every 15 s. */
const SILENCE = 40_000;
/** Milliseconds after which a leader that does not answer counts as frozen. */
const PATIENCE = 3_000;

/**
 * Follows orders until it is stopped.
 *
 * @param {Options} options
 * @returns {{stop: () => void}}
 */
export function follow(options) {
  const feed = new Feed(options);
  const ended = new AbortController();
  /** @type {(target: EventTarget, name: string, action: () => void) => void} */
  const on = (target, name, action) =>
    target.addEventListener(name, action, { signal: ended.signal });
  // a page that is kept for "back" holds neither lock nor stream, and catches up when it is shown
  on(window, "pagehide", () => feed.rest());
  on(window, "pageshow", () => feed.begin());
  on(window, "online", () => feed.hurry());
  on(window, "offline", () => feed.hurry());
  on(document, "visibilitychange", () => feed.turn());
  feed.begin();
  const stop = () => {
    ended.abort();
    feed.rest();
  };
  return { stop };
}

class Feed {
  #options;
  #name;
  #stream;
  /** @type {number | undefined} */
  #last;
  #heardAt = Date.now();
  #silence = 0;
  #unanswered = 0;
  #leads = false;
  #catchingUp = false;
  /** @type {AbortController | null} of the time between begin and rest */
  #active = null;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #withdraw = () => {};
  #abdicate = () => {};

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#name = `feed ${options.url}`;
    this.#last = options.after;
    this.#stream = new Stream(() => this.#address(this.#last), {
      opened: () => this.#spread({ kind: "open", id: this.#last, heardAt: Date.now() }),
      heard: (message) => this.#spread({ kind: "message", message }),
      failed: (refused) => this.#spread({ kind: "shut", refused }),
    });
  }

  begin() {
    if (this.#active) return;
    this.#active = new AbortController();
    this.#await();
    if (navigator.locks) this.#join(this.#active);
    else if (!document.hidden) this.#lead();
  }

  rest() {
    this.#active?.abort();
    this.#active = null;
    this.#withdraw();
    this.#abdicate();
    this.#stop();
    this.#channel?.close();
    clearTimeout(this.#silence);
    clearTimeout(this.#unanswered);
  }

  /** The network may be back, or gone: finds out at once. */
  hurry() {
    if (!this.#active) return;
    if (this.#leads) this.#stream.open();
    else this.#ask();
  }

  /** The tab is shown or hidden. Without locks each has a stream of its own, while it is shown. */
  turn() {
    if (!this.#active) return;
    if (!navigator.locks && document.hidden) this.#stop();
    else if (!navigator.locks) this.#lead();
    else if (!document.hidden) this.#look();
  }

  /** @param {AbortController} active */
  #join(active) {
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    const queued = new AbortController();
    this.#withdraw = () => queued.abort();
    void this.#wait(active, { signal: queued.signal });
    this.#ask();
  }

  /**
   * Leads once the lock is had, until another tab takes it; then it queues again.
   *
   * @param {AbortController} active
   * @param {LockOptions} how
   */
  async #wait(active, how) {
    const leading = () =>
      new Promise((resolve) => {
        this.#abdicate = () => resolve(undefined);
        if (active.signal.aborted) resolve(undefined);
        else this.#lead();
      });
    try {
      await navigator.locks.request(this.#name, how, leading);
    } catch {
      if (active.signal.aborted || !this.#leads) return;
      this.#stop();
      this.#channel?.close();
      this.#join(active);
    }
  }

  #lead() {
    clearTimeout(this.#unanswered);
    this.#leads = true;
    this.#await();
    this.#stream.open();
  }

  #stop() {
    this.#leads = false;
    this.#stream.close();
    if (!navigator.locks) clearTimeout(this.#silence);
  }

  /** Asks the leader how it stands. One that is frozen does not answer, and is replaced. */
  #ask() {
    if (this.#leads || !this.#active) return;
    this.#channel?.postMessage({ kind: "ask" });
    clearTimeout(this.#unanswered);
    this.#unanswered = window.setTimeout(() => this.#replace(), PATIENCE);
  }

  #replace() {
    if (!this.#active || this.#leads || document.hidden) return;
    this.#withdraw();
    void this.#wait(this.#active, { steal: true });
  }

  // --- what is heard ---

  /** @param {Word} word of the stream, to all tabs, this one included */
  #spread(word) {
    this.#channel?.postMessage(word);
    this.#take(word);
  }

  /** @param {Word} word of another tab */
  #receive(word) {
    if (word.kind === "ask") {
      if (this.#leads) this.#answer();
      return;
    }
    clearTimeout(this.#unanswered);
    if (!this.#leads) this.#take(word);
  }

  #answer() {
    const open = { kind: "open", id: this.#last, heardAt: this.#heardAt };
    this.#channel?.postMessage(this.#stream.isOpen ? open : { kind: "shut", refused: false });
    this.#stream.hurry();
  }

  /** @param {Word} word */
  #take(word) {
    if (word.kind === "open") this.#opened(word.id, word.heardAt);
    else if (word.kind === "message") this.#hear(word.message);
    else if (word.kind === "shut") this.#shut(word.refused);
  }

  /**
   * @param {number | undefined} id up to where the leader has everything
   * @param {number} heardAt
   */
  #opened(id, heardAt) {
    this.#heardAt = heardAt;
    this.#await(SILENCE - (Date.now() - heardAt));
    this.#options.onLive(true, this.#heardAt);
    const isBehind = this.#last !== undefined && (id === undefined || id > this.#last);
    if (!this.#leads && isBehind) void this.#catchUp();
  }

  /** @param {boolean} refused */
  #shut(refused) {
    if (refused) this.#options.onRefused?.();
    if (!navigator.onLine) this.#options.onLive(false, this.#heardAt);
  }

  /** @param {Message} message */
  #hear({ type, id, data }) {
    this.#heardAt = Date.now();
    this.#await();
    if (type === "order") this.#options.onOrder(data.order, id);
    if (type === "reset") this.#reset(id);
    else if (!this.#catchingUp) this.#last = Math.max(this.#last ?? id, id);
  }

  /** @param {number} position */
  #reset(position) {
    this.#last = position;
    this.#options.onReset();
  }

  /** Awaits the next sign of life. */
  #await(patience = SILENCE) {
    clearTimeout(this.#silence);
    this.#silence = window.setTimeout(() => this.#missed(), patience);
  }

  #missed() {
    this.#await();
    this.#options.onLive(false, this.#heardAt);
    this.hurry();
  }

  /** The tab is shown: its timers may have slept. */
  #look() {
    if (Date.now() - this.#heardAt > SILENCE) this.#missed();
    else this.#ask();
  }

  /** @param {number | undefined} after */
  #address(after) {
    const address = new URL(this.#options.url, location.href);
    if (after !== undefined) address.searchParams.set("after", String(after));
    return address.href;
  }

  /** Reads as pages what the leader had before this tab heard it. */
  async #catchUp() {
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    while (this.#active && !(await this.#readPage())) continue;
    this.#catchingUp = false;
  }

  /** @returns {Promise<boolean>} whether it was the last */
  async #readPage() {
    const headers = { Accept: "application/json" };
    const { status, body } = await call("GET", this.#address(this.#last), undefined, headers);
    if (status !== 200) {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE));
      return false;
    }
    this.#last = body.position;
    if (body.reset) this.#options.onReset();
    for (const event of body.events) this.#options.onOrder(event.order, event.seq);
    return body.events.length === 0;
  }
}
