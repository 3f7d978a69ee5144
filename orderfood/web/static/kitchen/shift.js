/** A shift: what orders there are, what is pressed, what can be undone, and whether it is live. */

import { get } from "../shared/api.js";
import { follow } from "../shared/feed.js";
import { remember, remembered } from "./memory.js";
import { Orders, RECALL_TIME, SHOWN_COMPLETED, isDoneBy } from "./orders.js";
import { Outbox } from "./outbox.js";
import { takeKnown } from "./version.js";

/** @typedef {import("../shared/api.js").Order} Order */
/** @typedef {import("../shared/api.js").Answer} Answer */
/** @typedef {import("./outbox.js").Press} Press */

/**
 * @typedef {object} Undo
 * @property {Order} order
 * @property {string} action what was pressed
 * @property {number} until Date.now() until which it can be taken back
 *
 * @typedef {object} Told
 * @property {() => void} changed
 * @property {() => void} opened the stream is open: once more, after a deploy
 * @property {() => void} signedOut
 * @property {(order: Order | undefined, press: Press) => void} overtaken an order stands otherwise than was pressed
 * @property {(press: Press, answer: Answer) => void} answered of what is pressed about no order
 */

/** Milliseconds in which a press can be taken back. */
export const UNDO_TIME = 10_000;

const PAUSE = 2_000;

export class Shift {
  orders = new Orders();
  /** @type {Map<string, Undo>} by the id of the order */
  undos = new Map();
  isLive = true;
  since = Date.now();
  isLoaded = false;
  /** @type {{stop: () => void} | null} */
  #feed = null;
  /** Which turn of being signed in this is; what was begun in another one ends. */
  #turn = 0;
  #isOn = false;
  #wasOpen = false;
  #told;

  /** @param {Told} told */
  constructor(told) {
    this.#told = told;
    this.outbox = new Outbox({
      answered: (press, answer) => this.#answered(press, answer),
      refused: () => void this.#checkSession(),
      changed: told.changed,
    });
  }

  /** Lists, then follows from there; what was pressed and is not answered goes out. */
  async start() {
    this.#isOn = true;
    this.#wasOpen = false;
    this.#turn += 1;
    const position = await this.#relist();
    if (position === null) return;
    this.#setLive(true, Date.now());
    this.#feed = follow({
      url: "/api/shop/event",
      after: position,
      onOrder: (order) => this.#take(order),
      onReset: () => void this.#relist(),
      onLive: (live, since) => {
        this.#wasOpen ||= live;
        this.#setLive(live, since);
      },
      onRefused: () => void this.#refused(),
    });
  }

  /**
   * The stream is refused. One that was open comes back, or is missed after a while; until one opens,
   * what there is is listed with each try, and what is pressed goes out then.
   */
  async #refused() {
    if (!this.#wasOpen) this.#setLive(false, this.since);
    await this.#checkSession();
    if (this.#isOn && !this.isLive && (await this.#relist()) !== null) this.outbox.open(true);
  }

  stop() {
    this.#isOn = false;
    this.#turn += 1;
    this.#feed?.stop();
    this.#feed = null;
    this.outbox.open(false);
  }

  // --- what is pressed ---

  /**
   * @param {Order} order
   * @param {string} action
   * @param {unknown} [body]
   */
  press(order, action, body) {
    const path = `/api/shop/order/${order.id}/${action}`;
    const headers = { "If-Match": `"${order.version}"` };
    const hold = action === "cancel" ? UNDO_TIME : 0;
    this.undos.delete(order.id);
    if (hold) this.#offerUndo(order, action);
    const { id: key, version } = order;
    this.outbox.add({ key, action, version, path, body, headers }, hold);
  }

  /** @param {Undo} undo */
  undo({ order, action }) {
    this.undos.delete(order.id);
    if (action !== "cancel") this.press(order, "recall");
    else if (this.outbox.of(order.id)?.state === "held") this.outbox.drop(order.id);
    this.#told.changed();
  }

  /** @param {string} id */
  see(id) {
    this.orders.see(id);
    remember(this.orders.shownIds);
    this.#told.changed();
  }

  /** To be called once a second. */
  tick() {
    if (this.isLoaded) remember(this.orders.shownIds);
    for (const [id, { until }] of this.undos) if (until <= Date.now()) this.undos.delete(id);
  }

  /**
   * @param {Order} order
   * @param {string} action
   */
  #offerUndo(order, action) {
    this.undos.set(order.id, { order, action, until: Date.now() + UNDO_TIME });
  }

  /**
   * @param {Press} press
   * @param {Answer} answer
   */
  #answered(press, { status, body, retryAfter }) {
    const order = status === 200 ? body : body?.order;
    if (!press.headers) return this.#told.answered(press, { status, body, retryAfter });
    if (order) this.#take(order);
    if (status !== 200) this.#told.overtaken(order ?? this.orders.get(press.key), press);
    else this.#done(press, order);
    this.#told.changed();
  }

  /**
   * @param {Press} press
   * @param {Order} order as it stands after it
   */
  #done({ action }, order) {
    if (action === "ready" || action === "complete") this.#offerUndo(order, action);
  }

  // --- what is heard ---

  /** @param {Order} order */
  #take(order) {
    if (!this.orders.take(order, true)) return;
    if (order.version > (this.undos.get(order.id)?.order.version ?? Infinity)) {
      this.undos.delete(order.id);
    }
    const ended = order.status === "cancelled" || order.status === "completed";
    const press = this.outbox.of(order.id);
    if (press && isDoneBy(press, order)) {
      this.outbox.drop(order.id);
      this.#done(press, order);
    } else if (ended && this.outbox.of(order.id)?.state === "held") this.outbox.drop(order.id);
    this.#told.changed();
  }

  /**
   * @param {boolean} live
   * @param {number} since
   */
  #setLive(live, since) {
    this.isLive = live;
    this.since = since;
    this.outbox.open(live && this.#isOn);
    if (live) this.#told.opened();
    this.#told.changed();
  }

  /**
   * Reads all pages. The first one's position counts: later ones may be newer, and versions decide.
   *
   * @returns {Promise<number | null>} where to go on; null once it has stopped
   */
  async #relist() {
    const isNews = this.#newsTest(this.orders.forget());
    let position = null;
    let cursor = "";
    do {
      const page = await this.#read(`/api/shop/order?limit=500${cursor}`);
      if (!page) return null;
      for (const order of page.orders) this.orders.take(order, isNews(order.id));
      position ??= page.position;
      cursor = page.nextCursor ? `&cursor=${encodeURIComponent(page.nextCursor)}` : "";
    } while (cursor);
    if (!(await this.#listCancelled())) return null;
    this.isLoaded = true;
    this.#told.changed();
    void this.#listCompleted();
    return position;
  }

  /**
   * What is there when a shift begins is no news; but what came while the page replaced itself is.
   *
   * @param {Set<string>} known
   * @returns {(id: string) => boolean}
   */
  #newsTest(known) {
    const before = this.isLoaded ? known : takeKnown();
    return (id) => before !== null && !before.has(id);
  }

  /** Those that this tablet showed, and that were cancelled while it did not look. */
  async #listCancelled() {
    const shown = remembered();
    const page = shown.size ? await this.#read("/api/shop/order?status=cancelled") : { orders: [] };
    for (const order of page?.orders ?? []) if (shown.has(order.id)) this.orders.addCancelled(order);
    return page !== null;
  }

  async #listCompleted() {
    const page = await this.#read(`/api/shop/order?status=completed&limit=${SHOWN_COMPLETED}`);
    for (const order of page?.orders ?? []) {
      const completedAt = await this.#completedAt(order);
      this.orders.addEnded({ ...order, completedAt });
      this.#told.changed();
    }
  }

  /**
   * When it was completed, as its events say; of one that is too old to be recalled it does not matter.
   *
   * @param {Order} order
   */
  async #completedAt({ id, createdAt }) {
    const day = 24 * 60 * 60_000;
    if (Date.now() - Date.parse(createdAt) > day) return Date.parse(createdAt);
    const { body } = await get(`/api/shop/order/${id}`);
    const at = body?.events?.at(-1)?.at;
    return at ? Date.parse(at) : Date.now() - RECALL_TIME;
  }

  /**
   * What a listing answers, however long that takes.
   *
   * @param {string} path
   */
  async #read(path) {
    const turn = this.#turn;
    while (this.#turn === turn) {
      const { status, body } = await get(path);
      if (status === 200) return this.#turn === turn ? body : null;
      if (status === 401 || status === 403) await this.#checkSession();
      else await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    return null;
  }

  /** Finds out whether the session has ended, where something was refused. */
  async #checkSession() {
    const { status, body } = await get("/api/session");
    if (!this.#isOn) return;
    if (status === 200 && !body.staff?.scopes.includes("manage_orders")) {
      this.stop();
      this.#told.signedOut();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    if (this.#isOn) this.outbox.open(this.isLive);
  }
}
