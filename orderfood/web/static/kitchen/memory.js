/**
 * Which orders this tablet shows, over reloads and shifts: one that is cancelled meanwhile is shown as
 * such, until it is seen.
 */

import { keep, readKept } from "../shared/kept.js";

const SHOWN = "orderfood.board";

let written = /** @type {string | null} */ (null);

/** @param {string[]} ids of the orders that are shown */
export function remember(ids) {
  const text = ids.join();
  if (text !== written) keep(SHOWN, ids);
  written = text;
}

/** @returns {Set<unknown>} */
export function remembered() {
  const kept = readKept(SHOWN);
  return new Set(Array.isArray(kept) ? kept : []);
}
