/** How an order is shown. */

import { post } from "../shared/api.js";
import { fill, h, say } from "../shared/dom.js";
import { formatMoney, formatTime } from "../shared/format.js";
import { fact, pricesOf } from "../shared/prices.js";
import { texts } from "../texts/en.js";

/** @typedef {import("../shared/api.js").Order} Order */

const words = texts.order;
const STEPS = ["placed", "accepted", "ready", "completed"];

export class OrderView {
  #title = h("h1");
  #status = h("p", { role: "status", class: "state" });
  #steps = h("ol", { class: "steps", "aria-label": words.steps });
  #live = h("p", { class: "problem", "aria-live": "polite" });
  #problem = h("p", { class: "problem", role: "alert" });
  #cancel = h("button", { type: "button", onclick: () => void this.#press() }, words.cancel);
  #pay = h("p", {}, texts.shared.payAtTheCounter);
  #receipt = h("section", { class: "card", "aria-label": words.contents });
  /** @type {Order | null} */
  #order = null;
  #take;

  /** @param {(order: Order) => void} take called with what an answer has shown */
  constructor(take) {
    this.#take = take;
    const live = h("div", { class: "live" }, this.#live);
    const action = h("div", {}, this.#problem, this.#cancel);
    const head = [this.#title, this.#status, live, this.#steps, this.#pay, action];
    const back = h("p", {}, h("a", { href: "/" }, words.toTheMenu));
    this.element = h("div", {}, ...head, this.#receipt, back);
  }

  /** @param {Order} order */
  show(order) {
    const isNew = this.#order === null;
    const isOver = order.status === "cancelled" || order.status === "completed";
    this.#order = order;
    say(this.#title, texts.shared.order(order.number));
    say(this.#status, stateText(order));
    this.element.dataset.status = order.status;
    document.title = `${this.#title.textContent}: ${texts.shared.steps[order.status] ?? order.status}`;
    this.#showSteps(order);
    this.#cancel.hidden = order.status !== "placed";
    this.#pay.hidden = isOver;
    if (order.status === "accepted" || isNew) fill(this.#receipt, ...receipt(order));
    if (order.status === "cancelled") say(this.#problem, "");
  }

  /** @param {number | null} since null when what is shown is true now */
  setLive(since) {
    say(this.#live, since === null ? "" : texts.shared.notLive(formatTime(since)));
  }

  /** @param {Order} order */
  #showSteps({ status }) {
    const current = STEPS.indexOf(status);
    this.#steps.hidden = current < 0;
    const step = (/** @type {string} */ name, /** @type {number} */ place) =>
      h(
        "li",
        { "aria-current": place === current && "step", class: place < current ? "done" : null },
        texts.shared.steps[name],
        place < current && h("span", { class: "unseen" }, ` (${words.done})`),
      );
    fill(this.#steps, STEPS.map(step));
  }

  async #press() {
    if (!this.#order || this.#cancel.getAttribute("aria-disabled") === "true") return;
    this.#cancel.setAttribute("aria-disabled", "true");
    say(this.#cancel, words.cancelling);
    const answer = await post(`/api/order/${this.#order.id}/cancel`, {});
    this.#cancel.removeAttribute("aria-disabled");
    say(this.#cancel, words.cancel);
    this.#judge(answer);
  }

  /** @param {import("../shared/api.js").Answer} answer */
  #judge({ status, body }) {
    if (status === 200) this.#take(body);
    else if (status === 409 && body?.order) {
      this.#take(body.order);
      if (body.order.status !== "cancelled") say(this.#problem, words.tooLate);
    } else say(this.#problem, words.cancelFailed);
  }
}

/** @param {Order} order */
function stateText({ status, readyAt, cancellation }) {
  if (status !== "cancelled" || !cancellation) {
    return words.states[status]?.(readyAt ? formatTime(readyAt) : null) ?? status;
  }
  const reason = cancellation.by === "shop" && words.reasons[cancellation.reason ?? ""];
  const said = [words.cancelled[cancellation.by] ?? words.states.cancelled(null)];
  if (reason) said.push(reason);
  if (cancellation.note) said.push(`\u2068${cancellation.note}\u2069`);
  return said.join(": ");
}

/** @param {Order} order */
function receipt(order) {
  return [
    h("h2", {}, words.contents),
    h("ul", { class: "lines", role: "list" }, order.items.map((_, place) => line(order, place))),
    h("dl", { class: "prices" }, ...pricesOf(order)),
    h("dl", { class: "facts" }, ...facts(order)),
  ];
}

/**
 * @param {Order} order
 * @param {number} place
 */
function line({ items, products }, place) {
  const { name, price } = products[place];
  const { quantity } = items[place];
  const each = quantity === 1 ? "" : ` ${texts.storefront.each}`;
  return h(
    "li",
    {},
    h("span", { class: "name" }, `${quantity} × `, h("bdi", {}, name)),
    h("span", { class: "each" }, formatMoney(price) + each),
  );
}

/** @param {Order} order */
function facts({ pickup, createdAt }) {
  return [
    fact(words.placedAt, formatTime(createdAt)),
    pickup?.name && fact(words.name, pickup.name),
    pickup?.note && fact(words.note, pickup.note),
  ];
}
