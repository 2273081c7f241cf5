// What is read next: keys that are queued for a re-read, once they were gathered for a while, and ranges between. Were keys always
// first, a table with changed keys in it would be read some few keys at a time, and its ranges, and other tables, never.
import type { ChunkJob } from "./snapshots.ts";
import type { TableSnapshot } from "./snapshot-progress.ts";

/** Keys of one re-read. */
const REREAD_KEYS = 500;
/** How long keys are gathered before they are read again, ms: each time transactions are waited for. */
export const GATHER_MS = 100;

type KeysOrRange = Exclude<ChunkJob, { readonly kind: "blocks" }>;

export class ChunkOrder {
  /** performance.now() from which on keys are read again. */
  readonly #gatheredAt = new WeakMap<TableSnapshot, number>();
  /** The last job was one of keys: a re-read that takes longer than keys are gathered would be followed by the next one. */
  #wereKeys = false;

  /** A job of the first table that has one, the caller's until it is durable or given back; null: nothing is left that nobody reads, or keys alone that are being gathered. */
  next(snapshots: readonly TableSnapshot[], now: number): KeysOrRange | null {
    const job = this.#wereKeys
      ? (takeRange(snapshots) ?? this.#takeKeys(snapshots, now))
      : (this.#takeKeys(snapshots, now) ?? takeRange(snapshots));
    if (job !== null) this.#wereKeys = job.kind === "keys";
    return job;
  }

  /** Of the table whose last re-read is the longest ago. */
  #takeKeys(snapshots: readonly TableSnapshot[], now: number): KeysOrRange | null {
    const at = (snapshot: TableSnapshot): number => this.#gatheredAt.get(snapshot) ?? -Infinity;
    const gathered = snapshots.filter((snapshot) => snapshot.queued > 0 && now >= at(snapshot));
    for (const snapshot of gathered.sort((a, b) => (at(a) === at(b) ? 0 : at(a) - at(b)))) {
      const keys = snapshot.takeRereads(REREAD_KEYS);
      if (keys.length === 0) continue;
      this.#gatheredAt.set(snapshot, now + GATHER_MS);
      return { kind: "keys", snapshot, keys };
    }
    return null;
  }
}

function takeRange(snapshots: readonly TableSnapshot[]): KeysOrRange | null {
  for (const snapshot of snapshots) {
    const range = snapshot.take();
    if (range !== null) return { kind: "range", snapshot, range };
  }
  return null;
}
