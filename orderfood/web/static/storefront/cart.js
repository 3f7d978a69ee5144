/** The cart, which all tabs of a browser share. */

import { isKey, keep, randomKey, readKept } from "../shared/kept.js";

/**
 * @typedef {{productId: string, quantity: number, name: string}} Line
 *
 * @typedef {object} Cart
 * @property {string} key the Idempotency-Key of the order that it becomes: made with the cart, so that
 *   two tabs that press at once send the same request. A refused request leaves no key behind, so it
 *   stays until the order is placed.
 * @property {Line[]} lines
 * @property {string} coupon
 * @property {string} name
 * @property {string} note
 */

export const CART = "orderfood.cart";
export const MOST = 1000;

/** @returns {Cart} */
export function readCart() {
  const kept = readKept(CART);
  const lines = Array.isArray(kept?.lines) ? kept.lines.filter(isLine) : [];
  return {
    key: isKey(kept?.key) ? kept.key : randomKey(),
    lines,
    coupon: text(kept?.coupon),
    name: text(kept?.name),
    note: text(kept?.note),
  };
}

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : "");

/** @param {any} line */
function isLine(line) {
  return typeof line?.productId === "string" && typeof line.name === "string" && isQuantity(line);
}

/** @param {any} line */
function isQuantity({ quantity }) {
  return Number.isInteger(quantity) && quantity >= 1 && quantity <= MOST;
}

/** @param {(cart: Cart) => void} change */
export function changeCart(change) {
  const cart = readCart();
  change(cart);
  keep(CART, cart);
}

/** @param {{id: string, name: string}} product */
export function addToCart({ id, name }) {
  changeCart((cart) => {
    const line = cart.lines.find((each) => each.productId === id);
    if (!line) cart.lines.push({ productId: id, quantity: 1, name });
    else line.quantity = Math.min(line.quantity + 1, MOST);
  });
}

/**
 * @param {string} productId
 * @param {number} by less than zero to take away; what falls to zero is removed
 */
export function changeQuantity(productId, by) {
  changeCart((cart) => {
    for (const line of cart.lines) {
      if (line.productId === productId) line.quantity = Math.min(line.quantity + by, MOST);
    }
    cart.lines = cart.lines.filter((line) => line.quantity > 0);
  });
}

/**
 * The body of an order, and of the question what it costs.
 *
 * @param {Cart} cart
 */
export function requestOf(cart) {
  const coupon = cart.coupon.trim();
  return {
    items: cart.lines.map(({ productId, quantity }) => ({ productId, quantity })),
    ...(coupon && { couponCode: coupon }),
    pickup: { name: oneLine(cart.name), note: oneLine(cart.note) },
  };
}

/** @param {string} value */
const oneLine = (value) => value.replace(/\s+/g, " ").trim();
