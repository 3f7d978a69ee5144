import { get, post } from "../shared/api.js";
import { fill, h, set } from "../shared/dom.js";
import { texts } from "../texts/en.js";
import { Board } from "./board.js";
import { SignIn } from "./signin.js";

const t = texts.kitchen;
/** Milliseconds for which the end of a shift waits for what was pressed. */
const PATIENCE = 5_000;
const page = /** @type {HTMLElement} */ (document.getElementById("page"));

const waiting = h("p", { role: "status", class: "notice", hidden: true }, t.noAnswer);
const board = new Board({
  signedOut: (waiting) => leave(t.signedOut(waiting)),
  ended: () => void end(),
});
const signIn = new SignIn(() => {
  board.unlock();
  void enter();
});

/** Shows the board to whoever may see it, and the door to everybody else. */
async function enter() {
  const { status, body } = await get("/api/session");
  set(waiting, "hidden", status === 200);
  if (status !== 200) {
    setTimeout(enter, 2000);
    return;
  }
  const scopes = body.staff?.scopes;
  if (scopes?.includes("manage_orders")) {
    signIn.hide();
    board.show();
  } else {
    signIn.show("");
    if (scopes) signIn.fail(t.mayNot);
  }
}

async function end() {
  const isSettled = await board.shift.outbox.settle(PATIENCE);
  const { status } = isSettled ? await post("/api/session/end") : { status: 0 };
  if (status === 204) leave(t.shiftEnded);
  else board.say(t.noAnswer);
}

/** @param {string} said */
function leave(said) {
  board.hide();
  signIn.show(said);
}

fill(page, waiting, signIn.element, board.element);
void enter();
