/** What the board knows of orders: a larger version wins, and nothing ever goes back. */

/** @typedef {import("../shared/api.js").Order} Order */
/** @typedef {Order & {completedAt?: number}} Completed */

/** How many completed ones are shown. */
export const SHOWN_COMPLETED = 20;
/** Milliseconds in which a completed order can be recalled. */
export const RECALL_TIME = 15 * 60_000;
/** Of how many orders that have left the board the version is kept: their events may come twice. */
const REMEMBERED = 1_000;

/** The columns, by the status of their orders. */
export const COLUMNS = /** @type {const} */ (["placed", "accepted", "ready"]);

export class Orders {
  /** Those that wait for something, and those cancelled that nobody has seen. */
  #shown = new Map(/** @type {[string, Order][]} */ ([]));
  /** @type {Completed[]} newest first */
  #completed = [];
  #left = new Map(/** @type {[string, number][]} */ ([]));
  /** Those that rang when they came, until they leave the board. */
  #ringing = new Set(/** @type {string[]} */ ([]));

  /**
   * Forgets the versions, for a listing that comes. What was cancelled stays until it is seen.
   *
   * @returns {Set<string>} the orders that were known, and so are no news
   */
  forget() {
    const known = new Set([...this.#shown.keys(), ...this.#left.keys()]);
    const unseen = this.unseen;
    this.#shown.clear();
    this.#left.clear();
    this.#completed = [];
    for (const order of unseen) this.#shown.set(order.id, { ...order, version: 0 });
    return known;
  }

  /**
   * @param {Order} order as it was with some event
   * @param {boolean} [isNews] whether it rings if it is a new one
   * @returns {boolean} whether that is more than was known
   */
  take(order, isNews = false) {
    const known = this.#shown.get(order.id)?.version ?? this.#left.get(order.id) ?? 0;
    if (order.version <= known) return false;
    if (isNews && order.status === "placed") this.#ringing.add(order.id);
    this.#put(order);
    return true;
  }

  /** @param {Order} order */
  #put(order) {
    this.#completed = this.#completed.filter((each) => each.id !== order.id);
    const isOpen = COLUMNS.some((status) => status === order.status);
    if (isOpen || (order.status === "cancelled" && this.#shown.has(order.id))) {
      this.#left.delete(order.id);
      this.#shown.set(order.id, order);
      return;
    }
    this.#leave(order);
    if (order.status === "completed") this.addCompleted({ ...order, completedAt: Date.now() });
  }

  /** @param {Order} order */
  #leave(order) {
    this.#shown.delete(order.id);
    this.#ringing.delete(order.id);
    this.#left.set(order.id, order.version);
    const oldest = this.#left.keys().next();
    if (this.#left.size > REMEMBERED && !oldest.done) this.#left.delete(oldest.value);
  }

  /** @param {Completed} order */
  addCompleted(order) {
    const others = this.#completed.filter((each) => each.id !== order.id);
    const all = [order, ...others].sort((a, b) => (b.completedAt ?? 0) - (a.completedAt ?? 0));
    this.#completed = all.slice(0, SHOWN_COMPLETED);
  }

  /**
   * Adds one that a listing shows as completed, unless it has come back since.
   *
   * @param {Completed} order
   */
  addEnded(order) {
    if (this.#shown.has(order.id)) return;
    if (!this.#left.has(order.id)) this.#left.set(order.id, order.version);
    this.addCompleted(order);
  }

  /** @param {Order} order that was shown, and is cancelled since */
  addCancelled(order) {
    if (!this.#shown.has(order.id) && !this.#left.has(order.id)) this.#shown.set(order.id, order);
  }

  /** The ids of those that are shown. */
  get shownIds() {
    return [...this.#shown.keys()];
  }

  /** @param {string} id of a cancelled order, which goes */
  see(id) {
    const order = this.#shown.get(id);
    if (order) this.#leave(order);
  }

  /** @param {string} id */
  get(id) {
    return this.#shown.get(id) ?? this.#completed.find((each) => each.id === id);
  }

  /**
   * Those of a column, oldest first. One that is cancelled stays where a cook looks for it: first.
   *
   * @param {string} status
   */
  column(status) {
    const here = [...this.#shown.values()].filter((each) => columnOf(each) === status);
    return here.sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
  }

  /** The ids of all that are shown. */
  get ids() {
    return [...this.#shown.keys()];
  }

  get completed() {
    return this.#completed;
  }

  get unseen() {
    return [...this.#shown.values()].filter((each) => each.status === "cancelled");
  }

  /** How many are new and ring until they are accepted. */
  get ringing() {
    return [...this.#ringing].filter((id) => this.#shown.get(id)?.status === "placed").length;
  }

  /** How many of each dish open orders have, most first. */
  counts() {
    const counts = new Map(/** @type {[string, number][]} */ ([]));
    for (const order of this.#shown.values()) {
      if (order.status === "cancelled") continue;
      order.items.forEach(({ quantity }, index) => {
        const name = order.products[index].name;
        counts.set(name, (counts.get(name) ?? 0) + quantity);
      });
    }
    return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  }
}

/** @param {Order} order */
function columnOf(order) {
  if (order.status !== "cancelled") return order.status;
  return order.readyAt ? "accepted" : "placed";
}

/** @type {Record<string, string[]>} where an order stands after an action */
const AFTER = {
  accept: ["accepted"],
  ready: ["ready"],
  complete: ["completed"],
  recall: ["accepted", "ready"],
  cancel: ["cancelled"],
};

/**
 * Whether the news of an order says that a press was done, before its answer does.
 *
 * @param {{action: string, version?: number}} press
 * @param {Order} order
 */
export function isDoneBy({ action, version = 0 }, order) {
  return order.version === version + 1 && AFTER[action].includes(order.status);
}
