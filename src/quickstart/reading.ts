// How far the reading of existing rows has come, over all tables of a source. Status tells of the unfinished ones only.
import type { SnapshotStatus } from "../source/snapshot-status.ts";

export type ReadingFigures = {
  /** Durable in the log. */
  readonly rows: number;
  /** Of all tables, as far as it is known; never below `rows`. */
  readonly estimatedRows: number;
  readonly rowsPerSecond: number;
  /** Tables that are not read to their end. */
  readonly tables: number;
  /** Who or what keeps the first of them from going on; null when nothing does. */
  readonly waitingFor: string | null;
};

type Seen = { readonly rows: number; readonly estimate: number };

export class Reading {
  readonly #seen = new Map<string, Seen>();

  /** Null when nothing is left to read. A table that is read again, behind a gap, begins anew. */
  look(unfinished: readonly SnapshotStatus[]): ReadingFigures | null {
    if (unfinished.length === 0) {
      this.#seen.clear();
      return null;
    }
    const isLeft = new Set(unfinished.map(({ table }) => table));
    for (const [table, { rows, estimate }] of this.#seen) {
      // What it had in the end was told to nobody.
      if (!isLeft.has(table)) this.#seen.set(table, { rows: Math.max(rows, estimate), estimate });
    }
    for (const { table, rows, estimatedRows } of unfinished) this.#seen.set(table, { rows, estimate: Math.max(rows, estimatedRows ?? 0) });
    const seen = [...this.#seen.values()];
    return {
      rows: seen.reduce((sum, { rows }) => sum + rows, 0),
      estimatedRows: seen.reduce((sum, { rows, estimate }) => sum + Math.max(rows, estimate), 0),
      rowsPerSecond: unfinished.reduce((sum, { rowsPerSecond }) => sum + rowsPerSecond, 0),
      tables: unfinished.length,
      waitingFor: unfinished.find(({ waitingFor }) => waitingFor !== null)?.waitingFor ?? null,
    };
  }
}
