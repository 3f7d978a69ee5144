/**
 * What the tabs of a browser keep together: JSON in localStorage, or in memory where that is
 * forbidden or full.
 */

/** @type {Map<string, unknown>} */
const memory = new Map();

/**
 * @param {string} name
 * @returns {any} null where nothing is kept, or nothing that can be read
 */
export function readKept(name) {
  if (memory.has(name)) return memory.get(name);
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {unknown} value null to keep it no more
 */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
    memory.delete(name);
  } catch {
    memory.set(name, value);
  }
}

/**
 * Calls the listener when another tab has changed what is kept under one of these names.
 *
 * @param {readonly string[]} names
 * @param {() => void} listener
 */
export function onKept(names, listener) {
  window.addEventListener("storage", ({ key }) => {
    if (key === null || names.includes(key)) listener();
  });
}

/** 128 random bits. crypto.randomUUID is only there over https and on localhost. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} value that was kept: a key as `randomKey` makes it? */
export const isKey = (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);

/**
 * Does something while no other tab does it. Where there are no locks (they are only there over https
 * and on localhost), or one is held by a tab that is frozen, it is done all the same.
 *
 * @template Result
 * @param {string} name
 * @param {() => Promise<Result>} action which does not throw
 * @returns {Promise<Result>}
 */
export async function exclusively(name, action) {
  if (!navigator.locks) return action();
  try {
    return await navigator.locks.request(name, { signal: AbortSignal.timeout(15_000) }, action);
  } catch {
    return action();
  }
}
