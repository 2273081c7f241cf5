// R-tail: what the server sends again after a restart, and what of it stands in the log already. Pure.
import type { Lsn } from "../core/lsn.ts";
import type { Sequence } from "../core/sequence.ts";

export class Redelivery {
  readonly #epoch: number;
  /** Commit LSN of the highest sequence in the log; null when nothing is sent again. */
  #until: Lsn | null;

  /** `highestTail`: the highest sequence in the log, of this epoch. Nothing that committed before `startedAt` comes again. */
  constructor(epoch: number, highestTail: Sequence | null, startedAt: Lsn) {
    this.#epoch = epoch;
    this.#until = highestTail !== null && highestTail.commitLsn >= startedAt ? highestTail.commitLsn : null;
  }

  /** Whether the highest tail has not been passed. */
  get goesOn(): boolean {
    return this.#until !== null;
  }

  begin(commitLsn: Lsn): void {
    if (this.#until !== null && commitLsn > this.#until) this.#until = null;
  }

  commit(commitLsn: Lsn): void {
    if (this.#until !== null && commitLsn >= this.#until) this.#until = null;
  }

  /** Whether the event stands in the log of a partition whose highest sequence is `watermark`. */
  has(watermark: Sequence | null | undefined, commitLsn: Lsn, ordinal: number): boolean {
    if (this.#until === null || watermark?.epoch !== this.#epoch) return false;
    return commitLsn < watermark.commitLsn || (commitLsn === watermark.commitLsn && ordinal <= watermark.ordinal);
  }
}
