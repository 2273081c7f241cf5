// The bulk path into DuckDB: rows become data chunks, which an appender takes without SQL.
import { setImmediate as nextTurn } from "node:timers/promises";
import duckdb from "@duckdb/node-bindings";
import { DuckDBDataChunk, type DuckDBConnection } from "@duckdb/node-api";
import type { ColumnWriter, StagedRows } from "../../core/staged-rows.ts";
import type { ColumnType } from "../../core/table.ts";
import type { MergePlan } from "../../core/warehouse.ts";
import { CHUNK_ROWS, ColumnVector } from "./column-vector.ts";
import { stagedColumns } from "./dialect.ts";

/** Chunks appended in one turn of the event loop: about 10 ms of it. */
const CHUNKS_PER_TURN = 4;

/** Rows to load: `write` writes one of them, a value into each column's writer. */
export type Load = {
  readonly types: readonly ColumnType[];
  readonly rows: number;
  readonly write: (row: number, into: readonly ColumnWriter[]) => void;
};

/** Appends rows to a temporary table, in the connection's transaction. Gives way to other work in between. Throws ValueRefused. */
export async function appendRows(
  connection: DuckDBConnection,
  table: string,
  { types, rows, write }: Load,
  signal: AbortSignal,
): Promise<void> {
  const appender = await connection.createAppender(table, null, "temp");
  try {
    // One chunk for all rows: those that are made anew are only freed when the garbage collector finds the time.
    const chunk = DuckDBDataChunk.create(types.map((_, index) => appender.columnType(index)));
    const vectors = types.map((_, index) => duckdb.data_chunk_get_vector(chunk.chunk, index));
    const columns = types.map((type) => new ColumnVector(type));
    for (let first = 0, chunks = 1; first < rows; first += CHUNK_ROWS, chunks++) {
      const behind = Math.min(rows, first + CHUNK_ROWS);
      for (let row = first; row < behind; row++) write(row, columns);
      chunk.reset();
      chunk.rowCount = behind - first;
      for (let index = 0; index < columns.length; index++) columns[index]!.flush(vectors[index]!);
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

/** The staged rows as those of the staging table. */
export function stagedLoad(plan: MergePlan, staged: StagedRows): Load {
  const flags = plan.columns.flatMap(({ unchanged }, index) => (unchanged === "keep_target" ? [staged.unchanged[index] ?? null] : []));
  const own = plan.columns.length;
  const beside = own + flags.length;
  return {
    types: stagedColumns(plan).map(({ type }) => type),
    rows: staged.rows,
    write: (row, into) => {
      staged.writeValues(row, into);
      for (let index = 0; index < flags.length; index++) into[own + index]!.bool(flags[index]?.[row] === 1);
      staged.writeSequence(row, into[beside]!);
      staged.writeCommitTime(row, into[beside + 1]!);
      into[beside + 2]!.bool(staged.deleted[row] === 1);
      staged.writeKey(row, into[beside + 3]!);
      into[beside + 4]!.int(row);
    },
  };
}

/** Writes a text. */
export function putText(text: string, into: ColumnWriter): void {
  const bytes = Buffer.from(text);
  into.text(bytes, 0, bytes.length);
}

/** Writes bytes, or null. */
export function putBytes(bytes: Buffer | null, into: ColumnWriter): void {
  if (bytes === null) into.null();
  else into.bytes(bytes, 0, bytes.length);
}

/** Writes an integer from 0 to 2^53 into an int8 column. */
export function putCount(count: number, into: ColumnWriter): void {
  into.long(Math.floor(count / 0x1_0000_0000), count >>> 0);
}
