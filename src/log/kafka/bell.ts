// One side waits for something to happen, the other says that it has.
import { onAbort } from "./bounded.ts";

export class Bell {
  #ring = (): void => undefined;
  #rung = this.#next();

  /** Wakes all who wait now. */
  ring(): void {
    this.#ring();
    this.#rung = this.#next();
  }

  /** Until the next ring, but no longer than `ms`; throws the signal's reason when it aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let stop = (): void => undefined;
    const limit = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      const silence = onAbort(signal, () => reject(signal.reason as Error));
      stop = () => {
        clearTimeout(timer);
        silence();
      };
    });
    try {
      await Promise.race([this.#rung, limit]);
    } finally {
      stop();
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => (this.#ring = resolve));
  }
}
