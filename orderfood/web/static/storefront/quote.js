/** What the cart costs, which the service says: nothing is added up here. */

import { callAsGuest } from "../shared/session.js";
import { believed, isPrices } from "../shared/shapes.js";
import { requestOf } from "./cart.js";

/**
 * @typedef {import("./cart.js").Cart} Cart
 * @typedef {import("../shared/api.js").Answer} Answer
 *
 * @typedef {object} Prices
 * @property {number} subtotal
 * @property {number} discounts
 * @property {number} total
 * @property {string} [couponCode]
 * @property {import("../shared/api.js").Product[]} products
 *
 * @typedef {object} Quote
 * @property {"none" | "asking" | "good" | "refused" | "unanswered"} state
 * @property {Prices} [prices] where it is good
 * @property {Answer} [answer] where it is refused
 * @property {boolean} [isChanged] the total is another one, though the guest has changed nothing
 */

/** Milliseconds after the last change. */
const DELAY = 300;
/** Seconds after which an unanswered question is asked again. */
const AGAIN = [1, 2, 4, 8, 10];

export class Quoter {
  /** @type {Quote} */
  quote = { state: "none" };
  #asked = 0;
  #timer = 0;
  #show;

  /** @param {() => void} show called when the quote is another one */
  constructor(show) {
    this.#show = show;
  }

  /**
   * The cart has changed: what was known of its price is true no more.
   *
   * @param {Cart} cart
   */
  changed(cart) {
    this.#schedule(cart, DELAY);
    this.#set({ state: cart.lines.length === 0 ? "none" : "asking" });
  }

  /**
   * The menu or the shop has changed: asks again, and shows meanwhile what was known.
   *
   * @param {Cart} cart
   */
  recheck(cart) {
    if (this.quote.state !== "asking") this.#schedule(cart, 0);
  }

  /**
   * The service has said by itself what the order costs now.
   *
   * @param {Prices} prices
   */
  take(prices) {
    this.#cancel();
    this.#set({ state: "good", prices });
  }

  #cancel() {
    clearTimeout(this.#timer);
    return ++this.#asked;
  }

  /**
   * @param {Cart} cart
   * @param {number} wait
   * @param {number} failures
   */
  #schedule(cart, wait, failures = 0) {
    const asked = this.#cancel();
    if (cart.lines.length === 0) return;
    this.#timer = window.setTimeout(() => void this.#ask(cart, asked, failures), wait);
  }

  /**
   * @param {Cart} cart
   * @param {number} asked
   * @param {number} failures
   */
  async #ask(cart, asked, failures) {
    const request = callAsGuest("POST", "/api/order/quote", requestOf(cart));
    const answer = believed(await request, isPrices);
    if (asked !== this.#asked) return; // the cart is another one by now
    if (answer.status === 200) this.#good(answer.body);
    else if (isNoAnswer(answer)) this.#unanswered(cart, answer, failures);
    else this.#set({ state: "refused", answer });
  }

  /** @param {Prices} prices */
  #good(prices) {
    const before = this.quote.prices?.total;
    this.#set({ state: "good", prices, isChanged: before !== undefined && before !== prices.total });
  }

  /**
   * @param {Cart} cart
   * @param {Answer} answer
   * @param {number} failures
   */
  #unanswered(cart, answer, failures) {
    if (this.quote.state !== "good") this.#set({ state: "unanswered" });
    const wait = Math.max(AGAIN[Math.min(failures, AGAIN.length - 1)], answer.retryAfter);
    this.#schedule(cart, wait * 1000, failures + 1);
  }

  /** @param {Quote} quote */
  #set(quote) {
    this.quote = quote;
    this.#show();
  }
}

/**
 * Whether the service itself has not judged the cart: 404 is of a proxy, for there is such a question.
 *
 * @param {Answer} answer
 */
const isNoAnswer = ({ status }) =>
  status < 400 || status === 404 || status === 408 || status === 429 || status >= 500;
