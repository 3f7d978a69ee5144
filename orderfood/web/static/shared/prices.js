/** What an order or a cart costs, line by line, as a list of descriptions shows it. */

import { h } from "./dom.js";
import { formatMoney } from "./format.js";
import { texts } from "../texts/en.js";

/**
 * A name and its value.
 *
 * @param {string} name
 * @param {string} value
 * @param {string} [kind]
 */
export const fact = (name, value, kind) =>
  h("div", { class: kind }, h("dt", {}, name), h("dd", {}, h("bdi", {}, value)));

/**
 * The total, and before it what was taken off, where there is a coupon.
 *
 * @param {{subtotal: number, discounts: number, total: number, couponCode?: string}} prices
 */
export function pricesOf({ subtotal, discounts, total, couponCode }) {
  const { shared } = texts;
  const isReduced = discounts > 0 || couponCode !== undefined;
  const discount = couponCode ? shared.discountBy(couponCode) : shared.discount;
  return [
    isReduced && fact(shared.subtotal, formatMoney(subtotal)),
    isReduced && fact(discount, `−${formatMoney(discounts)}`),
    fact(shared.total, formatMoney(total), "total"),
  ];
}
