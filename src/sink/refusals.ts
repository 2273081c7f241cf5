// R-dead: the rows that a warehouse refuses are found by halving, so that one bad row costs that row.
import { TailraceError } from "../core/errors.ts";
import type { StagedRows, TableFlush, WarehouseSession } from "../core/warehouse.ts";

export type Refusal = { readonly row: number; readonly reason: string };

/** The refused rows of a table's flush, by index; at most `2 × refused × log2(rows)` attempts. */
export async function findRefused(session: WarehouseSession, table: TableFlush, signal: AbortSignal): Promise<readonly Refusal[]> {
  const all = Array.from({ length: table.staged.rows }, (_, row) => row);
  return search(all);

  async function search(rows: readonly number[]): Promise<readonly Refusal[]> {
    if (rows.length === 0) return [];
    const reason = await session.refusal({ ...table, staged: pickRows(table.staged, rows) }, signal);
    if (reason === null) return [];
    if (rows.length === 1) return [{ row: rows[0]!, reason }];
    const middle = rows.length >> 1;
    const found = [...(await search(rows.slice(0, middle))), ...(await search(rows.slice(middle)))];
    // Each half is taken alone and both together are not: nothing says which row is at fault.
    if (found.length === 0) throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: table.plan.target.name, reason });
    return found;
  }
}

/** The staged rows at the given indexes, in their order. */
export function pickRows(staged: StagedRows, rows: readonly number[]): StagedRows {
  const pick = <T>(of: readonly T[]): readonly T[] => rows.map((row) => of[row] as T);
  const flags = (of: Uint8Array): Uint8Array => Uint8Array.from(rows, (row) => of[row] ?? 0);
  return {
    rows: rows.length,
    values: staged.values.map(pick),
    unchanged: staged.unchanged.map((column) => (column === null ? null : flags(column))),
    sequence: pick(staged.sequence),
    commitMicros: pick(staged.commitMicros),
    deleted: flags(staged.deleted),
    keyBytes: pick(staged.keyBytes),
  };
}
