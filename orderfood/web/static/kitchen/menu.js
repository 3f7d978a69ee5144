/** The menu, as the kitchen sees it: what is sold out, and whether the shop takes orders. */

import { get } from "../shared/api.js";
import { fill, h, keyed, say, set } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { texts } from "../texts/en.js";

/** @typedef {import("../shared/api.js").Product} Product */
/** @typedef {import("./outbox.js").Press} Press */
/** @typedef {import("./outbox.js").Outbox} Outbox */

const t = texts.kitchen;
const SHOP = "shop";
/** Choices of minutes for a pause; none is until somebody resumes. */
const PAUSES = [15, 30, 60];

export class Menu {
  /** @type {Product[]} */
  #products = [];
  #shop = /** @type {{open: boolean, until?: string, message?: string}} */ ({ open: true });
  #outbox;
  #list = h("ul");
  #closed = h("p", { class: "closed" });
  #switch = h("button", { type: "button", onclick: () => this.#turn() });
  #dialog;

  /**
   * @param {Outbox} outbox
   * @param {(dialog: HTMLDialogElement) => void} show
   */
  constructor(outbox, show) {
    this.#outbox = outbox;
    this.#dialog = pauseDialog((body) => this.#send(SHOP, "pause", "/api/shop/pause", body));
    this.#show = show;
    const title = h("h2", { id: "menu" }, t.menu);
    const children = [title, this.#closed, this.#switch, this.#list, this.#dialog];
    this.element = h("section", { class: "availability", "aria-labelledby": "menu" }, ...children);
  }

  #show;

  /** Asks how it is; what is asked of it from elsewhere is no event. */
  async refresh() {
    const [menu, shop] = await Promise.all([get("/api/product"), get("/api/shop")]);
    if (menu.status === 200) this.#products = menu.body;
    if (shop.status === 200) this.#shop = shop.body;
    this.update();
  }

  /**
   * @param {Press} press of the menu or of the shop
   * @param {number} status
   * @param {any} body
   */
  answered(press, status, body) {
    if (status === 200 && press.key === SHOP) this.#shop = body;
    else if (status === 200) {
      this.#products = this.#products.map((each) => (each.id === body.id ? body : each));
    } else void this.refresh();
    this.update();
  }

  update() {
    const { open, until, message } = this.#shop;
    const waits = this.#outbox.of(SHOP);
    say(this.#switch, open ? t.pause : t.resume);
    set(this.#switch, "aria-busy", waits ? "true" : null);
    const closed = open ? [] : [until ? t.pausedUntil(formatTime(until)) : t.paused];
    if (!open && message) closed.push(message);
    say(this.#closed, [...closed, waits && t.sending].filter(Boolean).join(": "));
    const make = (/** @type {Product} */ each) => this.#dish(each);
    keyed(this.#list, this.#products, (each) => each.id, make, (row, each) => this.#draw(row, each));
  }

  /** @param {Product} product */
  #dish(product) {
    const row = h("li", {}, h("bdi"), h("span"), h("button", { type: "button" }));
    this.#draw(row, product);
    return row;
  }

  /**
   * @param {Element} row
   * @param {Product} product
   */
  #draw(row, product) {
    const [name, state, button] = /** @type {HTMLElement[]} */ ([...row.children]);
    const isGone = product.available === false;
    const waits = this.#outbox.of(`product ${product.id}`);
    say(name, product.name);
    say(state, waits ? t.sending : isGone ? t.isSoldOut : "");
    set(row, "class", isGone ? "gone" : null);
    say(button, isGone ? t.available : t.soldOut);
    set(button, "aria-label", `${product.name}: ${isGone ? t.available : t.soldOut}`);
    const action = isGone ? "available" : "sold-out";
    const path = `/api/shop/product/${product.id}/${action}`;
    button.onclick = () => this.#send(`product ${product.id}`, action, path, {});
  }

  #turn() {
    if (this.#shop.open) this.#show(this.#dialog);
    else this.#send(SHOP, "resume", "/api/shop/resume", {});
  }

  /**
   * @param {string} key
   * @param {string} action
   * @param {string} path
   * @param {unknown} body
   */
  #send(key, action, path, body) {
    if (!this.#outbox.of(key)) this.#outbox.add({ key, action, path, body });
  }
}

/** @param {(body: {minutes?: number, message?: string}) => void} pause */
function pauseDialog(pause) {
  const message = h("input", { id: "pause-message", maxlength: 200, autocomplete: "off" });
  const dialog = h("dialog", { "aria-labelledby": "pause-title" });
  const choose = (/** @type {number} */ minutes) => () => {
    const said = message.value.trim();
    pause({ ...(minutes ? { minutes } : {}), ...(said ? { message: said } : {}) });
    message.value = "";
    dialog.close();
  };
  const choices = [...PAUSES, 0].map((minutes) =>
    h("button", { type: "button", onclick: choose(minutes) }, t.pauseFor(minutes)),
  );
  const back = h("button", { type: "button", onclick: () => dialog.close() }, t.back);
  const label = h("label", { for: "pause-message" }, t.pauseMessage);
  const title = h("h2", { id: "pause-title" }, t.pause);
  fill(dialog, title, label, message, h("div", { class: "actions" }, ...choices), back);
  return dialog;
}
