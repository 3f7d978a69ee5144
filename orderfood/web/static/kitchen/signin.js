/** The door: a key is sent once, and kept by nobody here. */

import { post } from "../shared/api.js";
import { fill, h, say, set } from "../shared/dom.js";
import { texts } from "../texts/en.js";

const t = texts.kitchen;

export class SignIn {
  #key = h("input", {
    id: "staff-key",
    type: "password",
    required: true,
    // no manager is to keep what opens every order on a tablet that many people hold
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    "aria-describedby": "staff-key-error",
  });
  #error = h("p", { id: "staff-key-error", class: "error", role: "alert" });
  #said = h("p", { role: "status" });
  #entered;
  element = h("form", { class: "sign-in", hidden: true });

  /** @param {() => void} entered called in the press that begins the shift, and may unlock sound */
  constructor(entered) {
    this.#entered = entered;
    const label = h("label", { for: "staff-key" }, t.staffKey);
    const start = h("button", { class: "main" }, t.startShift);
    fill(this.element, h("h1", {}, t.title), this.#said, label, this.#key, this.#error, start);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
  }

  /** @param {string} said why there is a door again */
  show(said) {
    set(this.element, "hidden", false);
    say(this.#said, said);
    this.#key.focus();
  }

  hide() {
    set(this.element, "hidden", true);
    this.#key.value = "";
    this.fail("");
  }

  /** @param {string} text shown at the field */
  fail(text) {
    say(this.#error, text);
    set(this.#key, "aria-invalid", text ? "true" : null);
    if (text) this.#key.select();
  }

  async #submit() {
    this.fail("");
    const { status } = await post("/api/session", { key: this.#key.value });
    if (status === 204) this.#entered();
    else this.fail(failureText(status));
  }
}

/** @param {number} status */
function failureText(status) {
  if (status === 429) return t.tooManyTries;
  return status === 0 || status >= 500 ? t.noAnswer : t.wrongKey;
}
