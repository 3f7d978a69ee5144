/** The service's API, as the pages call it. Cookies say who asks; no page holds a key. */

/**
 * @typedef {object} Product
 * @property {string} id
 * @property {string} name
 * @property {number} price
 * @property {string} category
 * @property {string} [description]
 * @property {string} [image]
 * @property {string[]} [allergens]
 * @property {false} [available]
 *
 * @typedef {object} Order
 * @property {string} id
 * @property {"placed" | "accepted" | "ready" | "completed" | "cancelled"} status
 * @property {number} version
 * @property {number} [number]
 * @property {{productId: string, quantity: number}[]} items
 * @property {Product[]} products
 * @property {string} [couponCode]
 * @property {number} subtotal
 * @property {number} discounts
 * @property {number} total
 * @property {string} createdAt
 * @property {string} [readyAt]
 * @property {{name?: string, note?: string}} [pickup]
 * @property {{by: "customer" | "shop", reason?: string, note?: string}} [cancellation]
 *
 * @typedef {object} Answer
 * @property {number} status 0 where no answer came: nobody knows what has become of the request
 * @property {any} body the JSON of the answer; null for none
 * @property {number} retryAfter seconds, from Retry-After; 0 for none
 */

/** Milliseconds after which a request counts as unanswered: the service itself gives up after 5 s. */
const TIMEOUT = 10_000;

/**
 * Asks the API. Never throws: what has no answer has the status 0.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<Answer>}
 */
export async function call(method, path, body, headers = {}) {
  /** @type {Record<string, string>} */
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  try {
    const response = await fetch(path, {
      method,
      headers: { ...sent, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    const text = await response.text();
    const retryAfter = Number(response.headers.get("Retry-After") ?? 0) || 0;
    return { status: response.status, body: text ? JSON.parse(text) : null, retryAfter };
  } catch {
    return { status: 0, body: null, retryAfter: 0 };
  }
}

/**
 * @param {string} path
 * @returns {Promise<Answer>}
 */
export const get = (path) => call("GET", path);

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<Answer>}
 */
export const post = (path, body, headers) => call("POST", path, body, headers);
