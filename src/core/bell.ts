// One side waits for something to happen, the other says that it has. Leaves nothing behind a wait: a promise that all
// waiters race with would keep every one of them until it settles, which on an idle log is never.

export class Bell {
  readonly #waiting = new Set<() => void>();

  /** Wakes all who wait now. */
  ring(): void {
    const woken = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of woken) wake();
  }

  /** Until the next ring, but no longer than `ms`; throws the signal's reason when it aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", wake, { once: true });
      this.#waiting.add(wake);
    });
    signal.throwIfAborted();
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }
}
