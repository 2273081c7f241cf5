// A bound in time for work that takes an AbortSignal.

export type Deadline = Disposable & { readonly signal: AbortSignal };

/**
 * A signal that aborts with `parent`'s reason, or with a TimeoutError after `ms`. Whoever makes it disposes it when the work is
 * over: the timer and the listener at `parent` end with that.
 *
 * Not AbortSignal.any([parent, AbortSignal.timeout(ms)]): up to Node 20 nothing but the garbage collector's patience keeps that
 * timeout, and with it gone the work waits for ever.
 */
export function deadline(ms: number, parent: AbortSignal): Deadline {
  const over = new AbortController();
  const forward = (): void => over.abort(parent.reason);
  const timer = setTimeout(() => over.abort(new DOMException(`nothing within ${ms} ms`, "TimeoutError")), ms);
  if (parent.aborted) forward();
  else parent.addEventListener("abort", forward, { once: true });
  return {
    signal: over.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      parent.removeEventListener("abort", forward);
    },
  };
}
