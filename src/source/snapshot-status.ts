// How a table's snapshot stands, for status and metrics.

import { tableLabel } from "../core/table.ts";
import type { TableSnapshot } from "./snapshot-progress.ts";

/** `state`: what it does now, in a few words of a bounded number; `rows` durable so far of about `estimatedRows`. */
export type SnapshotStatus = {
  /** `schema.name`. */
  readonly table: string;
  readonly state: string;
  readonly rows: number;
  readonly estimatedRows: number | null;
  readonly chunks: number;
  readonly rowsPerSecond: number;
  /** Who or what keeps it from going on; null when nothing does. */
  readonly waitingFor: string | null;
};

/** Over how long rows per second are counted, ms. */
const RATE_MS = 10_000;

type Seen = { readonly at: number; readonly rows: number };

/** Keeps what is needed to say how the snapshots of a session stand. */
export class SnapshotBoard {
  readonly #waiting = new Map<string, string>();
  readonly #seen = new Map<string, Seen[]>();

  waiting(table: string, reason: string | null): void {
    if (reason === null) this.#waiting.delete(table);
    else this.#waiting.set(table, reason);
  }

  /** How they stand at `now`, ms of a steady clock. */
  look(snapshots: readonly TableSnapshot[], paused: ReadonlySet<string>, now: number): readonly SnapshotStatus[] {
    return snapshots.map((snapshot) => {
      const table = tableLabel(snapshot.table);
      const { rows, chunks, estimatedRows, kind } = snapshot;
      const waitingFor = this.#waiting.get(table) ?? null;
      const state = paused.has(table)
        ? "paused"
        : snapshot.complete
          ? "ending"
          : waitingFor !== null
            ? "waiting"
            : kind === "rereads"
              ? "rereading"
              : "reading";
      return { table, state, rows, estimatedRows, chunks, rowsPerSecond: this.#rate(table, rows, now), waitingFor };
    });
  }

  #rate(table: string, rows: number, now: number): number {
    const seen = (this.#seen.get(table) ?? []).filter(({ at }) => at >= now - RATE_MS);
    seen.push({ at: now, rows });
    this.#seen.set(table, seen);
    const first = seen[0]!;
    return now === first.at ? 0 : Math.max(0, Math.round(((rows - first.rows) * 1_000) / (now - first.at)));
  }
}
