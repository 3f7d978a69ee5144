/**
 * The view: elements are made by `h`, and lists are kept by `keyed`. Text reaches the page as text
 * nodes alone, so that nothing that somebody typed can become markup.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Makes an element. Attributes that are functions are listeners (`onclick`), those that are false or
 * null are left out, and true is an empty attribute.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(element, key, value);
  append(element, children.flat());
  return element;
}

/**
 * @param {Element} element
 * @param {string} key
 * @param {unknown} value
 */
export function set(element, key, value) {
  if (typeof value === "function") {
    element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
  } else if (value === false || value === null || value === undefined) {
    element.removeAttribute(key);
  } else if (element.getAttribute(key) !== String(value === true ? "" : value)) {
    element.setAttribute(key, value === true ? "" : String(value));
  }
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces an element's children.
 *
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children.flat());
}

/**
 * Sets an element's text, if it has another one: what has not changed is not announced again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in their order: an item that stays keeps its
 * element, and with it focus and selection.
 *
 * @template Item
 * @param {Element} parent
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => Element} make
 * @param {(element: Element, item: Item) => void} update called for those that stay
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((each) => [each.getAttribute("data-key"), each]));
  // first, for where one leaves that stands before others those need not be moved, and keep focus
  const staying = new Set(items.map(keyOf));
  for (const [key, element] of known) if (!staying.has(key ?? "")) element.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = known.get(key) ?? make(item);
    if (known.delete(key)) update(element, item);
    element.setAttribute("data-key", key);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}
