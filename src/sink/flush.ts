// One flush: what is pending goes to the warehouse in one transaction with its checkpoint; refused rows are set aside.
import { TailraceError } from "../core/errors.ts";
import { partsOf, partsText } from "../core/sequence.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type {
  CheckpointMove,
  DeadLetter,
  Expiry,
  Flush,
  LetterFloor,
  TableFlush,
  TargetSpec,
  WarehouseSession,
} from "../core/warehouse.ts";
import type { AwaitedSweep } from "./barriers.ts";
import { truncateBelow } from "./fold.ts";
import { bodyOf, deadLetter, type Pending, type PendingTable } from "./pending.ts";
import { keyName } from "./open-letters.ts";
import { findRefused } from "./refusals.ts";
import { stage, targetSpec } from "./staging.ts";
import { latestView } from "./version-views.ts";

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

/** Who merges. `onStaged`: as in Flush. */
export type Worker = {
  readonly sink: string;
  readonly fence: number;
  readonly startedMs: number;
  readonly onStaged: () => void;
};

/** `rows`: those of the fold that are staged, by number. */
type Prepared = { readonly table: PendingTable; rows: readonly number[]; flush: TableFlush };

/**
 * Merges `pending`, sweeps, and moves the checkpoint, in one transaction.
 * Throws what the session throws, less ROW_REFUSED: refused rows become dead letters.
 */
export async function flushPending(
  session: WarehouseSession,
  pending: Pending,
  { sweeps, expiries, move }: Swept,
  worker: Worker,
  signal: AbortSignal,
): Promise<Flushed> {
  const prepared = [...pending.tables.values()].map(prepare);
  for (const { route, columns } of pending.tables.values()) await session.ensureTarget(specOf(route, columns));
  for (const sweep of sweeps) await session.ensureMark(sweep);
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
      onStaged: worker.onStaged,
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

function specOf({ target, deletes, first }: PendingTable["route"], columns: PendingTable["columns"]): TargetSpec {
  const spec = targetSpec(target, deletes, columns);
  return first === null ? spec : { ...spec, view: latestView(first) };
}

function prepare(table: PendingTable): Prepared {
  const { fold, truncate } = table;
  if (truncate !== null) truncateBelow(fold, partsOf(truncate));
  const all = Array.from({ length: fold.rows }, (_, row) => row);
  return { table, ...stageRows(table, all) };
}

function stageRows({ route, columns, decoder, fold, truncate }: PendingTable, rows: readonly number[]): Omit<Prepared, "table"> {
  return { rows, flush: { ...stage(route.target, route.deletes, columns, fold, decoder.rows, rows), truncate } };
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
    const { fold } = table;
    const { kept } = fold;
    const out = new Set<number>();
    for (const { row, reason } of await findRefused(session, one.flush, signal)) {
      const folded = one.rows[row]!;
      refused += 1;
      // A soft delete that is refused for the values it would leave does without: the row has to be deleted all the same.
      if (kept !== null && fold.isDeleted(folded) && fold.unchanged(folded).length < kept.length) fold.dropValues(folded, kept);
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
  const key = keyName(bodyOf(table.fold.events.event(table.fold.first(folded))));
  return lettersOf(table, folded, pending.withoutRow(table, key, table.fold.unchanged(folded)));
}

function lettersOf({ route, fold }: PendingTable, row: number, error: TailraceError): readonly DeadLetter[] {
  const partition = fold.partition(row);
  return fold.eventsOf(row).map((event) => deadLetter(route.topic.name, partition, event, bodyOf(event), partsText(event), error));
}
