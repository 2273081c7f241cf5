// How eagerly the replication socket is read. The walsender makes one send() a message and pays for waking a reader that waits; one
// that is busy is not woken. So under load a short rest after each chunk makes both sides cheaper, and chunks large. A quiet stream is
// read at once: a rest there would only be latency. Pure: time is a parameter, monotonic ms.

/** Over how long reads are counted, ms. */
const WINDOW_MS = 5;
/** More reads than this in a window are a load. */
const BUSY_READS = 100;
/** Chunks below this say that the reader has caught up, bytes. */
const SMALL_BYTES = 16 * 1024;
/** The rest, ms: what the walsender fills a socket's buffer in. */
const REST_MS = 1;

export class ReadPace {
  #windowAt = -Infinity;
  #reads = 0;
  #resting = false;

  /** A chunk of `bytes` bytes came at `now`: how long to leave the socket alone, ms; 0: read on. */
  restAfter(now: number, bytes: number): number {
    if (now - this.#windowAt > WINDOW_MS) {
      this.#windowAt = now;
      this.#reads = 0;
    }
    this.#reads += 1;
    this.#resting = this.#resting ? bytes >= SMALL_BYTES : this.#reads > BUSY_READS;
    return this.#resting ? REST_MS : 0;
  }
}
