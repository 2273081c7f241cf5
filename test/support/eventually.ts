// Waiting for a condition, with a bound, in place of sleeping for a while.
import { setTimeout as sleep } from "node:timers/promises";
import { reasonOf } from "../../src/core/errors.ts";

const POLL_MS = 50;

/**
 * The first value of `ask` that is not null, false or undefined. Fails after `ms` with `what` and, where one was thrown,
 * the last error of `ask`: an error is a "not yet".
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | null | false | undefined> | T | null | false | undefined,
  ms = 60_000,
): Promise<T> {
  let last: unknown = null;
  for (const deadline = performance.now() + ms; ; await sleep(POLL_MS)) {
    try {
      const value = await ask();
      if (value !== null && value !== false && value !== undefined) return value;
      last = null;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(`not within ${ms / 1_000} s: ${what}${last === null ? "" : `\n${reasonOf(last)}`}`, { cause: last });
  }
}
