// Flushes for tests of warehouses, said in a line each.
import { toLsn } from "../../src/core/lsn.ts";
import { formatSequence } from "../../src/core/sequence.ts";
import type { ColumnWriter, StagedRows } from "../../src/core/staged-rows.ts";
import type { ColumnType, TableName } from "../../src/core/table.ts";
import type { DeadLetter, Flush, MergePlan, TableFlush, TargetSpec, WarehouseSession } from "../../src/core/warehouse.ts";
import { ValueList, writeValue, type Value } from "../support/row-values.ts";

/** The text form of the nth commit's sequence. */
export function at(commit: number, ordinal = 0, epoch = 1): string {
  return formatSequence({ epoch, commitLsn: toLsn(BigInt(commit)), ordinal });
}

/** `columns` in the plan's order, key columns first. */
export function targetSpec(
  target: TableName,
  key: readonly string[],
  columns: Readonly<Record<string, ColumnType>>,
  deletes: "hard" | "soft" = "hard",
): TargetSpec {
  return { target, key, deletes, columns: Object.entries(columns).map(([name, type]) => ({ name, type })) };
}

export type Row = {
  /** By column name; a column that is not named is null, or not sent when `unchanged` names it. */
  readonly row: Readonly<Record<string, Value>>;
  readonly at: string;
  /** Of a delete without it: every column that `row` does not name. */
  readonly unchanged?: readonly string[];
  readonly deleted?: boolean;
};

export function change(commit: number, row: Row["row"], unchanged: readonly string[] = []): Row {
  return { row, at: at(commit), unchanged };
}

/** `row`: the key, and for a soft delete the values that were folded into it. */
export function deletion(commit: number, row: Row["row"], unchanged?: readonly string[]): Row {
  return { row, at: at(commit), deleted: true, ...(unchanged === undefined ? {} : { unchanged }) };
}

/** One table's part of a flush, as the sink would make it. */
export function tableFlush(spec: TargetSpec, rows: readonly Row[], truncate: string | null = null): TableFlush {
  const isUnchanged = ({ row, unchanged, deleted }: Row, name: string): boolean =>
    unchanged?.includes(name) ?? (deleted === true && spec.deletes === "soft" && !(name in row));
  const flags = spec.columns.map(({ name }) => {
    const column = Uint8Array.from(rows, (row) => (isUnchanged(row, name) ? 1 : 0));
    return column.includes(1) ? column : null;
  });
  const plan: MergePlan = {
    target: spec.target,
    key: spec.key,
    deletes: spec.deletes,
    columns: spec.columns.map((column, index) => ({ ...column, unchanged: flags[index] === null ? "impossible" : "keep_target" })),
  };
  const staged: StagedRows = {
    rows: rows.length,
    unchanged: flags,
    deleted: Uint8Array.from(rows, ({ deleted }) => (deleted === true ? 1 : 0)),
    writeValues: (index, into) => {
      for (const [at, { name, type }] of spec.columns.entries()) writeValue(type, rows[index]!.row[name] ?? null, into[at]!);
    },
    writeSequence: (index, into) => writeValue({ kind: "text" }, rows[index]!.at, into),
    writeCommitTime: (_, into) => writeValue({ kind: "timestamptz" }, 1_700_000_000_000_000n, into),
    writeKey: (index, into) => writeValue({ kind: "bytea" }, keyBytes(spec, rows[index]!.row), into),
  };
  return { plan, truncate, staged };
}

/** Stands for the Avro body of a key: all that counts is that equal keys have equal bytes. */
export function keyBytes(spec: Pick<TargetSpec, "key">, row: Row["row"]): Buffer {
  return Buffer.from(spec.key.map((name) => keyText(row[name] ?? null)).join("\0"));
}

function keyText(value: Value): string {
  if (value === null || typeof value !== "object" || Buffer.isBuffer(value)) return `${typeof value}:${String(value)}`;
  return `[${value.map((item) => keyText(item)).join("\u0001")}]`;
}

/** What R-dead makes of one staged row. */
export function letterOf(table: TableFlush, row: number, code = "UNCHANGED_WITHOUT_ROW"): DeadLetter {
  const keyBytes = written((into) => table.staged.writeKey(row, into)) as Buffer;
  return letter(100 + row, { keyBytes, sequence: sequenceOf(table, row), code });
}

function sequenceOf({ staged }: TableFlush, row: number): string {
  return written((into) => staged.writeSequence(row, into)) as string;
}

function written(write: (into: ColumnWriter) => void): Value {
  const into = new ValueList();
  write(into);
  return into.last;
}

export function letter(offset: number, parts: Partial<DeadLetter> = {}): DeadLetter {
  return {
    topic: "t",
    partition: 0,
    offset,
    keyBytes: Buffer.from("key"),
    sequence: at(offset),
    code: "ROW_REFUSED",
    message: "it's refused",
    key: Buffer.from([0, 0, 0, 0, 1, 2]),
    value: Buffer.from([0, 255]),
    ...parts,
  };
}

/** A sink's worker: what it got from acquire(), and how far its only partition is. */
export class Worker {
  readonly sink: string;
  fence = 0;
  offset: number | null = null;

  constructor(sink = "lake") {
    this.sink = sink;
  }

  async acquire(session: WarehouseSession): Promise<void> {
    const { fence, checkpoints } = await session.acquire(this.sink);
    this.fence = fence;
    this.offset = checkpoints[0]?.nextOffset ?? null;
  }

  /** A flush that moves the checkpoint by one. */
  flush(tables: readonly TableFlush[], parts: Partial<Flush> = {}): Flush {
    const sequences = tables.flatMap((table) => Array.from({ length: table.staged.rows }, (_, row) => sequenceOf(table, row))).sort();
    return {
      sink: this.sink,
      fence: this.fence,
      tables,
      checkpoints: [
        {
          topic: "t",
          partition: 0,
          topicId: "id",
          nextOffset: (this.offset ?? 0) + 1,
          sequence: sequences.at(-1) ?? "",
          expected: this.offset === null ? null : { topicId: "id", nextOffset: this.offset },
        },
      ],
      deadLetters: [],
      closedDeadLetters: [],
      letterFloors: [],
      sweeps: [],
      expiries: [],
      orphaned: (table, row) => [letterOf(tables[table]!, row)],
      run: {
        startedMs: 1_700_000_000_000,
        events: sequences.length,
        firstSequence: sequences[0] ?? "",
        lastSequence: sequences.at(-1) ?? "",
      },
      ...parts,
    };
  }

  /** Flushes and goes on from there. */
  async merge(session: WarehouseSession, tables: readonly TableFlush[], parts: Partial<Flush> = {}): ReturnType<WarehouseSession["flush"]> {
    const flush = this.flush(tables, parts);
    const result = await session.flush(flush, new AbortController().signal);
    this.offset = flush.checkpoints[0]?.nextOffset ?? this.offset;
    return result;
  }
}
