// How long transactions take from their commit at the source to their commit in the warehouse. One observation a
// transaction and flush, as in tailrace_end_to_end_duration_seconds: a large transaction, such as the shop's first fill,
// weighs no more than a small one.

/** Each bucket reaches 2% further than the one before: a percentile is right to 1%, and any run fits in a page of counters. */
const GROWTH = 1.02;
const LOWEST_MS = 0.1;
/** Up to about three days. */
const BUCKETS = 1_070;

export class EndToEnd {
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;

  /** Adds a flush that ended at `nowMs` (since 1970): its transactions by commit time in µs. */
  add(commits: Iterable<bigint>, nowMs: number): void {
    for (const commitMicros of commits) {
      const ms = nowMs - Number(commitMicros) / 1_000;
      const bucket = Math.ceil(Math.log(Math.max(ms, LOWEST_MS) / LOWEST_MS) / Math.log(GROWTH));
      const at = Math.min(BUCKETS - 1, bucket);
      this.#counts[at] = (this.#counts[at] ?? 0) + 1;
      this.#total += 1;
    }
  }

  /** The time in ms, to three digits, that `share` (0 to 1) of them stayed within; null before the first. */
  percentile(share: number): number | null {
    if (this.#total === 0) return null;
    let seen = 0;
    for (let at = 0; at < BUCKETS; at++) {
      seen += this.#counts[at] ?? 0;
      if (seen >= share * this.#total) return Number((LOWEST_MS * GROWTH ** (at - 0.5)).toPrecision(3));
    }
    return null;
  }
}
