// Our own events, read from their Avro bytes. Bytes that are something else throw EVENT_UNREADABLE, never more.
import { toLsn, type Lsn } from "../core/lsn.ts";
import type { Sequence, SequenceParts } from "../core/sequence.ts";
import { keyColumns } from "../core/table.ts";
import { Cursor } from "./cursor.ts";
import { FRAME_BYTES, type Operation } from "./encoder.ts";
import { RowReader } from "./row-reader.ts";
import { readValueSchema, unreadable, type EventShape } from "./shape.ts";
import { valueReader, type ValueReader } from "./value-reader.ts";

const MAX_EPOCH = 0xffff;
const MAX_ORDINAL = 0xffff_ffff_ffff;
const MAX_XID = 0xffff_ffff;

const NO_COLUMNS: readonly number[] = [];

/** The schema id of a framed key or value (0x00, id Int32); throws EVENT_UNREADABLE when it has no frame. */
export function schemaIdOf(framed: Buffer): number {
  if (framed.length < FRAME_BYTES || framed[0] !== 0) throw unreadable("it has no schema id");
  return framed.readInt32BE(1);
}

/**
 * Reads events of one schema into its own fields, which the next call overwrites. Rows are checked and left where they are:
 * `rows` reads them from there, whenever that is.
 */
export class EventDecoder implements SequenceParts {
  readonly shape: EventShape;
  /** Reads the rows of events of this schema; columns in the shape's order. */
  readonly rows: RowReader;
  op: Operation = "t";
  /** The sequence in its parts. */
  epoch = 0;
  commitHigh = 0;
  commitLow = 0;
  ordinal = 0;
  /** The commit time in µs since 1970: `high` signed, `low` unsigned 32 bits. */
  microsHigh = 0;
  microsLow = 0;
  txId = 0;
  /** Where the rows begin in the value that was decoded; −1: it has none. */
  beforeAt = -1;
  afterAt = -1;
  /** Columns of the row after the change whose value the database did not send; they are null there. Not to be changed. */
  unchanged: readonly number[] = NO_COLUMNS;
  /** Avro body of the key that this create replaces (what stood behind the frame of its record's key); a copy. */
  movedFrom: Buffer | null = null;

  readonly #cursor = new Cursor();
  readonly #key: readonly ValueReader[];
  readonly #columnOf: ReadonlyMap<string, number>;

  /** `schema`: the value schema (JSON text) that the events were written with. Throws EVENT_UNREADABLE when it is none of ours. */
  constructor(schema: string) {
    this.shape = readValueSchema(schema);
    const { columns } = this.shape;
    this.rows = new RowReader(columns);
    this.#key = keyColumns(this.shape).map(({ type }) => valueReader(type));
    this.#columnOf = new Map(columns.map((column, index) => [column.field, index]));
  }

  get commitLsn(): Lsn {
    return toLsn((BigInt(this.commitHigh) << 32n) | BigInt(this.commitLow));
  }

  /** µs since 1970. */
  get commitMicros(): bigint {
    return (BigInt(this.microsHigh) << 32n) | BigInt(this.microsLow);
  }

  /** Decodes a record's value, frame included. After a throw the fields are of no event. */
  decode(value: Buffer): void {
    const cursor = this.#begin(value);
    this.beforeAt = this.#passRow();
    this.afterAt = this.#passRow();
    this.#skipStrings(3); // version, connector, name
    cursor.skipLong(); // ts_ms
    cursor.long();
    this.microsHigh = cursor.high;
    this.microsLow = cursor.low;
    this.#skipStrings(4); // snapshot, db, schema, table
    this.txId = cursor.present() ? cursor.count(MAX_XID) : 0;
    this.#readSequence();
    this.op = this.#readOperation();
    if (cursor.present()) cursor.skipLong(); // ts_ms
    this.unchanged = this.#readUnchanged();
    this.movedFrom = this.#key.length > 0 && cursor.present() ? this.#copyKey() : null;
    if (cursor.position !== value.length) throw unreadable("it goes on behind its end");
  }

  /** The sequence alone, for a tail: passes over the rows and leaves the rest unread. Changes the sequence's fields. */
  readSequence(value: Buffer): Sequence {
    const cursor = this.#begin(value);
    this.#passRow();
    this.#passRow();
    this.#skipStrings(3);
    cursor.skipLong();
    cursor.skipLong();
    this.#skipStrings(4);
    if (cursor.present()) cursor.skipLong();
    this.#readSequence();
    return { epoch: this.epoch, commitLsn: this.commitLsn, ordinal: this.ordinal };
  }

  #begin(value: Buffer): Cursor {
    schemaIdOf(value);
    this.#cursor.begin(value, FRAME_BYTES);
    return this.#cursor;
  }

  /** Where the row begins that stands at the cursor, −1 without one. */
  #passRow(): number {
    if (!this.#cursor.present()) return -1;
    const at = this.#cursor.position;
    this.rows.skip(this.#cursor);
    return at;
  }

  #skipStrings(count: number): void {
    for (let done = 0; done < count; done++) this.#cursor.sized();
  }

  /* lsn null|long, epoch int, commit_lsn long, ordinal long */
  #readSequence(): void {
    const cursor = this.#cursor;
    if (cursor.present()) cursor.skipLong();
    this.epoch = cursor.count(MAX_EPOCH);
    cursor.long();
    this.commitHigh = cursor.high;
    this.commitLow = cursor.low;
    if (cursor.high < 0) throw unreadable("its commit LSN is negative");
    this.ordinal = cursor.count(MAX_ORDINAL);
  }

  #readOperation(): Operation {
    if (this.#cursor.size() !== 1) throw unreadable("its operation is unknown");
    const op = OPERATIONS.get(this.#cursor.byte());
    if (op === undefined) throw unreadable("its operation is unknown");
    const before = this.beforeAt >= 0;
    const after = this.afterAt >= 0;
    const fits = op === "t" ? !before && !after : op === "d" ? before && !after : after;
    if (!fits) throw unreadable(`its rows do not fit its operation ${op}`);
    return op;
  }

  /* array<string> ::= (count string × count)* 0; one block, as the encoder writes it */
  #readUnchanged(): readonly number[] {
    const cursor = this.#cursor;
    const count = cursor.count(this.rows.columns);
    if (count === 0) return NO_COLUMNS;
    const columns: number[] = [];
    for (let done = 0; done < count; done++) {
      const column = this.#columnOf.get(cursor.string());
      if (column === undefined) throw unreadable("an unchanged column is none of its row's");
      columns.push(column);
    }
    if (cursor.byte() !== 0) throw unreadable("its unchanged columns are in several blocks");
    return columns;
  }

  #copyKey(): Buffer {
    const cursor = this.#cursor;
    const start = cursor.position;
    for (const reader of this.#key) reader.skip(cursor);
    return Buffer.from(cursor.bytes.subarray(start, cursor.position));
  }
}

const OPERATIONS: ReadonlyMap<number, Operation> = new Map((["c", "u", "d", "t", "r"] as const).map((op) => [op.charCodeAt(0), op]));
