/** How the board writes what it shows. */

import { texts } from "../texts/en.js";

/** @typedef {import("../shared/api.js").Order} Order */

const say = texts.kitchen;
const minutes = new Intl.NumberFormat(document.documentElement.lang, {
  style: "unit",
  unit: "minute",
});
const count = new Intl.NumberFormat(document.documentElement.lang);
const MINUTE = 60_000;
/** Minutes after which a new order is to be looked at, and after which it is late. */
const [WAITING, LATE] = [3, 6];
/** Minutes before its time when an order is nearly due, and after it when nobody has come for it. */
const [NEARLY, LEFT] = [3, 10];

/** @param {number} number */
export const formatCount = (number) => count.format(number);

/** @param {number} number */
export const formatMinutes = (number) => minutes.format(number);

/**
 * What an order is called out as; one of before there were numbers, by its id.
 *
 * @param {Order} order
 */
export const numberOf = (order) => String(order.number ?? order.id.slice(0, 4));

/** @param {Order} order */
export const minutesSince = (order) =>
  Math.max(0, Math.floor((Date.now() - Date.parse(order.createdAt)) / MINUTE));

/**
 * How urgent it is, in a word for the eye and a text for everybody.
 *
 * @param {Order} order
 * @returns {{level: "" | "amber" | "red", text: string}}
 */
export function urgencyOf(order) {
  const left = order.readyAt ? (Date.parse(order.readyAt) - Date.now()) / MINUTE : Infinity;
  if (order.status === "placed") return ofNew(minutesSince(order));
  if (order.status === "accepted" && left < 0) return { level: "red", text: say.late };
  if (order.status === "accepted" && left < NEARLY) return { level: "amber", text: say.nearlyDue };
  if (order.status === "ready" && left < -LEFT) return { level: "amber", text: say.notFetched };
  return { level: "", text: "" };
}

/**
 * @param {number} since
 * @returns {{level: "" | "amber" | "red", text: string}}
 */
function ofNew(since) {
  if (since >= LATE) return { level: "red", text: say.late };
  return since >= WAITING ? { level: "amber", text: say.waiting } : { level: "", text: "" };
}
