// Waiting with an end: neither client library can be told to give up, so whoever waits for them does it here.
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { TailraceError } from "../../core/errors.ts";

/**
 * Calls `listener` when the signal aborts; what it returns takes the listener away again. One signal serves any number of calls
 * at once, which Node.js would call a leak from the eleventh on.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined;
  setMaxListeners(0, signal);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/**
 * Settles as `work` does; throws LOG_UNREACHABLE after `ms` and the signal's reason when it aborts. The work goes on unheard,
 * unless `giveUp` ends it.
 */
export async function bounded<T>(work: Promise<T>, what: string, ms: number, signal?: AbortSignal, giveUp?: () => void): Promise<T> {
  work.catch(() => undefined); // its late failure has no listener any more
  if (signal?.aborted === true) {
    giveUp?.();
    signal.throwIfAborted();
  }
  let stop = (): void => undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    const end = (error: Error): void => {
      giveUp?.();
      reject(error);
    };
    const timer = setTimeout(() => end(new TailraceError("LOG_UNREACHABLE", { reason: `no answer to ${what} within ${ms / 1000} s` })), ms);
    const silence = onAbort(signal, () => end(signal?.reason as Error));
    stop = () => {
      clearTimeout(timer);
      silence();
    };
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    stop();
  }
}

/** Waits for `work`, whatever comes of it, but no longer than `ms`. */
export async function settled(work: Promise<unknown>, ms: number): Promise<void> {
  const timeout = new AbortController();
  await Promise.race([work.catch(() => undefined), sleep(ms, undefined, { signal: timeout.signal }).catch(() => undefined)]);
  timeout.abort();
}

/** Asks again and again, with a growing and jittered pause, until `ask` gives a value. Throws like `bounded`. */
export async function eventually<T>(ask: () => Promise<T | null>, what: string, ms: number, signal: AbortSignal): Promise<T> {
  const end = performance.now() + ms;
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 500)) {
    const value = await ask();
    if (value !== null) return value;
    if (performance.now() + pauseMs > end) throw new TailraceError("LOG_UNREACHABLE", { reason: `${what}: not within ${ms / 1000} s` });
    await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
