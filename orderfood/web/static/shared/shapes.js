/**
 * What an answer of 200 has to hold to be believed: a proxy, or a server that is being replaced, may
 * say anything. Only what would break a page is looked at.
 */

/** @typedef {import("./api.js").Answer} Answer */

/** @param {any} value */
const isList = (value) => Array.isArray(value);

/** @param {any} value */
export const isMenu = (value) => isList(value) && value.every(isProduct);

/** @param {any} value */
const isProduct = (value) =>
  typeof value?.id === "string" && typeof value.name === "string" && Number.isFinite(value.price);

/** @param {any} value */
export const isShop = (value) => typeof value?.open === "boolean";

/** @param {any} value a browser that is nobody's has {} */
export const isSession = (value) =>
  value?.constructor === Object && (!value.guest || isList(value.guest.scopes));

/** @param {any} value */
export const isPrices = (value) =>
  [value?.subtotal, value?.discounts, value?.total].every(Number.isFinite) && isMenu(value.products);

/** @param {any} value */
export const isOrder = (value) =>
  typeof value?.id === "string" &&
  Number.isInteger(value.version) &&
  isPrices(value) &&
  isList(value.items) &&
  value.items.length <= value.products.length &&
  !Number.isNaN(Date.parse(value.createdAt));

/** @param {any} value */
export const isListing = (value) => isList(value?.orders) && value.orders.every(isOrder);

/**
 * An answer of 200 that holds something else is none.
 *
 * @param {Answer} answer
 * @param {(body: any) => boolean} isIt
 * @returns {Answer}
 */
export const believed = (answer, isIt) =>
  answer.status !== 200 || isIt(answer.body) ? answer : { status: 0, body: null, retryAfter: 0 };
