// One flush: what is pending goes to the warehouse in one transaction with its checkpoint; refused rows are set aside.
import { TailraceError } from "../core/errors.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { CheckpointMove, DeadLetter, Expiry, Flush, LetterFloor, TableFlush, WarehouseSession } from "../core/warehouse.ts";
import type { AwaitedSweep } from "./barriers.ts";
import { dropValues, truncateRow, type FoldedRow } from "./fold.ts";
import { deadLetter, type Pending, type PendingTable } from "./pending.ts";
import { keyName } from "./open-letters.ts";
import { findRefused } from "./refusals.ts";
import { stage, targetSpec } from "./staging.ts";

export type Flushed = {
  readonly merged: readonly { readonly table: TableName; readonly rows: number }[];
  readonly deadLetters: readonly DeadLetter[];
  /** Those of them that were not known before the flush. */
  readonly newLetters: readonly DeadLetter[];
  readonly letterFloors: readonly LetterFloor[];
  /** Tombstones that went, by expiry. */
  readonly expired: readonly number[];
};

/** What goes into a flush beside what is pending. */
export type Swept = {
  readonly sweeps: readonly AwaitedSweep[];
  readonly expiries: readonly Expiry[];
  /** Of the barriers' checkpoint; null: it stays. */
  readonly move: CheckpointMove | null;
};

type Prepared = { readonly table: PendingTable; rows: readonly FoldedRow[]; flush: TableFlush };

/**
 * Merges `pending`, sweeps, and moves the checkpoint, in one transaction.
 * Throws what the session throws, less ROW_REFUSED: refused rows become dead letters.
 */
export async function flushPending(
  session: WarehouseSession,
  pending: Pending,
  { sweeps, expiries, move }: Swept,
  worker: { readonly sink: string; readonly fence: number; readonly startedMs: number },
  signal: AbortSignal,
): Promise<Flushed> {
  const prepared = [...pending.tables.values()].map(prepare);
  for (const { route, columns } of pending.tables.values()) await session.ensureTarget(targetSpec(route.target, route.deletes, columns));
  const letterFloors = [...pending.letterFloors(), ...sweeps.map(({ topic, opening }) => ({ topic, sequence: opening }))];
  const refused: DeadLetter[] = [];
  for (;;) {
    const flush: Flush = {
      sink: worker.sink,
      fence: worker.fence,
      tables: prepared.map((one) => one.flush),
      checkpoints: [...pending.checkpoints(), ...(move === null ? [] : [move])],
      deadLetters: [...pending.deadLetters, ...refused],
      closedDeadLetters: pending.closedLetters,
      letterFloors,
      sweeps,
      expiries,
      orphaned: (table, row) => orphanedLetters(pending, prepared[table], row),
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
      return { merged, deadLetters: [...pending.deadLetters, ...newLetters], newLetters, letterFloors, expired: result.expired };
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.code !== "ROW_REFUSED") throw cause;
      const found = await setRefusedAside(session, prepared, signal);
      if (found === null) throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: worker.sink, reason: cause.message }, { cause });
      refused.push(...found);
    }
  }
}

function prepare(table: PendingTable): Prepared {
  const { rows, kept, truncate } = table;
  // Rows of partitions whose own TRUNCATE event has not been read yet. In hard targets the floor keeps them out.
  if (kept !== null && truncate !== null) {
    for (const row of rows) if (row.sequence < truncate) truncateRow(row, truncate);
  }
  return { table, ...stageRows(table, rows.rows) };
}

function stageRows({ route, columns, truncate }: PendingTable, rows: readonly FoldedRow[]): Omit<Prepared, "table"> {
  return { rows, flush: { ...stage(route.target, route.deletes, columns, rows), truncate } };
}

/** The letters of the refused rows, which are taken out of `prepared`; null when no row is refused by itself. */
async function setRefusedAside(
  session: WarehouseSession,
  prepared: readonly Prepared[],
  signal: AbortSignal,
): Promise<readonly DeadLetter[] | null> {
  const letters: DeadLetter[] = [];
  let refused = 0;
  for (const one of prepared) {
    const { table } = one;
    const { kept } = table;
    const out = new Set<FoldedRow>();
    for (const { row, reason } of await findRefused(session, one.flush, signal)) {
      const folded = one.rows[row]!;
      refused += 1;
      // A soft delete that is refused for the values it would leave does without: the row has to be deleted all the same.
      if (kept !== null && folded.deleted && folded.unchanged.length < kept.length) dropValues(folded, kept);
      else {
        const error = new TailraceError("ROW_REFUSED", { target: tableLabel(table.route.target), reason });
        letters.push(...lettersOf(table, folded, error));
        out.add(folded);
      }
    }
    const rows = one.rows.filter((row) => !out.has(row));
    Object.assign(one, stageRows(table, rows));
  }
  return refused === 0 ? null : letters;
}

function orphanedLetters(pending: Pending, prepared: Prepared | undefined, row: number): readonly DeadLetter[] {
  const folded = prepared?.rows[row];
  if (prepared === undefined || folded === undefined) return [];
  const { table } = prepared;
  return lettersOf(table, folded, pending.withoutRow(table, keyName(folded.keyBytes), folded.unchanged));
}

function lettersOf(table: PendingTable, row: FoldedRow, error: TailraceError): readonly DeadLetter[] {
  const topic = table.route.topic.name;
  return row.events.map((event) => deadLetter(topic, row.partition, event, row.keyBytes, event.sequence, error));
}
