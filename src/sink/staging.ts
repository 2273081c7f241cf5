// From folded rows to what a warehouse takes: rows by column, in the plan's order. Pure.
import type { TableName, Value } from "../core/table.ts";
import type { MergePlan, PlanColumn, StagedRows, TargetSpec } from "../core/warehouse.ts";
import type { FoldedRow } from "./fold.ts";

/** The columns of a table's events, as its value schema has them. */
export type EventColumn = Omit<PlanColumn, "unchanged"> & { readonly keyPosition: number };

/** Indexes of the columns in the plan's order: the key's first, in key order. */
export function planOrder(columns: readonly EventColumn[]): readonly number[] {
  const indexes = columns.map((_, index) => index);
  const position = (index: number): number => columns[index]?.keyPosition ?? 0;
  const key = indexes.filter((index) => position(index) > 0).sort((a, b) => position(a) - position(b));
  return [...key, ...indexes.filter((index) => position(index) === 0)];
}

export function targetSpec(target: TableName, deletes: "hard" | "soft", columns: readonly EventColumn[]): TargetSpec {
  const ordered = planOrder(columns).map((index) => columns[index]!);
  return {
    target,
    deletes,
    key: ordered.filter((column) => column.keyPosition > 0).map((column) => column.name),
    columns: ordered.map(({ name, type }) => ({ name, type })),
  };
}

/** The plan and the staged rows of one table, the rows in the order given. */
export function stage(
  target: TableName,
  deletes: "hard" | "soft",
  columns: readonly EventColumn[],
  rows: readonly FoldedRow[],
): { readonly plan: MergePlan; readonly staged: StagedRows } {
  const order = planOrder(columns);
  const flags = unchangedFlags(rows);
  const unchanged = order.map((index) => flags.get(index) ?? null);
  const spec = targetSpec(target, deletes, columns);
  const plan: MergePlan = {
    ...spec,
    columns: spec.columns.map((column, at) => ({ ...column, unchanged: unchanged[at] === null ? "impossible" : "keep_target" })),
  };
  const staged: StagedRows = {
    rows: rows.length,
    values: transpose(rows, order),
    unchanged,
    sequence: rows.map((row) => row.sequence),
    commitMicros: rows.map((row) => row.commitMicros),
    deleted: Uint8Array.from(rows, (row) => (row.deleted ? 1 : 0)),
    keyBytes: rows.map((row) => row.keyBytes),
  };
  return { plan, staged };
}

/** The rows' values by column, in `order`: row after row, since each is somewhere else in memory. */
function transpose(rows: readonly FoldedRow[], order: readonly number[]): readonly (readonly Value[])[] {
  const columns = order.map(() => new Array<Value>(rows.length));
  for (let at = 0; at < rows.length; at++) {
    const { values } = rows[at]!;
    for (let index = 0; index < order.length; index++) columns[index]![at] = values[order[index]!] ?? null;
  }
  return columns;
}

/** By column: 1 at each row that leaves it unchanged. Columns that every row brings are not there. */
function unchangedFlags(rows: readonly FoldedRow[]): ReadonlyMap<number, Uint8Array> {
  const flags = new Map<number, Uint8Array>();
  for (let at = 0; at < rows.length; at++) {
    for (const column of rows[at]!.unchanged) {
      const found = flags.get(column) ?? new Uint8Array(rows.length);
      found[at] = 1;
      flags.set(column, found);
    }
  }
  return flags;
}
