/** The cart: its lines, its fields, what it costs, and the press that orders it. */

import { fill, h, keyed, say, set } from "../shared/dom.js";
import { formatMoney } from "../shared/format.js";
import { fact, pricesOf } from "../shared/prices.js";
import { texts } from "../texts/en.js";
import { changeQuantity } from "./cart.js";

/**
 * @typedef {import("./cart.js").Cart} Cart
 * @typedef {import("./cart.js").Line} Line
 * @typedef {import("./quote.js").Quote} Quote
 * @typedef {import("./problems.js").Problems} Problems
 *
 * @typedef {object} Shown
 * @property {Cart} cart
 * @property {Quote} quote
 * @property {Problems} problems
 * @property {string} notice what has changed without the guest
 * @property {boolean} isFrozen an order is on its way: nothing may be changed
 * @property {boolean} mayPlace
 *
 * @typedef {object} Actions
 * @property {() => void} changed the cart was changed here
 * @property {(name: "coupon" | "name" | "note", value: string) => void} typed
 * @property {() => void} place
 */

const words = texts.storefront;

export class CartView {
  #actions;
  #empty = h("p", { class: "muted" }, words.empty);
  #lines = h("ul", { class: "lines", role: "list" });
  #prices = h("dl", { class: "prices" });
  #general = h("p", { class: "problem", role: "alert" });
  #place;
  #fields;
  #form;
  #filled;

  /**
   * @param {HTMLElement} parent
   * @param {HTMLElement} progress where the order on its way is shown
   * @param {Actions} actions
   */
  constructor(parent, progress, actions) {
    this.#actions = actions;
    const typed = actions.typed;
    this.#fields = {
      couponCode: new Field(words.coupon, { autocapitalize: "characters" }, (v) => typed("coupon", v)),
      name: new Field(words.name, { autocapitalize: "words" }, (v) => typed("name", v)),
      note: new Field(words.note, {}, (v) => typed("note", v)),
    };
    const inputs = Object.values(this.#fields).map((field) => field.element);
    this.#form = h("fieldset", {}, this.#lines, ...inputs);
    this.#place = h("button", { type: "button", class: "main", onclick: () => actions.place() });
    this.#place.append(words.place);
    const pay = h("p", { class: "muted" }, texts.shared.payAtTheCounter);
    this.#filled = h("div", {}, this.#form, this.#prices, this.#general, this.#place, pay);
    const title = h("h2", { id: "your-order" }, words.yourOrder);
    fill(parent, title, progress, this.#empty, this.#filled);
  }

  /** @param {Shown} shown */
  show(shown) {
    const { cart, problems, isFrozen } = shown;
    const isEmpty = cart.lines.length === 0;
    this.#empty.hidden = !isEmpty;
    this.#filled.hidden = isEmpty;
    this.#form.disabled = isFrozen;
    this.#showLines(shown);
    this.#fields.couponCode.show(cart.coupon, problems.couponCode);
    this.#fields.name.show(cart.name, problems.name);
    this.#fields.note.show(cart.note, problems.note);
    this.#showPrices(shown.quote);
    say(this.#general, problems.general || shown.notice);
    set(this.#place, "aria-disabled", shown.mayPlace ? null : "true");
  }

  /** The field that has to be changed gets the focus. */
  focusProblem() {
    const input = this.#form.querySelector("input[aria-invalid]");
    if (input instanceof HTMLInputElement) input.focus();
  }

  /** @param {Shown} shown */
  #showLines({ cart, quote, problems }) {
    /** @type {(element: Element, line: Line) => void} */
    const update = (element, line) => {
      const place = cart.lines.indexOf(line);
      const product = quote.prices?.products.find((each) => each.id === line.productId);
      say(part(element, ".quantity"), String(line.quantity));
      say(part(element, ".each"), product ? `${formatMoney(product.price)} ${words.each}` : "");
      say(part(element, ".problem"), problems.lines.get(place) ?? "");
    };
    const make = (/** @type {Line} */ line) => {
      const element = this.#makeLine(line);
      update(element, line);
      return element;
    };
    keyed(this.#lines, cart.lines, (line) => line.productId, make, update);
  }

  /** @param {Line} line */
  #makeLine({ productId, name }) {
    /** @type {(label: string, sign: string, by: number) => HTMLElement} */
    const button = (label, sign, by) =>
      h("button", { type: "button", "aria-label": label, onclick: () => this.#change(productId, by) }, sign);
    return h(
      "li",
      {},
      h("span", { class: "name" }, h("bdi", {}, name)),
      h("span", { class: "each muted" }),
      h(
        "span",
        { class: "amount" },
        button(words.less(name), "−", -1),
        h("span", { class: "quantity" }),
        button(words.more(name), "+", 1),
        button(words.remove(name), "×", -Infinity),
      ),
      h("p", { class: "problem" }),
    );
  }

  /**
   * A line that goes takes the focus with it: it stays in the order.
   *
   * @param {string} productId
   * @param {number} by
   */
  #change(productId, by) {
    changeQuantity(productId, by);
    this.#actions.changed();
    if (document.activeElement !== document.body) return;
    const next = this.#lines.querySelector("button") ?? document.getElementById("your-order");
    if (next instanceof HTMLHeadingElement) next.tabIndex = -1;
    next?.focus();
  }

  /** @param {Quote} quote */
  #showPrices({ state, prices }) {
    set(this.#prices, "aria-busy", state === "asking" ? "true" : null);
    if (prices) fill(this.#prices, pricesOf(prices));
    else fill(this.#prices, fact(texts.shared.total, state === "asking" ? words.asking : "–", "total"));
    if (state === "unanswered") fill(this.#prices, fact(texts.shared.total, texts.shared.noAnswer, "total"));
  }
}

/**
 * @param {Element} element
 * @param {string} selector
 */
const part = (element, selector) => /** @type {Element} */ (element.querySelector(selector));

/** A field with its problem beside it. */
class Field {
  #input;
  #problem;

  /**
   * @param {string} label
   * @param {Record<string, unknown>} attributes
   * @param {(value: string) => void} typed
   */
  constructor(label, attributes, typed) {
    const id = `problem-${fields++}`;
    const oninput = () => typed(this.#input.value);
    const all = { autocomplete: "off", "aria-describedby": id, maxlength: 300, ...attributes, oninput };
    this.#input = h("input", { ...all, dir: "auto" });
    this.#problem = h("p", { class: "problem", id, "aria-live": "polite" });
    this.element = h("div", { class: "field" }, h("label", {}, label, this.#input), this.#problem);
  }

  /**
   * @param {string} value
   * @param {string} [problem]
   */
  show(value, problem) {
    if (this.#input.value !== value) this.#input.value = value;
    set(this.#input, "aria-invalid", problem ? "true" : null);
    say(this.#problem, problem ?? "");
  }
}

let fields = 0;
