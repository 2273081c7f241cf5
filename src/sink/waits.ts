// Waits that an end of the sink ends, without being an error.

/** null when the signal has ended the wait: what follows a wait, a flush above all, is still to be done then. */
export async function unlessAborted<T>(wait: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return wait.catch((cause: unknown) => {
    if (signal.aborted) return null;
    throw cause;
  });
}

/** null when the signal aborts first; what `wait` then becomes is nobody's. */
export async function orAborted<T>(wait: Promise<T>, signal: AbortSignal): Promise<T | null> {
  wait.catch(() => undefined);
  const aborted = new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null), { once: true }));
  return signal.aborted ? null : Promise.race([wait, aborted]);
}
