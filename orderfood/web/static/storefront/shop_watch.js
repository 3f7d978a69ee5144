/** The menu and the shop's state, asked again while the page is seen: neither needs a reload. */

import { get } from "../shared/api.js";
import { believed, isMenu, isShop } from "../shared/shapes.js";

/**
 * @typedef {import("../shared/api.js").Answer} Answer
 * @typedef {import("../shared/api.js").Product} Product
 * @typedef {import("./problems.js").Shop} Shop
 */

/** Milliseconds between two questions. An unchanged menu is answered with 304. */
const INTERVAL = 12_000;
/** The same, as long as there is no menu. */
const SOON = 2_000;

export class ShopWatch {
  /** @type {Product[] | null} */
  menu = null;
  /** @type {Shop} */
  shop = { open: true };
  /** Whether the shop's state is what it said when it was last asked. */
  isAnswered = true;
  #timer = 0;
  #asked = 0;
  #changed;
  #show;

  /**
   * @param {() => void} changed the menu or the shop's state is another one
   * @param {() => void} show the shop answers no more, or does again
   */
  constructor(changed, show) {
    this.#changed = changed;
    this.#show = show;
    window.addEventListener("focus", () => void this.look());
    window.addEventListener("online", () => void this.look());
    document.addEventListener("visibilitychange", () => void this.look());
  }

  /** Asks now, and from then on while the page is seen. */
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const asked = ++this.#asked;
    const [menu, shop] = await Promise.all([get("/api/product"), get("/api/shop")]);
    if (asked !== this.#asked) return;
    this.#timer = window.setTimeout(() => void this.look(), this.menu ? INTERVAL : SOON);
    this.#take(believed(menu, isMenu), believed(shop, isShop));
  }

  /**
   * @param {Answer} menu
   * @param {Answer} shop
   */
  #take(menu, shop) {
    const before = JSON.stringify([this.menu, this.shop]);
    const wasAnswered = this.isAnswered;
    this.isAnswered = shop.status === 200;
    if (menu.status === 200) this.menu = menu.body;
    if (this.isAnswered) this.shop = shop.body;
    if (JSON.stringify([this.menu, this.shop]) !== before) this.#changed();
    else if (this.isAnswered !== wasAnswered) this.#show();
  }
}
