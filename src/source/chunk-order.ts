// What of a table is read next: keys that are queued for a re-read, once they were gathered for a while, and ranges meanwhile.
// Were keys always first, a table with changed keys in it would be read some few keys at a time, and its ranges, and other tables, never.
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

  /** The caller's until it is durable or given back; null: nothing is left that nobody reads, or keys alone that are being gathered. */
  next(snapshot: TableSnapshot, now: number): KeysOrRange | null {
    const isGathered = now >= (this.#gatheredAt.get(snapshot) ?? -Infinity);
    return (isGathered ? this.#keys(snapshot, now) : null) ?? takeRange(snapshot);
  }

  #keys(snapshot: TableSnapshot, now: number): KeysOrRange | null {
    const keys = snapshot.takeRereads(REREAD_KEYS);
    if (keys.length === 0) return null;
    this.#gatheredAt.set(snapshot, now + GATHER_MS);
    return { kind: "keys", snapshot, keys };
  }
}

function takeRange(snapshot: TableSnapshot): KeysOrRange | null {
  const range = snapshot.take();
  return range === null ? null : { kind: "range", snapshot, range };
}
