/** The board: a shift, drawn. */

import { h, keyed, say, set } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { texts } from "../texts/en.js";
import { Card } from "./card.js";
import { CancelDialog, helpDialog } from "./dialogs.js";
import { formatCount, numberOf } from "./format.js";
import { listen } from "./keys.js";
import { Menu } from "./menu.js";
import { COLUMNS } from "./orders.js";
import { Shift } from "./shift.js";
import { Side, canRecall } from "./side.js";
import { Sound } from "./sound.js";
import { reloadWhenOld } from "./version.js";

/** @typedef {import("../shared/api.js").Order} Order */
/** @typedef {import("./card.js").Action} Action */

const t = texts.kitchen;
/** Milliseconds between two looks at what is no event: the menu, and whether the shop is open. */
const MENU_EVERY = 30_000;
/** Milliseconds for which it is said that an order was changed by somebody else. */
const NOTICE_TIME = 20_000;
/** Milliseconds in which Enter does nothing to an order that the focus has come to by itself. */
const SETTLING = 800;

export class Board {
  #sound = new Sound();
  /** @type {Map<string, Card>} by the id of the order */
  #cards = new Map();
  #isDrawing = false;
  #settledAt = 0;
  #menu;
  #side;
  #menuAt = 0;
  #notices = new Map(/** @type {[string, number][]} */ ([]));
  #help = helpDialog();
  #cancel = new CancelDialog((order, body) => this.shift.press(order, "cancel", body));
  #alert = h("p", { class: "alert", role: "alert" });
  #start = h("button", { class: "main", onclick: () => this.unlock() }, t.startShift);
  #mute = h("button", { "aria-pressed": "false", onclick: () => this.mute() }, t.mute);
  #status = h("div", { class: "status", role: "status" });
  #undos = h("ul", { class: "undos", "aria-label": t.undos });
  #columns = COLUMNS.map((status) => {
    const cards = h("div", { class: "cards" });
    const amount = h("span", { class: "amount" });
    const title = h("h2", { id: status, tabindex: -1 }, t.columns[status]);
    const head = h("div", { class: "head" }, title, amount);
    const element = h("section", { class: "column", "aria-labelledby": status }, head, cards);
    return { status, cards, amount, title, element };
  });

  /** @param {{signedOut: (waiting: number) => void, ended: () => void}} told */
  constructor(told) {
    const draw = () => this.draw();
    this.shift = new Shift({
      changed: draw,
      opened: () => void this.#reloadWhenOld(),
      signedOut: () => told.signedOut(this.shift.outbox.size),
      overtaken: (order, press) => this.#overtaken(order, press.action),
      answered: (press, { status, body }) => this.#menu.answered(press, status, body),
    });
    this.#menu = new Menu(this.shift.outbox, (dialog) => dialog.showModal());
    this.#side = new Side(this.#menu.element, (id) => this.#recallEnded(id));
    const help = h("button", { type: "button", onclick: () => this.help() }, t.help);
    const end = h("button", { type: "button", onclick: told.ended }, t.endShift);
    const title = h("h1", {}, t.title);
    const bar = h("header", { class: "board-bar" }, title, this.#start, this.#mute, help, end);
    const says = h("div", { class: "says" }, this.#undos, this.#status);
    const columns = h("div", { class: "columns" }, ...this.#columns.map((each) => each.element));
    const parts = [bar, this.#alert, says, columns, this.#side.element];
    const dialogs = [this.#cancel.element, this.#help];
    this.element = h("div", { class: "board", hidden: true }, ...parts, ...dialogs);
    listen(this);
    window.setInterval(() => this.#tick(), 1000);
    window.addEventListener("pagehide", () => this.shift.outbox.flush());
  }

  show() {
    set(this.element, "hidden", false);
    void this.shift.start();
    this.#menuAt = Date.now();
    void this.#menu.refresh();
    this.draw();
  }

  hide() {
    set(this.element, "hidden", true);
    this.shift.stop();
    this.#sound.ring(false);
  }

  // --- what is pressed ---

  unlock() {
    this.#sound.unlock(() => this.draw());
  }

  mute() {
    this.#sound.muted = !this.#sound.muted;
    set(this.#mute, "aria-pressed", String(this.#sound.muted));
  }

  help() {
    this.#help.showModal();
  }

  /** The next step of the chosen order: not where the focus has only just come from another one. */
  step() {
    if (Date.now() > this.#settledAt) this.chosen?.step();
  }

  /** @param {number} place */
  choose(place) {
    this.#settledAt = 0;
    this.#places()[place]?.element.focus();
  }

  /** The card that has the focus, or holds what has it. */
  get chosen() {
    return this.#places().find((card) => card.element.contains(document.activeElement));
  }

  /** Takes back the last step: of the chosen order, else of the one that was completed last. */
  recall() {
    const order = this.chosen?.order ?? this.shift.orders.completed[0];
    const isReady = order?.status === "ready";
    if (!order || this.shift.outbox.of(order.id)) return;
    if (isReady || (order.status === "completed" && canRecall(order))) this.act(order, "recall");
  }

  /** @param {string} id of an order that was completed, and has perhaps come back since */
  #recallEnded(id) {
    const order = this.shift.orders.get(id);
    if (order && !this.shift.outbox.of(id)) this.act(order, "recall");
  }

  /** @param {string} text said for a while */
  say(text) {
    this.#notices.set(text, Date.now() + NOTICE_TIME);
    this.draw();
  }

  /**
   * @param {Order} order
   * @param {Action} action
   * @param {unknown} [body]
   */
  act(order, action, body) {
    if (action === "see") return this.shift.see(order.id);
    if (action !== "cancel") return this.shift.press(order, action, body);
    this.#cancel.ask(order);
    this.#cancel.element.showModal();
  }

  /**
   * @param {Order | undefined} order
   * @param {string} action
   */
  #overtaken(order, action) {
    const actions = /** @type {Record<string, string>} */ (t.actions);
    const text = order
      ? t.overtaken(numberOf(order), actions[action], t.statuses[order.status] ?? order.status)
      : t.gone(actions[action]);
    this.say(text);
  }

  // --- what is drawn ---

  /** Draws soon: many events are drawn once. */
  draw() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    setTimeout(() => {
      this.#isDrawing = false;
      if (!this.element.hidden) this.#draw();
    });
  }

  #tick() {
    if (this.element.hidden) return;
    this.shift.tick();
    for (const [text, until] of this.#notices) if (until < Date.now()) this.#notices.delete(text);
    if (Date.now() - this.#menuAt > MENU_EVERY && !document.hidden) {
      this.#menuAt = Date.now();
      void this.#menu.refresh();
    }
    this.#draw();
  }

  #draw() {
    const { orders, isLive, since, outbox, isLoaded } = this.shift;
    const alert = isLive ? "" : `${t.notLive(formatTime(since))} ${t.waitingPresses(outbox.size)}`;
    say(this.#alert, alert);
    set(this.#alert, "hidden", isLive);
    set(this.#start, "hidden", this.#sound.isUnlocked);
    this.#sound.ring(orders.ringing > 0);
    const waiting = orders.column("placed").length;
    document.title = waiting ? t.documentTitle(formatCount(waiting)) : t.title;
    const notices = isLoaded ? [...this.#notices.keys()] : [t.loading];
    const paragraph = (/** @type {string} */ text) => h("p", {}, text);
    keyed(this.#status, notices, (text) => text, paragraph, () => {});
    this.#drawColumns();
    this.#drawUndos();
    this.#side.update(orders);
    this.#menu.update();
  }

  #drawColumns() {
    const active = document.activeElement;
    const before = this.#places();
    const focused = before.findIndex((card) => card.element.contains(active));
    let place = 0;
    for (const { status, cards, amount } of this.#columns) {
      const orders = this.shift.orders.column(status);
      const update = (/** @type {Element} */ _, /** @type {Order} */ order) => {
        this.#cards.get(order.id)?.update(order, this.shift.outbox.of(order.id), place++);
      };
      const make = (/** @type {Order} */ order) => this.#card(order, place++);
      keyed(cards, orders, (order) => order.id, make, update);
      say(amount, orders.length ? formatCount(orders.length) : "");
    }
    const shown = new Set(this.#places());
    for (const [id, card] of this.#cards) if (!shown.has(card)) this.#cards.delete(id);
    if (focused >= 0 && document.activeElement !== active) this.#refocus(before, focused);
  }

  /**
   * @param {Order} order
   * @param {number} place
   */
  #card(order, place) {
    const card = this.#cards.get(order.id) ?? new Card(order, (...pressed) => this.act(...pressed));
    this.#cards.set(order.id, card);
    card.update(order, this.shift.outbox.of(order.id), place);
    return card.element;
  }

  /** The cards as they stand, in the order in which keys choose. */
  #places() {
    const elements = this.#columns.flatMap(({ cards }) => [...cards.children]);
    const ids = elements.map((element) => element.getAttribute("data-key") ?? "");
    return ids.flatMap((id) => this.#cards.get(id) ?? []);
  }

  /**
   * Focus stays with its order where that has moved, and else goes to the next one.
   *
   * @param {Card[]} before
   * @param {number} focused
   */
  #refocus(before, focused) {
    const still = [...before.slice(focused), ...before.slice(0, focused).reverse()];
    const next = still.find((card) => card.element.isConnected);
    if (next !== before[focused]) this.#settledAt = Date.now() + SETTLING;
    (next?.element ?? this.#columns[0].title).focus();
  }

  #drawUndos() {
    const { shift } = this;
    keyed(
      this.#undos,
      [...shift.undos.values()],
      ({ order, action }) => `${order.id} ${action}`,
      (undo) => {
        const text = t.done(numberOf(undo.order), undo.action);
        const onclick = () => this.shift.undo(undo);
        return h("li", {}, h("span", {}, text), h("button", { type: "button", onclick }, t.undo));
      },
      () => {},
    );
  }

  #reloadWhenOld() {
    return reloadWhenOld(
      () => this.#isIdle(),
      () => this.shift.orders.ids,
    );
  }

  #isIdle() {
    const { orders, outbox, undos } = this.shift;
    const asks = this.element.querySelector("dialog[open]");
    const rings = orders.ringing > 0 || orders.unseen.length > 0;
    return !(outbox.size || undos.size || asks || rings);
  }
}
