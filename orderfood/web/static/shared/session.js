/** Who the browser is: a guest is a cookie that no script can read. */

import { call, get, post } from "./api.js";
import { exclusively, keep, randomKey, readKept } from "./kept.js";
import { believed, isSession } from "./shapes.js";

/** @typedef {"guest" | "refused" | "none" | "unknown"} Session refused: this shop takes no guests' orders */

const MARK = "orderfood.guest";

let isKnown = false;

/** Whether the browser was a guest's when it was last asked. */
export const isGuest = () => isKnown;

/**
 * What stands for this guest and no other: where the cookie was lost and another guest began, it is
 * another one.
 *
 * @returns {string | null}
 */
export const guestMark = () => readKept(MARK);

/**
 * Who the browser is, without becoming a guest.
 *
 * @returns {Promise<Session>}
 */
export async function knownSession() {
  const { status, body } = believed(await get("/api/session"), isSession);
  if (status !== 200) return "unknown";
  if (!body?.guest) return "none";
  if (guestMark() === null) keep(MARK, randomKey());
  return body.guest.scopes.includes("create_order") ? "guest" : "refused";
}

/**
 * Becomes a guest, unless the browser is one: in one tab at a time, or two tabs were two guests.
 *
 * @returns {Promise<Session>}
 */
export function ensureSession() {
  return exclusively("orderfood.session", async () => {
    const known = await knownSession();
    const session = known === "none" ? await begin() : known;
    isKnown = session === "guest";
    return session;
  });
}

/** @returns {Promise<Session>} */
async function begin() {
  const { status } = await post("/api/session", {});
  if (status === 403) return "refused";
  if (status !== 204) return "unknown";
  keep(MARK, randomKey());
  return "guest";
}

/**
 * Asks the API as a guest, who begins where there was none. Not for what must not be done twice.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<import("./api.js").Answer>}
 */
export async function callAsGuest(method, path, body) {
  if (!isKnown) {
    const session = await ensureSession();
    if (session !== "guest") return sessionAnswer(session);
  }
  const answer = await call(method, path, body);
  if (answer.status !== 401) return answer;
  const session = await ensureSession();
  return session === "guest" ? call(method, path, body) : sessionAnswer(session);
}

/**
 * The answer in place of one that was not asked for.
 *
 * @param {Session} session
 * @returns {import("./api.js").Answer}
 */
export function sessionAnswer(session) {
  const refused = { reason: "no_guests", message: "the shop takes no orders from guests" };
  return session === "refused"
    ? { status: 403, body: refused, retryAfter: 0 }
    : { status: 0, body: null, retryAfter: 0 };
}
