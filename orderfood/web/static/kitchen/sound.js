/** The sound of new orders. A browser lets a page sound only after a press, that of "Start shift". */

/** Milliseconds between two rings. */
const EVERY = 4_000;

export class Sound {
  /** @type {AudioContext | null} */
  #context = null;
  #timer = 0;
  muted = false;

  get isUnlocked() {
    return this.#context?.state === "running";
  }

  /**
   * To be called in a press.
   *
   * @param {() => void} unlocked
   */
  unlock(unlocked) {
    this.#context ??= new AudioContext();
    this.#context.onstatechange = unlocked;
    void this.#context.resume();
  }

  /** @param {boolean} isWanted whether it rings until it is called again */
  ring(isWanted) {
    if (isWanted === (this.#timer !== 0)) return;
    clearInterval(this.#timer);
    this.#timer = isWanted ? window.setInterval(() => this.#once(), EVERY) : 0;
    if (isWanted) this.#once();
  }

  #once() {
    if (this.muted || !this.#context || !this.isUnlocked) return;
    const now = this.#context.currentTime;
    tone(this.#context, 880, now);
    tone(this.#context, 1175, now + 0.22);
  }
}

/**
 * @param {AudioContext} context
 * @param {number} frequency
 * @param {number} at
 */
function tone(context, frequency, at) {
  const oscillator = new OscillatorNode(context, { frequency, type: "triangle" });
  const volume = new GainNode(context, { gain: 0 });
  volume.gain.setValueAtTime(0, at);
  volume.gain.linearRampToValueAtTime(0.6, at + 0.02);
  volume.gain.linearRampToValueAtTime(0, at + 0.2);
  oscillator.connect(volume).connect(context.destination);
  oscillator.start(at);
  oscillator.stop(at + 0.2);
}
