/** Orders that are shown: each as of its highest version, for events may come late, or twice. */

/** @typedef {import("./api.js").Order} Order */

export class Orders {
  /** @type {Map<string, Order>} */
  #known = new Map();

  /**
   * @param {Order} order
   * @returns {boolean} whether it is news
   */
  take(order) {
    const known = this.#known.get(order.id);
    if (known && known.version >= order.version) return false;
    this.#known.set(order.id, order);
    return true;
  }

  forget() {
    this.#known.clear();
  }

  /** @param {string} id */
  find(id) {
    return this.#known.get(id);
  }

  /** @returns {Order[]} newest first */
  list() {
    return [...this.#known.values()].sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
  }
}
