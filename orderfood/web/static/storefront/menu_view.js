/** The menu, by category. */

import { fill, h, keyed, say, set } from "../shared/dom.js";
import { formatList, formatMoney } from "../shared/format.js";
import { texts } from "../texts/en.js";

/**
 * @typedef {import("../shared/api.js").Product} Product
 *
 * @typedef {object} Chosen
 * @property {import("./cart.js").Line[]} lines of the cart
 * @property {boolean} isFrozen whether nothing may be added now
 */

const words = texts.storefront;
const page = document.documentElement;
const imageHosts = new Set((page.dataset.imageHosts ?? "").split(" ").filter(Boolean));

/**
 * @param {HTMLElement} parent
 * @param {Product[]} menu
 * @param {Chosen} chosen
 * @param {(product: Product) => void} onAdd
 */
export function showMenu(parent, menu, chosen, onAdd) {
  if (menu.length === 0) {
    fill(parent, h("p", {}, words.nothing));
    return;
  }
  const categories = [...new Set(menu.map((each) => each.category))];
  keyed(
    parent,
    categories,
    (category) => category,
    makeCategory,
    () => {},
  );
  for (const section of parent.children) {
    const category = section.getAttribute("data-key");
    const dishes = menu.filter((each) => each.category === category);
    const list = /** @type {Element} */ (section.lastElementChild);
    const update = (/** @type {Element} */ dish, /** @type {Product} */ product) =>
      updateDish(dish, product, chosen);
    keyed(list, dishes, (dish) => dish.id, (dish) => makeDish(dish, chosen, onAdd), update);
  }
}

/** @param {string} category */
function makeCategory(category) {
  const list = h("ul", { class: "dishes", role: "list" });
  return h("section", { class: "category" }, h("h2", {}, h("bdi", {}, category)), list);
}

/** @type {WeakMap<Element, {product: Product, button: HTMLButtonElement}>} */
const shown = new WeakMap();

/**
 * @param {Product} product
 * @param {Chosen} chosen
 * @param {(product: Product) => void} onAdd
 */
function makeDish(product, chosen, onAdd) {
  const dish = h("li", { class: "dish" });
  const onclick = () => {
    const current = shown.get(dish)?.product;
    if (current && button.getAttribute("aria-disabled") !== "true") onAdd(current);
  };
  const button = h("button", { type: "button", class: "add", onclick }, words.add);
  shown.set(dish, { product, button });
  fillDish(dish, product, button);
  setState(dish, button, product, chosen);
  return dish;
}

/**
 * @param {Element} dish
 * @param {Product} product
 * @param {Chosen} chosen
 */
function updateDish(dish, product, chosen) {
  const known = shown.get(dish);
  if (!known) return;
  const { button } = known;
  if (JSON.stringify(known.product) !== JSON.stringify(product)) {
    const hadFocus = document.activeElement === button;
    fillDish(dish, product, button);
    if (hadFocus) button.focus();
  }
  shown.set(dish, { product, button });
  setState(dish, button, product, chosen);
}

/**
 * @param {Element} dish
 * @param {HTMLButtonElement} button
 * @param {Product} product
 * @param {Chosen} chosen
 */
function setState(dish, button, product, { lines, isFrozen }) {
  const line = lines.find((each) => each.productId === product.id);
  const count = /** @type {Element} */ (dish.querySelector(".chosen"));
  say(count, line ? words.chosen(line.quantity) : "");
  const isSoldOut = product.available === false;
  set(button, "aria-label", words.addDish(product.name));
  set(button, "aria-disabled", isSoldOut || isFrozen ? "true" : null);
  set(button, "aria-describedby", isSoldOut ? `sold-out-${product.id}` : null);
}

/**
 * @param {Element} dish
 * @param {Product} product
 * @param {HTMLButtonElement} button
 */
function fillDish(dish, product, button) {
  const isSoldOut = product.available === false;
  set(dish, "class", isSoldOut ? "dish sold-out" : "dish");
  fill(
    dish,
    h(
      "div",
      { class: "about" },
      h("h3", {}, h("bdi", {}, product.name)),
      product.description && h("p", {}, h("bdi", {}, product.description)),
      product.allergens && h("p", { class: "allergens" }, allergensText(product.allergens)),
    ),
    picture(product.image),
    h(
      "div",
      { class: "buy" },
      h("span", { class: "price" }, formatMoney(product.price)),
      h("span", { class: "chosen" }),
      isSoldOut && h("strong", { id: `sold-out-${product.id}` }, words.soldOut),
      button,
    ),
  );
}

/** @param {string[]} allergens */
function allergensText(allergens) {
  if (allergens.length === 0) return words.containsNone;
  return `${words.contains} ${formatList(allergens.map((each) => words.allergens[each] ?? each))}`;
}

/**
 * The dish's picture, where it may be shown. It keeps its place when it cannot be loaded.
 *
 * @param {string | undefined} image
 */
function picture(image) {
  if (image === undefined || !mayShow(image)) return null;
  const onerror = () => element.classList.add("broken");
  const element = h("img", { alt: "", loading: "lazy", width: 96, height: 96, onerror });
  element.src = image;
  return element;
}

/** @param {string} image */
function mayShow(image) {
  if (!URL.canParse(image, location.href)) return false;
  const { origin, protocol, host, pathname } = new URL(image, location.href);
  if (origin === location.origin) return !pathname.startsWith("/images/") || "images" in page.dataset;
  return protocol === "https:" && imageHosts.has(host);
}
