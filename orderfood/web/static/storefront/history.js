/** The orders that were placed from this browser, live. */

import { get } from "../shared/api.js";
import { fill, h, keyed } from "../shared/dom.js";
import { follow } from "../shared/feed.js";
import { formatMoney, formatTime } from "../shared/format.js";
import { Orders } from "../shared/orders.js";
import { believed, isListing } from "../shared/shapes.js";
import { texts } from "../texts/en.js";

/** @typedef {import("../shared/api.js").Order} Order */

const MOST = 10;

export class History {
  #orders = new Orders();
  #list = h("ul", { class: "history", role: "list" });
  #parent;
  #isFollowing = false;

  /** @param {HTMLElement} parent is shown when there is an order */
  constructor(parent) {
    this.#parent = parent;
    fill(parent, h("h2", { id: "history" }, texts.storefront.history), this.#list);
    parent.hidden = true;
  }

  /** The browser is a guest's: there may be orders. */
  async begin() {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    await this.#read();
    follow({
      url: "/api/event",
      onOrder: (order) => this.#take([order]),
      onReset: () => {
        this.#orders.forget();
        void this.#read();
      },
      onLive: (isLive) => void (isLive && this.#read()),
    });
  }

  async #read() {
    const { status, body } = believed(await get(`/api/order?limit=${MOST}`), isListing);
    if (status === 200) this.#take(body.orders);
  }

  /** @param {Order[]} orders */
  #take(orders) {
    const news = orders.filter((order) => this.#orders.take(order));
    if (news.length > 0) this.#show();
  }

  #show() {
    const newest = this.#orders.list().slice(0, MOST);
    this.#parent.hidden = newest.length === 0;
    keyed(this.#list, newest, (order) => order.id, makeEntry, fillEntry);
  }
}

/** @param {Order} order */
function makeEntry(order) {
  const entry = h("li", {}, h("a", { href: `/orders/${order.id}` }), h("span"), h("span"));
  fillEntry(entry, order);
  return entry;
}

/**
 * @param {Element} entry
 * @param {Order} order
 */
function fillEntry(entry, { number, status, total, createdAt }) {
  const [link, state, rest] = entry.children;
  link.textContent = texts.shared.order(number);
  state.textContent = texts.shared.steps[status] ?? status;
  rest.textContent = `${formatTime(createdAt)}, ${formatMoney(total)}`;
  entry.setAttribute("data-status", status);
}
