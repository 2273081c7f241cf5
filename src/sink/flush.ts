// One flush: what is pending goes to the warehouse in one transaction with its checkpoint; refused rows are set aside.
import { TailraceError } from "../core/errors.ts";
import { formatSequence } from "../core/sequence.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { DeadLetter, Flush, TableFlush, WarehouseSession } from "../core/warehouse.ts";
import type { FoldedRow } from "./fold.ts";
import { deadLetter, type Pending, type PendingTable } from "./pending.ts";
import { findRefused, pickRows } from "./refusals.ts";
import { stage, targetSpec } from "./staging.ts";

export type Flushed = {
  readonly merged: readonly { readonly table: TableName; readonly rows: number }[];
  readonly deadLetters: readonly DeadLetter[];
  /** Those of them that were not known before the flush. */
  readonly newLetters: readonly DeadLetter[];
};

type Prepared = { readonly table: PendingTable; rows: readonly FoldedRow[]; flush: TableFlush };

/**
 * Merges `pending` and moves the checkpoint, in one transaction.
 * Throws what the session throws, less ROW_REFUSED: refused rows become dead letters.
 */
export async function flushPending(
  session: WarehouseSession,
  pending: Pending,
  worker: { readonly sink: string; readonly fence: number; readonly startedMs: number },
  signal: AbortSignal,
): Promise<Flushed> {
  const prepared = [...pending.tables.values()].map(prepare);
  for (const { route, columns } of pending.tables.values()) await session.ensureTarget(targetSpec(route.target, route.deletes, columns));
  const refused: DeadLetter[] = [];
  for (;;) {
    const flush: Flush = {
      sink: worker.sink,
      fence: worker.fence,
      tables: prepared.map((one) => one.flush),
      checkpoints: pending.checkpoints(),
      deadLetters: [...pending.deadLetters, ...refused],
      closedDeadLetters: pending.closedLetters,
      orphaned: (table, row) => orphanedLetters(prepared[table], row),
      run: {
        startedMs: worker.startedMs,
        events: pending.events,
        firstSequence: pending.firstSequence,
        lastSequence: pending.lastSequence,
      },
    };
    try {
      const result = await session.flush(flush, signal);
      const merged = prepared.map(({ table }, index) => ({ table: table.route.topic.table, rows: result.merged[index] ?? 0 }));
      const newLetters = [...refused, ...result.deadLetters];
      return { merged, deadLetters: [...pending.deadLetters, ...newLetters], newLetters };
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.code !== "ROW_REFUSED") throw cause;
      const found = await setRefusedAside(session, prepared, signal);
      if (found.length === 0) throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: worker.sink, reason: cause.message }, { cause });
      refused.push(...found);
    }
  }
}

function prepare(table: PendingTable): Prepared {
  return stagePrepared(table, [...table.rows.values()]);
}

function stagePrepared(table: PendingTable, rows: readonly FoldedRow[]): Prepared {
  const { route, columns, truncate } = table;
  return { table, rows, flush: { ...stage(route.target, route.deletes, columns, rows), truncate } };
}

async function setRefusedAside(
  session: WarehouseSession,
  prepared: readonly Prepared[],
  signal: AbortSignal,
): Promise<readonly DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (const one of prepared) {
    const refusals = await findRefused(session, one.flush, signal);
    for (const { row, reason } of refusals) {
      const folded = one.rows[row]!;
      letters.push(
        ...lettersOf(one.table, folded, new TailraceError("ROW_REFUSED", { target: tableLabel(one.table.route.target), reason })),
      );
    }
    const bad = new Set(refusals.map(({ row }) => row));
    const kept = one.rows.map((_, row) => row).filter((row) => !bad.has(row));
    one.rows = kept.map((row) => one.rows[row]!);
    one.flush = { ...one.flush, staged: pickRows(one.flush.staged, kept) };
  }
  return letters;
}

function orphanedLetters(prepared: Prepared | undefined, row: number): readonly DeadLetter[] {
  const folded = prepared?.rows[row];
  if (prepared === undefined || folded === undefined) return [];
  const columns = folded.unchanged.map((index) => prepared.table.columns[index]?.name ?? "?").join(", ");
  return lettersOf(
    prepared.table,
    folded,
    new TailraceError("UNCHANGED_WITHOUT_ROW", { columns, target: tableLabel(prepared.table.route.target) }),
  );
}

function lettersOf(table: PendingTable, row: FoldedRow, error: TailraceError): readonly DeadLetter[] {
  const topic = table.route.topic.name;
  return row.events.map(({ record, sequence }) => deadLetter(topic, row.partition, record, row.keyBytes, formatSequence(sequence), error));
}
