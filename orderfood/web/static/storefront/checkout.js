/**
 * Sends the order until there is a definite answer: through time-outs, reloads, and servers that are
 * killed. It is the same request under the same key each time, so it is made once.
 */

import { post } from "../shared/api.js";
import { exclusively, onKept } from "../shared/kept.js";
import { ensureSession, guestMark, sessionAnswer } from "../shared/session.js";
import { freeze, keepPending, PENDING, placedUnder, readPending, renew, settle, thaw } from "./pending.js";

/**
 * @typedef {import("./pending.js").Pending} Pending
 * @typedef {import("../shared/api.js").Answer} Answer
 *
 * @typedef {"idle" | "placing" | "checking" | "old" | "lost"} Phase old: too long ago to be sent
 *   unasked; lost: the guest who sent it is gone
 *
 * @typedef {object} Listener
 * @property {() => void} changed the phase is another one
 * @property {(id: string) => void} placed
 * @property {(answer: Answer) => void} refused nothing was ordered
 *
 * @typedef {{wait?: number}} Outcome seconds until the next attempt; none where there is nothing left to do
 */

/** Seconds before the next attempt. */
const BACKOFF = [1, 2, 4, 8, 10];
/** The most that a server may have a guest wait. */
const LONGEST = 60;
/** Milliseconds after which a meal is not ordered unasked. */
const OLD = 30 * 60_000;

export class Checkout {
  /** @type {Phase} */
  phase = "idle";
  #listener;
  #isRunning = false;
  /** Whether this tab shows the order once it is placed: not where only another tab has pressed. */
  #isOwn = false;
  #wake = () => {};

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    onKept([PENDING], () => this.#follow());
    window.addEventListener("online", () => this.#wake());
  }

  /**
   * The guest has pressed.
   *
   * @param {import("./cart.js").Cart} cart
   * @param {number} expectedTotal
   */
  press(cart, expectedTotal) {
    if (readPending() === null) freeze(cart, expectedTotal);
    this.resume();
  }

  /** Goes on with the order that waits for an answer, if there is one. */
  resume() {
    const pending = readPending();
    if (this.#isRunning || pending === null) return;
    this.#isOwn = true;
    void this.#run(pending);
  }

  /** Another tab has sent the order, or had its answer. */
  #follow() {
    const pending = readPending();
    if (pending === null) this.#wake();
    if (this.#isRunning) return;
    if (pending === null) this.#enter("idle");
    else void this.#run(pending);
  }

  /** The page was kept for "back", and is shown again. */
  comeBack() {
    this.#follow();
  }

  /** Sends again what is too old to be sent unasked. */
  again() {
    const pending = readPending();
    if (pending) keepPending({ ...pending, at: Date.now() });
    this.resume();
  }

  giveUp() {
    renew();
    this.#enter("idle");
  }

  /** @param {Phase} phase */
  #enter(phase) {
    if (this.phase === phase) return;
    this.phase = phase;
    this.#listener.changed();
  }

  /** @param {Pending} pending */
  async #run({ key, attempts }) {
    this.#isRunning = true;
    this.#enter(attempts === 0 ? "placing" : "checking");
    for (let failures = 0; ; failures++) {
      const { wait } = await exclusively("orderfood.checkout", () => this.#attempt(key));
      if (wait === undefined) break;
      await this.#pause(Math.max(wait, BACKOFF[Math.min(failures, BACKOFF.length - 1)]));
    }
    this.#isRunning = false;
    this.#isOwn = false;
  }

  /** @param {number} seconds */
  #pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(seconds, LONGEST) * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /**
   * @param {string} key
   * @returns {Promise<Outcome>}
   */
  async #attempt(key) {
    const pending = readPending();
    if (pending?.key !== key) return this.#ended(key);
    const { attempts, at, guest } = pending;
    if (Math.abs(Date.now() - at) > OLD) return this.#uncertain("old");
    if (attempts > 0 && guest !== guestMark()) return this.#uncertain("lost");
    keepPending({ ...pending, attempts: attempts + 1 });
    const answer = await send(pending);
    return this.#judge(pending, answer);
  }

  /**
   * Another tab has had the answer.
   *
   * @param {string} key
   * @returns {Outcome}
   */
  #ended(key) {
    const id = placedUnder(key);
    this.#enter("idle");
    if (id !== null && this.#isOwn) this.#listener.placed(id);
    return {};
  }

  /**
   * @param {"old" | "lost"} phase
   * @returns {Outcome}
   */
  #uncertain(phase) {
    this.#enter(phase);
    return {};
  }

  /**
   * @param {Pending} pending
   * @param {Answer} answer
   * @returns {Outcome}
   */
  #judge(pending, answer) {
    const { status, body, retryAfter } = answer;
    if (status === 200 && typeof body?.id === "string") return this.#placed(pending, body.id);
    if (isIndefinite(answer)) {
      this.#enter("checking");
      return { wait: retryAfter };
    }
    // by another guest it could be ordered twice
    if (status === 401 && pending.attempts > 0) return this.#uncertain("lost");
    if (body?.reason === "idempotency_conflict") renew();
    else thaw();
    this.#enter("idle");
    this.#listener.refused(answer);
    return {};
  }

  /**
   * @param {Pending} pending
   * @param {string} id
   * @returns {Outcome}
   */
  #placed(pending, id) {
    settle(pending, id);
    return this.#ended(pending.key);
  }
}

/**
 * Sends it. A guest who is none any more becomes another one, if nothing was sent before.
 *
 * @param {Pending} pending
 * @returns {Promise<Answer>}
 */
async function send(pending) {
  const answer = await request(pending);
  if (answer.status !== 401 || pending.attempts > 0) return answer;
  const session = await ensureSession();
  if (session !== "guest") return sessionAnswer(session);
  keepPending({ ...pending, attempts: 1, guest: guestMark() });
  return request(pending);
}

/** @param {Pending} pending */
const request = ({ key, body }) => post("/api/order", body, { "Idempotency-Key": key });

/**
 * Whether nobody knows what has become of it, or it may be tried later.
 *
 * @param {Answer} answer
 */
function isIndefinite({ status, body }) {
  if (status === 409) return body?.reason !== "price_changed";
  return status < 400 || status === 408 || status === 425 || status === 429 || status >= 500;
}
