// From a fold to what a warehouse takes: its plan, and the rows in the plan's order. Pure.
import type { RowReader } from "../avro/row-reader.ts";
import { FRAME_BYTES } from "../avro/encoder.ts";
import { SEQUENCE_TEXT_BYTES, writeSequenceText } from "../core/sequence.ts";
import type { ColumnWriter, StagedRows } from "../core/staged-rows.ts";
import type { TableName } from "../core/table.ts";
import type { MergePlan, PlanColumn, TargetSpec } from "../core/warehouse.ts";
import type { Fold } from "./fold.ts";

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

/** The plan and the staged rows of one table. `rows`: of the fold, which may go on, by number, in the order of the staged ones. */
export function stage(
  target: TableName,
  deletes: "hard" | "soft",
  columns: readonly EventColumn[],
  fold: Fold,
  reader: RowReader,
  rows: readonly number[],
): { readonly plan: MergePlan; readonly staged: StagedRows } {
  const order = planOrder(columns);
  const flags = unchangedFlags(fold, rows);
  const unchanged = order.map((index) => flags.get(index) ?? null);
  const spec = targetSpec(target, deletes, columns);
  const plan: MergePlan = {
    ...spec,
    columns: spec.columns.map((column, at) => ({ ...column, unchanged: unchanged[at] === null ? "impossible" : "keep_target" })),
  };
  return { plan, staged: new FoldedStage(fold, reader, order, rows, unchanged) };
}

/** Reads the events' bytes anew each time that it is asked for a row. */
class FoldedStage implements StagedRows {
  readonly rows: number;
  readonly unchanged: readonly (Uint8Array | null)[];
  readonly deleted: Uint8Array;
  readonly #fold: Fold;
  readonly #reader: RowReader;
  readonly #order: readonly number[];
  readonly #isEventsOrder: boolean;
  readonly #rows: readonly number[];
  /** Where the columns of the event that was located last stand. */
  readonly #places: Int32Array;
  readonly #sequence = { epoch: 0, commitHigh: 0, commitLow: 0, ordinal: 0 };
  readonly #text = Buffer.alloc(SEQUENCE_TEXT_BYTES);

  constructor(fold: Fold, reader: RowReader, order: readonly number[], rows: readonly number[], unchanged: readonly (Uint8Array | null)[]) {
    this.rows = rows.length;
    this.unchanged = unchanged;
    this.deleted = Uint8Array.from(rows, (row) => (fold.isDeleted(row) ? 1 : 0));
    this.#fold = fold;
    this.#reader = reader;
    this.#order = order;
    this.#isEventsOrder = order.every((column, at) => column === at);
    this.#rows = rows;
    this.#places = new Int32Array(order.length);
  }

  writeValues(row: number, into: readonly ColumnWriter[]): void {
    const of = this.#rows[row]!;
    const sources = this.#fold.sources(of);
    if (sources !== null) return this.#writeFrom(sources, into);
    const event = this.#fold.values(of);
    const { events } = this.#fold;
    if (this.#isEventsOrder) return this.#reader.write(events.memory(event), events.rowAt(event), into);
    this.#locate(event);
    for (let at = 0; at < this.#order.length; at++) this.#writeColumn(this.#order[at]!, event, into[at]!);
  }

  writeSequence(row: number, into: ColumnWriter): void {
    this.#fold.sequence(this.#rows[row]!, this.#sequence);
    writeSequenceText(this.#sequence, this.#text);
    into.text(this.#text, 0, SEQUENCE_TEXT_BYTES);
  }

  writeCommitTime(row: number, into: ColumnWriter): void {
    const { events } = this.#fold;
    const last = this.#fold.last(this.#rows[row]!);
    into.long(events.microsHigh(last), events.microsLow(last));
  }

  writeKey(row: number, into: ColumnWriter): void {
    const { events } = this.#fold;
    const first = this.#fold.first(this.#rows[row]!);
    into.bytes(events.keyMemory(first), events.keyAt(first) + FRAME_BYTES, events.keyEnd(first));
  }

  /** Values that stand in several events. */
  #writeFrom(sources: Int32Array, into: readonly ColumnWriter[]): void {
    let located = -1;
    for (let at = 0; at < this.#order.length; at++) {
      const column = this.#order[at]!;
      const source = sources[column]!;
      if (source >= 0 && source !== located) {
        this.#locate(source);
        located = source;
      }
      if (source < 0) into[at]!.null();
      else this.#writeColumn(column, source, into[at]!);
    }
  }

  #locate(event: number): void {
    const { events } = this.#fold;
    this.#reader.locate(events.memory(event), events.rowAt(event), this.#places);
  }

  #writeColumn(column: number, event: number, into: ColumnWriter): void {
    this.#reader.writeColumn(column, this.#fold.events.memory(event), this.#places[column]!, into);
  }
}

/** By column: 1 at each row that leaves it unchanged. Columns that every row brings are not there. */
function unchangedFlags(fold: Fold, rows: readonly number[]): ReadonlyMap<number, Uint8Array> {
  const flags = new Map<number, Uint8Array>();
  for (let at = 0; at < rows.length; at++) {
    for (const column of fold.unchanged(rows[at]!)) {
      const found = flags.get(column) ?? new Uint8Array(rows.length);
      found[at] = 1;
      flags.set(column, found);
    }
  }
  return flags;
}
