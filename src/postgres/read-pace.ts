// How eagerly the replication socket is read. The walsender makes one send() a message and pays for waking a reader that waits; one
// that is busy is not woken. So under load a short rest once all is read makes both sides cheaper, and chunks large. A quiet stream is
// read at once: a rest there would only be latency. Pure: time is a parameter, monotonic ms.

/** Over how long reads are counted, ms. */
const WINDOW_MS = 5;
/** More reads than this in a window are a load. */
const BUSY_READS = 100;
/** Less than this since the last rest says that the reader has caught up, bytes. */
const SMALL_BYTES = 16 * 1024;
/** What Node reads at once, bytes: a chunk of that leaves more behind, which is read without a wait and wakes nobody. */
const WHOLE_BYTES = 64 * 1024;
/** The rest, ms: what the walsender fills a socket's buffer in. */
const REST_MS = 1;

export class ReadPace {
  #windowAt = -Infinity;
  #reads = 0;
  #resting = false;
  /** Bytes since the last rest, or the last chunk that left nothing behind. */
  #burst = 0;

  /** A chunk of `bytes` bytes came at `now`: how long to leave the socket alone, ms; 0: read on. */
  restAfter(now: number, bytes: number): number {
    if (now - this.#windowAt > WINDOW_MS) {
      this.#windowAt = now;
      this.#reads = 0;
    }
    this.#reads += 1;
    this.#burst += bytes;
    if (bytes >= WHOLE_BYTES) return 0;
    this.#resting = this.#resting ? this.#burst >= SMALL_BYTES : this.#reads > BUSY_READS;
    this.#burst = 0;
    return this.#resting ? REST_MS : 0;
  }
}
