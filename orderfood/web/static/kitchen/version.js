/** After a deploy the board becomes the new one, as soon as nobody is at work on it. */

/** Milliseconds between two looks at whether it is idle. */
const EVERY = 5_000;
/**
 * Milliseconds between two looks at whether it is old. One look as the stream opens is not enough: in
 * a deploy an old replica may answer it while the stream is a new one's, and stays open.
 */
const LOOK_EVERY = 60_000;
/** Milliseconds in which a page reloads at most once: during a deploy both versions answer. */
const ONCE_IN = 60_000;
const [RELOADED_AT, KNOWN] = ["kitchen.reloadedAt", "kitchen.known"];

let isWaiting = false;
let next = 0;

/**
 * Looks now, and from then on every minute.
 *
 * @param {() => boolean} isIdle
 * @param {() => string[]} known the orders that are no news to the page that comes
 */
export async function reloadWhenOld(isIdle, known) {
  clearTimeout(next);
  next = window.setTimeout(() => void reloadWhenOld(isIdle, known), LOOK_EVERY);
  if (isWaiting || !(await isOld())) return;
  isWaiting = true;
  const look = () => {
    if (!isIdle()) return;
    clearInterval(timer);
    sessionStorage.setItem(RELOADED_AT, String(Date.now()));
    sessionStorage.setItem(KNOWN, JSON.stringify(known()));
    location.reload();
  };
  const timer = window.setInterval(look, EVERY);
  look();
}

async function isOld() {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED_AT)) < ONCE_IN) return false;
  try {
    const response = await fetch(location.pathname, { cache: "no-cache" });
    const mine = `data-version="${document.documentElement.dataset.version}"`;
    return response.ok && !(await response.text()).includes(mine);
  } catch {
    return false;
  }
}

/**
 * The orders that the page knew that this one has replaced; null where it has replaced none.
 *
 * @returns {Set<string> | null}
 */
export function takeKnown() {
  const known = sessionStorage.getItem(KNOWN);
  sessionStorage.removeItem(KNOWN);
  return known ? new Set(JSON.parse(known)) : null;
}
