// Waiting: bounded, jittered, over at once when the signal says so.

/** Waits `ms`, or less when `signal` aborts; never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

export type BackoffLimits = { readonly firstMs: number; readonly maxMs: number };

/**
 * The delay before attempt `failures` + 1, ms: doubles from `firstMs` to `maxMs`, then a random share between a half and
 * the whole of it, so that many who lost the same server do not come back at once. `random`: 0 to 1.
 */
export function backoffMs(failures: number, limits: BackoffLimits, random: number): number {
  const full = Math.min(limits.maxMs, limits.firstMs * 2 ** Math.min(failures, 30));
  return full * (0.5 + random / 2);
}
