/** An order on the board. */

import { fill, h, say, set } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { texts } from "../texts/en.js";
import { formatCount, formatMinutes, minutesSince, numberOf, urgencyOf } from "./format.js";

/** @typedef {import("../shared/api.js").Order} Order */
/** @typedef {import("./outbox.js").Press} Press */
/** @typedef {"accept" | "ready" | "complete" | "recall" | "cancel" | "see"} Action */
/** @typedef {(order: Order, action: Action, body?: unknown) => void} Act */

const t = texts.kitchen;
const usual = Number(document.documentElement.dataset.preparationMinutes) || 15;
const CHOICES = [...new Set([5, 10, 20, 30, usual])].sort((a, b) => a - b);

/** @type {Record<string, string>} */
const NAMES = t.actions;

/** @type {Record<string, Action[]>} what can be done, the next step first */
const ACTIONS = {
  placed: ["accept", "cancel"],
  accepted: ["ready", "cancel"],
  ready: ["complete", "recall", "cancel"],
  cancelled: ["see"],
};

export class Card {
  #act;
  #shown = "";
  #drawn = "";
  #age = h("p", { class: "age" });
  #state = h("p", { class: "state" });
  #hint = h("kbd", { class: "hint", "aria-hidden": "true" });
  #body = h("div");
  #buttons = h("div", { class: "actions" });

  /**
   * @param {Order} order
   * @param {Act} act
   */
  constructor(order, act) {
    this.#act = act;
    this.order = order;
    const id = `order-${order.id}`;
    const title = h("h3", { id }, `${t.order} `, h("span", { class: "number" }, numberOf(order)));
    const head = h("header", {}, title, this.#hint, this.#age);
    const parts = [head, this.#body, this.#state, this.#buttons];
    const named = { class: "ticket", "aria-labelledby": id, tabindex: -1 };
    this.element = h("article", named, ...parts);
  }

  /**
   * @param {Order} order
   * @param {Press | undefined} press
   * @param {number} place in the order in which keys choose
   */
  update(order, press, place) {
    this.order = order;
    const { level, text } = urgencyOf(order);
    const age = [formatMinutes(minutesSince(order)), text].filter(Boolean).join(" · ");
    const shown = [order.version, press?.action, press?.state, place, age].join();
    if (shown === this.#shown) return;
    this.#shown = shown;
    set(this.element, "data-level", level || null);
    set(this.element, "data-status", order.status);
    set(this.element, "aria-busy", press ? "true" : null);
    say(this.#age, age);
    say(this.#hint, place < 9 ? String(place + 1) : "");
    say(this.#state, press ? t.states[press.state ?? "waiting"](NAMES[press.action]) : "");
    this.#draw(press);
  }

  /** The next step, as Enter takes it. */
  step() {
    const action = ACTIONS[this.order.status][0];
    if (!this.element.hasAttribute("aria-busy")) this.#press(action);
  }

  /** @param {Press | undefined} press */
  #draw(press) {
    const { order } = this;
    if (this.#drawn !== String(order.version)) {
      fill(this.#body, ...contentOf(order));
      fill(this.#buttons, order.status === "placed" && minutesOf(order), ...this.#actions());
    }
    this.#drawn = String(order.version);
    for (const button of this.#buttons.querySelectorAll("button")) {
      // not disabled: it would lose focus
      set(button, "aria-disabled", press ? "true" : null);
    }
  }

  #actions() {
    return ACTIONS[this.order.status].map((action, index) => {
      const kind = index === 0 ? "main" : null;
      const onclick = (/** @type {MouseEvent} */ event) => {
        // the second press of a double one may be on the card that has slid under the finger
        if (event.detail < 2) this.#press(action);
      };
      return h("button", { type: "button", class: kind, onclick }, t.actions[action]);
    });
  }

  /** @param {Action} action */
  #press(action) {
    if (this.element.hasAttribute("aria-busy")) return;
    const chosen = this.#buttons.querySelector("input:checked");
    const minutes = chosen instanceof HTMLInputElement ? Number(chosen.value) : usual;
    this.#act(this.order, action, action === "accept" ? { minutes } : undefined);
  }
}

/** @param {Order} order */
function contentOf(order) {
  const { name, note } = order.pickup ?? {};
  return [
    order.status === "cancelled" && h("p", { class: "gone" }, goneText(order)),
    name && h("p", { class: "guest" }, h("bdi", {}, name)),
    h("ul", { class: "ticket-lines" }, ...order.items.map((_, index) => lineOf(order, index))),
    note && h("p", { class: "note" }, h("bdi", {}, note)),
    order.readyAt && order.status === "accepted" && h("p", {}, t.dueAt(formatTime(order.readyAt))),
  ];
}

/**
 * @param {Order} order
 * @param {number} index
 */
function lineOf(order, index) {
  const amount = h("b", {}, `${formatCount(order.items[index].quantity)} ×`);
  return h("li", {}, amount, " ", h("bdi", {}, order.products[index].name));
}

/** @param {Order} order */
function goneText({ cancellation }) {
  if (cancellation?.by === "customer") return t.cancelledByGuest;
  const reasons = /** @type {Record<string, string>} */ (t.reasons);
  return t.cancelledByShop(reasons[cancellation?.reason ?? ""] ?? cancellation?.reason ?? "");
}

/** @param {Order} order */
function minutesOf(order) {
  const choices = CHOICES.map((minutes) => {
    const name = `minutes-${order.id}`;
    const input = h("input", { type: "radio", name, value: minutes, checked: minutes === usual });
    return h("label", {}, input, h("span", {}, formatCount(minutes)));
  });
  return h("fieldset", { class: "minutes" }, h("legend", {}, t.minutes), ...choices);
}
