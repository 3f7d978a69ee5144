/** What becomes of an order that was sent, until there is a definite answer. */

import { fill, h } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { texts } from "../texts/en.js";
import { readPending } from "./pending.js";

/**
 * @typedef {import("./checkout.js").Phase} Phase
 * @typedef {import("./checkout.js").Checkout} Checkout
 */

const words = texts.storefront;

/**
 * @param {HTMLElement} parent is announced
 * @param {Checkout} checkout
 */
export function showProgress(parent, checkout) {
  if (parent.dataset.phase === checkout.phase) return;
  parent.dataset.phase = checkout.phase;
  fill(parent, ...contents(checkout));
}

/** @param {Checkout} checkout */
function contents(checkout) {
  const discard = button(words.discard, () => checkout.giveUp());
  switch (checkout.phase) {
    case "idle":
      return [];
    case "placing":
      return [h("p", {}, words.placing)];
    case "checking":
      return [h("p", {}, h("strong", {}, words.checking)), h("p", {}, words.checkingMore)];
    case "lost":
      return [h("p", {}, words.lost), discard];
    case "old":
      return [
        h("p", {}, words.old(formatTime(readPending()?.at ?? Date.now()))),
        button(words.again, () => checkout.again()),
        discard,
      ];
  }
}

/**
 * @param {string} text
 * @param {() => void} onclick
 */
const button = (text, onclick) => h("button", { type: "button", onclick }, text);
