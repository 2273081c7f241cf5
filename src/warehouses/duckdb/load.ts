// The bulk path into DuckDB: values by column become data chunks, which an appender takes without SQL.
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  DuckDBBlobValue,
  DuckDBDataChunk,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  DuckDBUUIDValue,
  type DuckDBConnection,
  type DuckDBValue,
} from "@duckdb/node-api";
import { decimalText } from "../../core/decimal.ts";
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_MINUS_INFINITY,
  type ColumnType,
  type Value,
} from "../../core/table.ts";
import type { MergePlan, StagedRows } from "../../core/warehouse.ts";
import { columnType } from "./dialect.ts";

/** Rows in one of DuckDB's vectors. */
const CHUNK_ROWS = 2048;
/** Chunks appended in one turn of the event loop: about 10 ms of it. */
const CHUNKS_PER_TURN = 4;

/** One column of the table that is loaded, in its place. */
export type LoadColumn = { readonly type: ColumnType; readonly value: (row: number) => Value };

/** Appends `rows` rows to a temporary table, in the connection's transaction. Gives way to other work in between. */
export async function appendRows(
  connection: DuckDBConnection,
  table: string,
  columns: readonly LoadColumn[],
  rows: number,
  signal: AbortSignal,
): Promise<void> {
  const appender = await connection.createAppender(table, null, "temp");
  try {
    const types = columns.map((_, index) => appender.columnType(index));
    const converters = columns.map(({ type }) => converter(type));
    for (let first = 0, chunks = 1; first < rows; first += CHUNK_ROWS, chunks++) {
      const chunk = DuckDBDataChunk.create(types, Math.min(CHUNK_ROWS, rows - first));
      for (const [index, { value }] of columns.entries()) fill(chunk, index, value, converters[index]!, first);
      appender.appendDataChunk(chunk);
      if (chunks % CHUNKS_PER_TURN !== 0) continue;
      appender.flushSync(); // what it has gathered is written in this thread: little by little
      await nextTurn(undefined, { signal });
    }
    appender.flushSync();
  } finally {
    appender.closeSync();
  }
}

/** The staged rows as columns of the staging table (dialect's `stagedColumns`). */
export function stagedLoad(plan: MergePlan, staged: StagedRows): readonly LoadColumn[] {
  const values = plan.columns.map(({ type }, index) => {
    const column = staged.values[index] ?? [];
    return { type, value: (row: number): Value => column[row] ?? null };
  });
  const flags = plan.columns.flatMap(({ unchanged }, index) =>
    unchanged === "keep_target" ? [flagColumn(staged.unchanged[index] ?? null)] : [],
  );
  return [
    ...values,
    ...flags,
    textColumn((row) => staged.sequence[row] ?? null),
    { type: { kind: "timestamptz" }, value: (row) => staged.commitMicros[row] ?? null },
    flagColumn(staged.deleted),
    bytesColumn((row) => staged.keyBytes[row] ?? null),
    { type: { kind: "int4" }, value: (row) => row },
  ];
}

export function textColumn(value: (row: number) => string | null): LoadColumn {
  return { type: { kind: "text" }, value };
}

export function bytesColumn(value: (row: number) => Buffer | null): LoadColumn {
  return { type: { kind: "bytea" }, value };
}

function flagColumn(flags: Uint8Array | null): LoadColumn {
  return { type: { kind: "bool" }, value: (row) => flags?.[row] === 1 };
}

type Converter = (value: Exclude<Value, null>) => DuckDBValue;

function fill(chunk: DuckDBDataChunk, index: number, value: (row: number) => Value, convert: Converter, first: number): void {
  const vector = chunk.getColumnVector(index) as unknown as {
    setItem(at: number, value: DuckDBValue): void;
    flush(): void;
    readonly itemCount: number;
  };
  for (let at = 0; at < vector.itemCount; at++) {
    const item = value(first + at);
    vector.setItem(at, item === null ? null : convert(item));
  }
  vector.flush();
}

/** From a Value to what DuckDB's vector of the column's type takes. */
function converter(type: ColumnType): Converter {
  switch (type.kind) {
    case "decimal":
    case "money": {
      const { precision, scale } = type;
      if (columnType(type) === "VARCHAR") return (value) => decimalText(value as bigint, scale);
      return (value) => new DuckDBDecimalValue(value as bigint, precision, scale);
    }
    case "uuid":
      return (value) => DuckDBUUIDValue.fromUint128(BigInt(`0x${(value as string).replaceAll("-", "")}`));
    case "bytea":
      return (value) => new DuckDBBlobValue(value as Buffer);
    case "date":
      return (value) => new DuckDBDateValue(duckdbDays(value as number));
    case "time":
      return (value) => new DuckDBTimeValue(value as bigint);
    case "timestamp":
      return (value) => new DuckDBTimestampValue(duckdbMicros(value as bigint));
    case "timestamptz":
      return (value) => new DuckDBTimestampTZValue(duckdbMicros(value as bigint));
    default:
      return (value) => value as DuckDBValue;
  }
}

/** DuckDB's infinities are the largest number and its negative, not the smallest one. */
function duckdbDays(days: number): number {
  return days === DATE_MINUS_INFINITY ? -DATE_INFINITY : days;
}

function duckdbMicros(micros: bigint): bigint {
  return micros === TIMESTAMP_MINUS_INFINITY ? -TIMESTAMP_INFINITY : micros;
}
