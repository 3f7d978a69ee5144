/** The board by keys, for a cook with wet hands and a keyboard, and for everybody without a mouse. */

/** @typedef {import("./board.js").Board} Board */

/** @param {Board} board */
export function listen(board) {
  document.addEventListener("keydown", (event) => {
    const isOurs = !(event.ctrlKey || event.altKey || event.metaKey || event.repeat);
    if (!isOurs || board.element.hidden || isElsewhere(event.target)) return;
    if (press(board, event.key, event.target)) event.preventDefault();
  });
}

/**
 * Whether a key is for what has the focus: a field that is typed in, or a dialog.
 *
 * @param {EventTarget | null} target
 */
function isElsewhere(target) {
  if (document.querySelector("dialog[open]")) return true;
  if (target instanceof HTMLInputElement) return target.type !== "radio";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/**
 * @param {Board} board
 * @param {string} key
 * @param {EventTarget | null} target
 * @returns {boolean} whether the key meant something
 */
function press(board, key, target) {
  if (/^[1-9]$/.test(key)) board.choose(Number(key) - 1);
  else if (key === "Enter" && !(target instanceof HTMLButtonElement)) board.step();
  else if (key === "m" || key === "M") board.mute();
  else if (key === "r" || key === "R") board.recall();
  else if (key === "?") board.help();
  else return false;
  return true;
}
