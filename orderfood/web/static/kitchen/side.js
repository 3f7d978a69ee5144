/** Beside the columns: how many of each dish are open, and what was completed last. */

import { h, keyed, say, set } from "../shared/dom.js";
import { texts } from "../texts/en.js";
import { formatCount, numberOf } from "./format.js";
import { RECALL_TIME } from "./orders.js";

/** @typedef {import("./orders.js").Orders} Orders */
/** @typedef {import("./orders.js").Completed} Completed */

const t = texts.kitchen;

/** @param {Completed} order */
export const canRecall = (order) => Date.now() - (order.completedAt ?? 0) < RECALL_TIME;

export class Side {
  #counts = h("ul", { class: "counts" });
  #completed = h("ul", { class: "completed" });
  #recall;

  /**
   * @param {Element} menu
   * @param {(id: string) => void} recall
   */
  constructor(menu, recall) {
    this.#recall = recall;
    const counts = section("all-day", t.allDay, this.#counts);
    const completed = section("completed", t.completed, this.#completed);
    this.element = h("div", { class: "side" }, counts, menu, completed);
  }

  /** @param {Orders} orders */
  update(orders) {
    keyed(this.#counts, orders.counts(), ([name]) => name, countRow, updateCount);
    const make = (/** @type {Completed} */ order) => this.#row(order);
    keyed(this.#completed, orders.completed, (order) => order.id, make, (row, order) => {
      const button = row.querySelector("button");
      if (button) set(button, "hidden", !canRecall(order));
    });
  }

  /** @param {Completed} order */
  #row(order) {
    const name = `${t.order} ${numberOf(order)}`;
    const guest = order.pickup?.name;
    const title = h("span", {}, name, guest && " ", guest && h("bdi", {}, guest));
    const onclick = () => this.#recall(order.id);
    const pressed = { type: "button", onclick, hidden: !canRecall(order) };
    const recall = h("button", pressed, t.actions.recall);
    return h("li", {}, h("article", { "aria-label": name }, title, recall));
  }
}

/**
 * @param {string} id
 * @param {string} title
 * @param {Element} content
 */
const section = (id, title, content) =>
  h("section", { "aria-labelledby": id }, h("h2", { id }, title), content);

/** @param {[string, number]} count */
const countRow = ([name, amount]) =>
  h("li", {}, h("b", {}, formatCount(amount)), " × ", h("bdi", {}, name));

/**
 * @param {Element} row
 * @param {[string, number]} count
 */
const updateCount = (row, [, amount]) =>
  say(/** @type {Element} */ (row.firstElementChild), formatCount(amount));
