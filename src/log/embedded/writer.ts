// The embedded log's writer: appends in the order of the calls, and none after one that failed.
import { reasonOf, type TailraceError } from "../../core/errors.ts";
import type { EncodedBatch, LogWriter } from "../../core/event-log.ts";
import { Append, refused } from "./append.ts";
import type { Committer } from "./committer.ts";

/** Appends that wait under one signal; they share a listener, because a signal warns of, and is slow with, one for each. */
type Watch = { readonly appends: Set<Append>; readonly onAbort: () => void };

export class EmbeddedWriter implements LogWriter {
  readonly #committer: Committer;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #watches = new Map<AbortSignal, Watch>();
  /** Why no append is taken any more. */
  #stopped: string | null = null;

  constructor(committer: Committer) {
    this.#committer = committer;
  }

  /**
   * An abort takes the append back while it waits its turn. One that is being committed is waited for: the disk bounds that,
   * and the batches' bytes must not change meanwhile.
   */
  append(batches: readonly EncodedBatch[], signal: AbortSignal): Promise<readonly number[]> {
    const refusal = (): TailraceError | null => (this.#stopped === null ? null : refused(batches[0], this.#stopped));
    const now = refusal();
    if (now !== null) return Promise.reject(now);
    const result = new Promise<readonly number[]>((resolve, reject) => {
      const append: Append = new Append(batches, refusal, {
        resolve: (offsets) => {
          this.#unwatch(signal, append);
          resolve(offsets);
        },
        reject: (cause) => {
          this.#unwatch(signal, append);
          this.#stopped ??= `an earlier append of this writer failed (${reasonOf(cause)})`;
          reject(cause);
        },
      });
      if (signal.aborted) return append.failed(signal.reason as Error);
      this.#watch(signal, append);
      this.#committer.submit(append);
    });
    this.#inFlight.add(result);
    const done = (): void => void this.#inFlight.delete(result);
    result.then(done, done);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#inFlight);
    this.#stopped ??= "the writer was closed";
  }

  #watch(signal: AbortSignal, append: Append): void {
    let watch = this.#watches.get(signal);
    if (watch === undefined) {
      const appends = new Set<Append>();
      const onAbort = (): void => {
        for (const waiting of appends) if (this.#committer.withdraw(waiting)) waiting.failed(signal.reason as Error);
      };
      watch = { appends, onAbort };
      this.#watches.set(signal, watch);
      signal.addEventListener("abort", onAbort, { once: true });
    }
    watch.appends.add(append);
  }

  #unwatch(signal: AbortSignal, append: Append): void {
    const watch = this.#watches.get(signal);
    if (watch === undefined || !watch.appends.delete(append) || watch.appends.size > 0) return;
    signal.removeEventListener("abort", watch.onAbort);
    this.#watches.delete(signal);
  }
}
