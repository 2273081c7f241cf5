// How eagerly the replication socket is read. The walsender makes one send() a message and pays for waking a reader that waits; one
// that is busy is not woken. So under load a rest once all is read makes both sides cheaper, and what is read, and then published, at once
// large. A quiet stream is read at once: a rest there would only be latency. Pure: time is a parameter, monotonic ms.
import { MeanRate } from "../core/mean-rate.ts";

/** More messages than these a ms are a load; three of them make a transaction of one row. */
const BUSY_MESSAGES = 10;
/** Bounds of the rest, ms: a timer takes no less than the first. */
const LEAST_MS = 1;
const MOST_MS = 4;
/**
 * What may gather in the socket within a rest, bytes: less than its buffers hold, at which the walsender would wait. Where more than this
 * comes in LEAST_MS, as when a backlog is drained, there is no rest: those who are so far behind are not woken for each message anyway.
 */
const REST_BYTES = 16 * 1024;

export class ReadPace {
  readonly #messages = new MeanRate();
  readonly #bytes = new MeanRate();

  /** All that was there has been read at `now`, so many messages and bytes: how long to leave the socket alone, ms; 0: read on. */
  restAfter(now: number, messages: number, bytes: number): number {
    this.#messages.add(now, messages);
    this.#bytes.add(now, bytes);
    if (this.#messages.perMs <= BUSY_MESSAGES) return 0;
    const ms = REST_BYTES / this.#bytes.perMs;
    return ms < LEAST_MS ? 0 : Math.min(ms, MOST_MS);
  }
}
