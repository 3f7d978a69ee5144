/**
 * Presses on their way to the service. Each goes out until it has a definite answer: the service
 * makes a repeat safe, and If-Match does it only to what the cook has seen.
 */

import { post } from "../shared/api.js";

/** @typedef {import("../shared/api.js").Answer} Answer */

/**
 * @typedef {object} Press
 * @property {string} key of what it is about: there is one press for each at a time
 * @property {string} action
 * @property {number} [version] of the order that the cook has seen
 * @property {string} path
 * @property {unknown} [body]
 * @property {Record<string, string>} [headers]
 * @property {"held" | "waiting" | "sending"} [state]
 *
 * @typedef {object} Told
 * @property {(press: Press, answer: Answer) => void} answered
 * @property {() => void} refused the session has ended: what was pressed waits for the next one
 * @property {() => void} changed
 */

const LONGEST_PAUSE = 10_000;

export class Outbox {
  #presses = new Map(/** @type {[string, Press][]} */ ([]));
  #timers = new Map(/** @type {[Press, number][]} */ ([]));
  #isOpen = true;
  #told;

  /** @param {Told} told */
  constructor(told) {
    this.#told = told;
  }

  /**
   * @param {Press} press
   * @param {number} [hold] milliseconds until it goes out
   */
  add(press, hold = 0) {
    this.drop(press.key);
    press.state = hold ? "held" : "waiting";
    this.#presses.set(press.key, press);
    if (hold) this.#later(press, hold);
    else void this.#send(press, 0);
    this.#told.changed();
  }

  /** @param {string} key */
  of(key) {
    return this.#presses.get(key);
  }

  /** @param {string} key of a press that is not wanted any more */
  drop(key) {
    const press = this.#presses.get(key);
    if (!press) return;
    clearTimeout(this.#timers.get(press));
    this.#timers.delete(press);
    this.#presses.delete(key);
    this.#told.changed();
  }

  get size() {
    return this.#presses.size;
  }

  /** @param {boolean} isOpen whether presses go out; else they wait */
  open(isOpen) {
    const opens = isOpen && !this.#isOpen;
    this.#isOpen = isOpen;
    if (!opens) return;
    for (const press of this.#presses.values()) {
      if (press.state === "waiting") void this.#send(press, 0);
    }
  }

  /**
   * Sends at once what is held or waits.
   *
   * @param {number} patience milliseconds
   * @returns {Promise<boolean>} whether all of it is answered by then
   */
  async settle(patience) {
    const until = Date.now() + patience;
    for (const press of this.#presses.values()) {
      if (press.state !== "sending") void this.#send(press, 0);
    }
    while (this.size && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
    return !this.size;
  }

  /** The page goes: what waits is sent now, without an answer. */
  flush() {
    for (const { path, body, headers } of this.#presses.values()) {
      const sent = { "Content-Type": "application/json", ...headers };
      const options = { method: "POST", headers: sent, body: JSON.stringify(body ?? {}) };
      fetch(path, { ...options, keepalive: true }).catch(() => {});
    }
  }

  /**
   * @param {Press} press
   * @param {number} milliseconds
   * @param {number} [failures]
   */
  #later(press, milliseconds, failures = 0) {
    const timer = window.setTimeout(() => this.#send(press, failures), milliseconds);
    this.#timers.set(press, timer);
  }

  /**
   * @param {Press} press
   * @param {number} failures
   */
  async #send(press, failures) {
    clearTimeout(this.#timers.get(press));
    this.#timers.delete(press);
    press.state = this.#isOpen ? "sending" : "waiting";
    this.#told.changed();
    if (!this.#isOpen) return;
    const answer = await post(press.path, press.body, press.headers);
    if (this.#presses.get(press.key) === press) this.#judge(press, answer, failures);
  }

  /**
   * @param {Press} press
   * @param {Answer} answer
   * @param {number} failures
   */
  #judge(press, answer, failures) {
    const { status, retryAfter } = answer;
    if (status === 401 || status === 403) {
      press.state = "waiting";
      this.open(false);
      this.#told.refused();
    } else if (status === 0 || status === 429 || status >= 500) {
      press.state = "waiting";
      const pause = Math.min(LONGEST_PAUSE, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
      this.#later(press, Math.max(pause, retryAfter * 1000), failures + 1);
      this.#told.changed();
    } else {
      this.drop(press.key);
      this.#told.answered(press, answer);
    }
  }
}
