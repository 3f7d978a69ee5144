/** Why an order or a quote was refused: what is said, and beside which field. */

import { formatTime } from "../shared/format.js";
import { texts } from "../texts/en.js";

/**
 * @typedef {import("../shared/api.js").Answer} Answer
 *
 * @typedef {object} Problems
 * @property {string} [general]
 * @property {string} [couponCode]
 * @property {Map<number, string>} lines by their places in the request
 * @property {string} [name]
 * @property {string} [note]
 */

const words = texts.storefront;

/**
 * @param {Answer} answer
 * @returns {Problems}
 */
export function problemsOf(answer) {
  /** @type {Problems} */
  const problems = { lines: new Map() };
  const errors = Array.isArray(answer.body?.errors) ? answer.body.errors : [];
  for (const { field, message } of errors) place(problems, String(field), String(message), answer);
  const isPlaced = problems.lines.size || problems.couponCode || problems.name || problems.note;
  if (!isPlaced && !problems.general) problems.general = generalText(answer);
  return problems;
}

/**
 * @param {Problems} problems
 * @param {string} field
 * @param {string} message
 * @param {Answer} answer
 */
function place(problems, field, message, answer) {
  const line = /^items\[(\d+)\]/.exec(field);
  if (line) problems.lines.set(Number(line[1]), lineText(answer, message));
  else if (field === "couponCode") problems.couponCode = couponText(answer, message);
  else if (field === "pickup.name") problems.name = words.fields[field];
  else if (field === "pickup.note") problems.note = words.fields[field];
  else problems.general = generalText(answer);
}

/**
 * @param {Answer} answer
 * @param {string} message
 */
function lineText({ body }, message) {
  return body.reason === "sold_out" ? words.soldOut : (words.refusals[body.reason] ?? message);
}

/**
 * @param {Answer} answer
 * @param {string} message
 */
function couponText({ body }, message) {
  if (body.reason === "coupon") return words.couponRefused(message);
  return words.refusals[body.reason] ?? words.fields.couponCode;
}

/** @param {Answer} answer */
function generalText({ status, body }) {
  if (body?.reason === "no_key") return texts.shared.noCookies;
  if (body?.reason === "no_guests") return texts.shared.noGuests;
  if (body?.reason === "idempotency_conflict") return words.wasOrdered;
  return words.refusals[body?.reason] ?? body?.message ?? `${status}`;
}

/** @typedef {{open: boolean, until?: string, message?: string}} Shop */

/**
 * The shop's state in words.
 *
 * @param {Shop} shop
 */
export function shopText({ open, until, message }) {
  if (open) return words.open;
  return words.paused(until === undefined ? null : formatTime(until), message);
}
