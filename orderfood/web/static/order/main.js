/** The page of an order: its number, how far it is, and what it holds. */

import { get } from "../shared/api.js";
import { fill, h } from "../shared/dom.js";
import { follow } from "../shared/feed.js";
import { Orders } from "../shared/orders.js";
import { knownSession } from "../shared/session.js";
import { believed, isOrder } from "../shared/shapes.js";
import { texts } from "../texts/en.js";
import { OrderView } from "./view.js";

/** Milliseconds after which it is asked for again while it is not live. */
const AGAIN = 5_000;

const id = location.pathname.split("/")[2] ?? "";
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const orders = new Orders();
const view = new OrderView(take);

let isLive = false;
let lastAnswer = Date.now();
let timer = 0;

/** @param {import("../shared/api.js").Order} order */
function take(order) {
  if (order.id !== id || !orders.take(order)) return;
  view.show(order);
  if (!view.element.isConnected) fill(page, view.element);
}

/**
 * Reads the order: events that came before the stream opened are not missed.
 *
 * @returns {Promise<boolean>} false where there is no such order
 */
async function read() {
  const answer = await get(`/api/order/${encodeURIComponent(id)}`);
  const { status, body } = believed(answer, isOrder);
  if (status === 200) {
    lastAnswer = Date.now();
    take(body);
  }
  const isHere = status !== 404 && status !== 401;
  if (isHere) goOn(status === 200);
  else notFound();
  return isHere;
}

/** @param {boolean} isAnswered */
function goOn(isAnswered) {
  clearTimeout(timer); // of another reading that was under way
  view.setLive(isAnswered ? null : lastAnswer);
  if (!isAnswered && !orders.find(id)) fill(page, h("p", {}, texts.shared.noAnswer));
  if (!isAnswered || !isLive) timer = window.setTimeout(() => void read(), AGAIN);
}

function notFound() {
  const { notFound, notFoundMore, toTheMenu } = texts.order;
  const link = h("p", {}, h("a", { href: "/" }, toTheMenu));
  fill(page, h("h1", {}, notFound), h("p", {}, notFoundMore), link);
}

function followOrder() {
  follow({
    url: "/api/event",
    onOrder: take,
    onReset: () => {
      orders.forget();
      void read();
    },
    onLive: (live, since) => {
      lastAnswer = Math.max(lastAnswer, since);
      if (isLive && !live) view.setLive(lastAnswer);
      isLive = live;
      void read();
    },
  });
}

async function start() {
  fill(page, h("p", { class: "muted" }, texts.order.loading));
  const session = await knownSession();
  if (session === "none") {
    notFound();
    return;
  }
  if (await read()) followOrder();
}

void start();
