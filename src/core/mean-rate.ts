// How much comes in a time, as a mean whose weight fades. Pure: time is a parameter, monotonic ms.

/** After so long a count weighs a third, ms: long beside the bursts of several writers, short beside a load that begins. */
const FADE_MS = 20;

export class MeanRate {
  #at = -Infinity;
  #perMs = 0;

  /** `count` came since the last call; `now` must not be before it. */
  add(now: number, count: number): void {
    const ms = Math.max(now - this.#at, 0.01); // two in one tick of the clock
    this.#perMs += (count / ms - this.#perMs) * (1 - Math.exp(-ms / FADE_MS));
    this.#at = now;
  }

  /** As of the last call. */
  get perMs(): number {
    return this.#perMs;
  }
}
