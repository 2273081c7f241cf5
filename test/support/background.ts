// What a test has going on beside it until it is stopped: applications that write, looks into a warehouse.

/** Disposing stops it too, and keeps quiet about what it failed of. */
export class Background implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;

  /** `work` is to end soon after its signal aborts. */
  constructor(work: (signal: AbortSignal) => Promise<unknown>) {
    this.#done = work(this.#stop.signal);
    this.#done.catch(() => undefined); // stop() tells
  }

  /** Throws what the work failed of. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }
}
