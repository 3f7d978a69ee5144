/**
 * One stream of events that comes back by itself: EventSource gives up after an answer that is no
 * stream (401, 429, 503), and after nothing else.
 */

/**
 * @typedef {object} Message
 * @property {"order" | "beat" | "reset"} type
 * @property {number} id where to go on from
 * @property {any} data
 *
 * @typedef {object} Told what is told of a stream
 * @property {() => void} opened
 * @property {(message: Message) => void} heard
 * @property {(refused: boolean) => void} failed it is tried again in a while; refused where an answer
 *   came, and was no stream
 */

const TYPES = /** @type {const} */ (["order", "beat", "reset"]);

/** Milliseconds until the next try, after so many that failed: 1 to 10 s, never two tabs at once. */
const pauseAfter = (/** @type {number} */ failures) =>
  1000 + Math.random() * Math.min(9000, 1000 * 2 ** failures);

export class Stream {
  /** @type {EventSource | null} */
  #source = null;
  #failures = 0;
  #retry = 0;
  #place;
  #told;

  /**
   * @param {() => string} place the URL, asked for each time the stream is opened
   * @param {Told} told
   */
  constructor(place, told) {
    this.#place = place;
    this.#told = told;
  }

  get isOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  /** Opens it, and for that closes it if it is open. */
  open() {
    this.close();
    const source = new EventSource(this.#place());
    this.#source = source;
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed(source.readyState === EventSource.CLOSED);
    for (const type of TYPES) {
      source.addEventListener(type, (event) => {
        this.#told.heard({ type, id: Number(event.lastEventId), data: JSON.parse(event.data) });
      });
    }
  }

  /** Opens it now where it waits for its next try. */
  hurry() {
    if (!this.#source) this.open();
  }

  close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #opened() {
    this.#failures = 0;
    this.#told.opened();
  }

  /** @param {boolean} refused */
  #failed(refused) {
    this.close();
    this.#retry = window.setTimeout(() => this.open(), pauseAfter(this.#failures));
    this.#failures += 1;
    this.#told.failed(refused);
  }
}
