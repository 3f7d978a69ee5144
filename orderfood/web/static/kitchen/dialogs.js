/** What the board asks and explains in a dialog. */

import { fill, h, say } from "../shared/dom.js";
import { texts } from "../texts/en.js";
import { numberOf } from "./format.js";

/** @typedef {import("../shared/api.js").Order} Order */

const t = texts.kitchen;

/** Why an order is cancelled: one press does it, for it can be taken back. */
export class CancelDialog {
  /** @type {Order | null} */
  #order = null;
  #title = h("h2", { id: "cancel-title" });
  #note = h("input", { id: "cancel-note", maxlength: 200, autocomplete: "off" });
  element = h("dialog", { "aria-labelledby": "cancel-title" });

  /** @param {(order: Order, body: {reason: string, note?: string}) => void} cancel */
  constructor(cancel) {
    const choices = Object.entries(t.reasons).map(([reason, text]) => {
      const onclick = () => this.#choose(reason, cancel);
      return h("button", { type: "button", onclick }, text);
    });
    const back = h("button", { type: "button", onclick: () => this.element.close() }, t.keep);
    const label = h("label", { for: "cancel-note" }, t.cancelNote);
    const group = h("div", { class: "actions", role: "group", "aria-label": t.reason }, ...choices);
    fill(this.element, this.#title, label, this.#note, group, back);
  }

  /** @param {Order} order */
  ask(order) {
    this.#order = order;
    this.#note.value = "";
    say(this.#title, t.cancelTitle(numberOf(order)));
  }

  /**
   * @param {string} reason
   * @param {(order: Order, body: {reason: string, note?: string}) => void} cancel
   */
  #choose(reason, cancel) {
    const note = this.#note.value.trim();
    this.element.close();
    if (this.#order) cancel(this.#order, { reason, ...(note ? { note } : {}) });
  }
}

/** The keys, for "?". */
export function helpDialog() {
  const dialog = h("dialog", { "aria-labelledby": "help-title" });
  const rows = t.keys.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, t.close);
  fill(dialog, h("h2", { id: "help-title" }, t.help), h("dl", {}, ...rows), close);
  return dialog;
}
