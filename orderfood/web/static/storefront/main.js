/** The storefront: the menu, the cart, and the guest's own orders. */

import { h, say, set } from "../shared/dom.js";
import { formatMoney } from "../shared/format.js";
import { onKept } from "../shared/kept.js";
import { isGuest, knownSession } from "../shared/session.js";
import { isPrices } from "../shared/shapes.js";
import { texts } from "../texts/en.js";
import { addToCart, CART, changeCart, readCart } from "./cart.js";
import { CartView } from "./cart_view.js";
import { Checkout } from "./checkout.js";
import { History } from "./history.js";
import { showMenu } from "./menu_view.js";
import { problemsOf, shopText } from "./problems.js";
import { showProgress } from "./progress_view.js";
import { Quoter } from "./quote.js";
import { ShopWatch } from "./shop_watch.js";

/** @typedef {import("../shared/api.js").Answer} Answer */

const words = texts.storefront;
const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

const menu = h("div", { class: "menu", "aria-label": words.menu, role: "region" });
const order = h("section", { class: "cart card", "aria-labelledby": "your-order" });
const past = h("section", { class: "card", "aria-labelledby": "history" });
const progress = h("div", { class: "progress", "aria-live": "polite" });
const said = h("p", { class: "unseen", "aria-live": "polite" });
const shortcut = h("a", { class: "shortcut", href: "#your-order", hidden: true });
new IntersectionObserver(([seen]) => {
  shortcut.hidden = seen.isIntersecting;
}).observe(order);

let notice = "";
/** @type {Answer | null} the refusal of an order; until the cart or the shop changes */
let refusal = null;

const history = new History(past);
const quoter = new Quoter(() => {
  const { quote } = quoter;
  if (quote.isChanged) notice = words.totalChanged;
  if (isGuest()) void history.begin();
  show();
});
const checkout = new Checkout({ changed: () => show(), placed, refused });
const watch = new ShopWatch(
  () => {
    refusal = null;
    quoter.recheck(readCart());
    show();
  },
  () => show(),
);
const view = new CartView(order, progress, { changed, typed, place });

function changed() {
  notice = "";
  refusal = null;
  quoter.changed(readCart());
}

/**
 * @param {"coupon" | "name" | "note"} name
 * @param {string} value
 */
function typed(name, value) {
  changeCart((cart) => {
    cart[name] = value;
  });
  changed();
}

/** @param {import("../shared/api.js").Product} product */
function add(product) {
  addToCart(product);
  changed();
  const line = readCart().lines.find((each) => each.productId === product.id);
  say(said, words.nowChosen(product.name, line?.quantity ?? 0));
}

/** Orders at the total that is shown, and at no other one. */
function place() {
  const { prices } = quoter.quote;
  const cart = readCart();
  if (mayPlace() && prices && cart.lines.length > 0) {
    notice = "";
    checkout.press(cart, prices.total);
  } else view.focusProblem();
}

function mayPlace() {
  const { state } = quoter.quote;
  return state === "good" && checkout.phase === "idle" && watch.shop.open;
}

/** @param {string} id */
function placed(id) {
  location.assign(`/orders/${encodeURIComponent(id)}`);
}

/** @param {Answer} answer */
function refused(answer) {
  const prices = answer.body?.quote;
  if (isPrices(prices)) {
    notice = words.priceChanged(formatMoney(prices.total));
    quoter.take(prices);
  } else {
    refusal = answer;
    void watch.look();
  }
  show();
  view.focusProblem();
}

function show() {
  const cart = readCart();
  const { quote } = quoter;
  const isFrozen = checkout.phase !== "idle";
  if (watch.menu) showMenu(menu, watch.menu, { lines: cart.lines, isFrozen }, add);
  showProgress(progress, checkout);
  view.show({ cart, quote, problems: problems(), notice, isFrozen, mayPlace: mayPlace() });
  say(element("shop-state"), watch.isAnswered ? shopText(watch.shop) : words.unanswered);
  set(element("shop-state"), "data-open", watch.isAnswered ? String(watch.shop.open) : "unknown");
  set(shortcut, "data-empty", cart.lines.length === 0);
  say(shortcut, [words.show, quote.prices && formatMoney(quote.prices.total)].filter(Boolean).join(": "));
}

function problems() {
  const answer = refusal ?? quoter.quote.answer;
  return answer ? problemsOf(answer) : { lines: new Map() };
}

/** The browser had kept the page for "back": what other tabs and pages did meanwhile, it has not heard. */
function comeBack() {
  changed();
  checkout.comeBack();
  void watch.look();
}

async function start() {
  const loading = element("page").firstElementChild;
  const [session] = await Promise.all([knownSession(), watch.look()]);
  if (!watch.menu) say(/** @type {Element} */ (loading), words.noMenu);
  while (!watch.menu) await new Promise((resolve) => setTimeout(resolve, 100));
  const staff = h("a", { class: "muted", href: "/kitchen" }, words.forStaff);
  const aside = h("div", { class: "aside" }, order, past);
  document.body.prepend(h("a", { class: "skip", href: "#your-order" }, words.toYourOrder));
  element("page").replaceChildren(menu, aside, staff, said, shortcut);
  if (session === "guest" || session === "refused") void history.begin();
  onKept([CART], changed);
  window.addEventListener("pageshow", ({ persisted }) => persisted && comeBack());
  changed();
  checkout.resume();
}

element("page").append(h("p", { class: "muted" }, words.loading));
void start();
