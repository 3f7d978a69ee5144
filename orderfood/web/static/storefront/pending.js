/** The order that was sent and has no definite answer yet, which all tabs of a browser share. */

import { isKey, keep, randomKey, readKept } from "../shared/kept.js";
import { guestMark } from "../shared/session.js";
import { CART, changeCart, requestOf } from "./cart.js";

/**
 * @typedef {object} Pending
 * @property {string} key the Idempotency-Key
 * @property {object} body as it is sent, each time the same
 * @property {number} at when the guest pressed
 * @property {number} attempts how often it was sent
 * @property {string | null} guest who sent it
 */

export const PENDING = "orderfood.pending";
export const PLACED = "orderfood.placed";

/** @returns {Pending | null} */
export function readPending() {
  const kept = readKept(PENDING);
  const isOne = isKey(kept?.key) && kept.body?.constructor === Object;
  return isOne && Number.isInteger(kept.attempts) && isMoment(kept.at) ? kept : null;
}

/** @param {unknown} value */
const isMoment = (value) => typeof value === "number" && !Number.isNaN(new Date(value).getTime());

/**
 * Keeps the order as it is, before it is sent.
 *
 * @param {import("./cart.js").Cart} cart
 * @param {number} expectedTotal what the guest has seen
 */
export function freeze(cart, expectedTotal) {
  const body = { ...requestOf(cart), expectedTotal };
  keep(CART, cart);
  keep(PENDING, { key: cart.key, body, at: Date.now(), attempts: 0, guest: guestMark() });
}

/** @param {Pending} pending */
export const keepPending = (pending) => keep(PENDING, pending);

/** Nothing was ordered: the cart stays. */
export const thaw = () => keep(PENDING, null);

/** Nobody knows whether it was ordered, or it was: the cart becomes another order. */
export function renew() {
  keep(PENDING, null);
  changeCart((cart) => {
    cart.key = randomKey();
  });
}

/**
 * It was ordered.
 *
 * @param {Pending} pending
 * @param {string} id
 */
export function settle({ key }, id) {
  keep(PLACED, { key, id });
  keep(PENDING, null);
  keep(CART, null);
}

/**
 * The order that was placed under this key, maybe by another tab; null for none.
 *
 * @param {string} key
 * @returns {string | null}
 */
export function placedUnder(key) {
  const placed = readKept(PLACED);
  return placed?.key === key && typeof placed.id === "string" ? placed.id : null;
}
