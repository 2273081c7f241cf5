// R-dead: the rows that a warehouse refuses are found by halving, so that one bad row costs that row.
import { TailraceError } from "../core/errors.ts";
import type { StagedRows } from "../core/staged-rows.ts";
import { tableLabel } from "../core/table.ts";
import type { TableFlush, WarehouseSession } from "../core/warehouse.ts";

export type Refusal = { readonly row: number; readonly reason: string };

/** Rows asked one by one before a refused flush of more is halved. */
const PROBES = 100;

/**
 * The refused rows of a table's flush, by index; at most `2 × refused × log2(rows)` attempts. Throws TARGET_REFUSES when
 * not one of the rows that it tries first is taken: the target is at fault then, and not its rows. To halve such a flush
 * of 100,000 would take hours, and set aside what an operator mends with one statement.
 */
export async function findRefused(session: WarehouseSession, table: TableFlush, signal: AbortSignal): Promise<readonly Refusal[]> {
  const ask = (rows: readonly number[]): Promise<string | null> =>
    session.refusal({ ...table, staged: pickRows(table.staged, rows) }, signal);
  const all = Array.from({ length: table.staged.rows }, (_, row) => row);
  const reason = all.length === 0 ? null : await ask(all);
  if (reason === null) return [];
  const probed = probes(all.length);
  if (probed.length > 0 && !(await isAnyTaken(probed))) {
    throw new TailraceError("TARGET_REFUSES", {
      target: tableLabel(table.plan.target),
      rows: all.length,
      asked: probed.length,
      reason: (await ask(probed.slice(0, 1))) ?? reason,
    });
  }
  return halve(all, reason);

  async function isAnyTaken(rows: readonly number[]): Promise<boolean> {
    for (const row of rows) if ((await ask([row])) === null) return true;
    return false;
  }

  /** `rows` are refused together, for `refusal`. */
  async function halve(rows: readonly number[], refusal: string): Promise<readonly Refusal[]> {
    if (rows.length === 1) return [{ row: rows[0]!, reason: refusal }];
    const middle = rows.length >> 1;
    const found: Refusal[] = [];
    for (const half of [rows.slice(0, middle), rows.slice(middle)]) {
      const refused = await ask(half);
      if (refused !== null) found.push(...(await halve(half, refused)));
    }
    // Each half is taken alone and both together are not: nothing says which row is at fault.
    if (found.length === 0) throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: table.plan.target.name, reason: refusal });
    return found;
  }
}

/** Its multiples, less their integers, are spread evenly and never come in a beat. */
const GOLDEN_RATIO = (1 + Math.sqrt(5)) / 2;

/**
 * Which rows of a refused flush are asked first, by index: none where halving is as good. One from each hundredth, since
 * rows of a kind stand together: a first half that is bad must not hide a second that is good. Each at another place in
 * its hundredth, since kinds may alternate. Of a table half of which is good they all miss once in 2^100 flushes; of
 * one with a row in a hundred good, about every third time.
 */
export function probes(rows: number): readonly number[] {
  if (rows <= PROBES) return [];
  const at = (index: number): number => Math.floor(((index + ((index * GOLDEN_RATIO) % 1)) * rows) / PROBES);
  return [...new Set(Array.from({ length: PROBES }, (_, index) => at(index)))];
}

/** The staged rows at the given indexes, in their order. */
export function pickRows(staged: StagedRows, rows: readonly number[]): StagedRows {
  const flags = (of: Uint8Array): Uint8Array => Uint8Array.from(rows, (row) => of[row] ?? 0);
  return {
    rows: rows.length,
    unchanged: staged.unchanged.map((column) => (column === null ? null : flags(column))),
    deleted: flags(staged.deleted),
    writeValues: (row, into) => staged.writeValues(rows[row]!, into),
    writeSequence: (row, into) => staged.writeSequence(rows[row]!, into),
    writeCommitTime: (row, into) => staged.writeCommitTime(rows[row]!, into),
    writeKey: (row, into) => staged.writeKey(rows[row]!, into),
  };
}
