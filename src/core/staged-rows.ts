// The rows of a merge on their way into a warehouse (adr/0012): value by value out of the events' bytes, no object for one.

/**
 * Takes the values of one column, row after row: one value a row, by the call that the column's kind says. Bytes are the event's: they are
 * read before the call returns. All but null() throw ValueRefused for a value that the column's type can't hold.
 */
export interface ColumnWriter {
  null(): void;
  /** bool */
  bool(value: boolean): void;
  /** int2, int4; date in days since 1970-01-01 */
  int(value: number): void;
  /** int8, oid; time, timestamp, timestamptz in µs (since 1970-01-01). Two's complement: `high` signed, `low` unsigned 32 bits. */
  long(high: number, low: number): void;
  /** float4: 4 bytes, little-endian */
  float(bytes: Buffer, at: number): void;
  /** float8: 8 bytes, little-endian */
  double(bytes: Buffer, at: number): void;
  /** decimal: at least one byte of the unscaled value, big-endian two's complement */
  decimal(bytes: Buffer, start: number, end: number): void;
  /** All kinds that travel as text, uuid among them. What is not UTF-8 in it (of a source in SQL_ASCII) is written as U+FFFD. */
  text(bytes: Buffer, start: number, end: number): void;
  /** bytea, geometry */
  bytes(bytes: Buffer, start: number, end: number): void;
  /** point, line, lseg, box, circle: its numbers (geometricFields), 8 bytes each, little-endian */
  doubles(bytes: Buffer, start: number, end: number): void;
  /** polygon: begins one, whose points are written by doubles() of what is returned, `count` of them */
  points(count: number): PointWriter;
  /** path: the same */
  path(isClosed: boolean, count: number): PointWriter;
  /** array, vector: begins a list, whose items are written into what is returned, `count` of them; then comes endList(). */
  list(count: number): ColumnWriter;
  endList(): void;
  /** hstore: begins a map, whose keys and values are written in turn into what is returned, `count` of each; then comes endMap(). */
  map(count: number): MapWriter;
  endMap(): void;
  /** composite: begins one, whose `count` attributes are written in their order, each into the writer of its place; then comes endRecord(). */
  record(count: number): readonly ColumnWriter[];
  endRecord(): void;
}

/** The points of one path or polygon. */
export type PointWriter = Pick<ColumnWriter, "doubles">;

/** The pairs of one map. */
export interface MapWriter {
  readonly keys: Pick<ColumnWriter, "text">;
  readonly values: Pick<ColumnWriter, "text" | "null">;
}

/** The rows to merge, one per key. They can be read again and in any order until the flush has settled. */
export interface StagedRows {
  readonly rows: number;
  /**
   * Per plan column 1 where the value was not sent; null for columns whose `unchanged` is `impossible`. They keep the
   * value of the target's live row. A soft delete is staged with what is known of the row's last values; where some are
   * unchanged and there is no live row, it leaves a deleted row all of whose values stay as they are.
   */
  readonly unchanged: readonly (Uint8Array | null)[];
  /** 1: the row's last event is a delete. */
  readonly deleted: Uint8Array;
  /** Writes a row's values in the plan's order, each into the writer of its place; of a hard delete only the key's count. */
  writeValues(row: number, into: readonly ColumnWriter[]): void;
  /** Text form of its sequence, as text. */
  writeSequence(row: number, into: ColumnWriter): void;
  /** µs since 1970, as a long. */
  writeCommitTime(row: number, into: ColumnWriter): void;
  /** Avro body of the key, as bytes: what tombstones are kept by. */
  writeKey(row: number, into: ColumnWriter): void;
}

/** A value that its column's type can't hold. It costs its row, as if the warehouse had refused it. */
export class ValueRefused extends Error {}
