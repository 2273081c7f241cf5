// Our own events, from Avro bytes back to values. Bytes that are something else throw EVENT_UNREADABLE, never more.
import { toLsn } from "../core/lsn.ts";
import type { Sequence } from "../core/sequence.ts";
import { keyColumns, type Value } from "../core/table.ts";
import { Cursor } from "./cursor.ts";
import { FRAME_BYTES, type Operation } from "./encoder.ts";
import { readKeySchema, readValueSchema, unreadable, type EventShape, type ShapeColumn } from "./shape.ts";
import { valueReaders, type ValueReader } from "./value-reader.ts";

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
 * Decodes the values of one schema into its own fields, which the next call overwrites. What they then refer to stays
 * valid: rows are new arrays, and strings and buffers are copies.
 */
export class EventDecoder {
  /** What the rows are: their values stand in the order of its columns. */
  readonly shape: EventShape;
  op: Operation = "t";
  epoch = 0;
  /** A Lsn as a plain integer. */
  commitLsn = 0n;
  ordinal = 0;
  /** µs since 1970. */
  commitMicros = 0n;
  txId = 0;
  before: Value[] | null = null;
  after: Value[] | null = null;
  /** Columns of `after` whose value the database did not send; they are null there. Not to be changed. */
  unchanged: readonly number[] = NO_COLUMNS;
  /** Avro body of the key that this create replaces (what stood behind the frame of its record's key). */
  movedFrom: Buffer | null = null;

  readonly #cursor = new Cursor();
  readonly #readers: readonly ValueReader[];
  /** 1: a key column, which has no union. */
  readonly #required: Uint8Array;
  readonly #key: readonly ValueReader[];
  readonly #columnOf: ReadonlyMap<string, number>;

  /** `schema`: the value schema (JSON text) that the events were written with. Throws EVENT_UNREADABLE when it is none of ours. */
  constructor(schema: string) {
    this.shape = readValueSchema(schema);
    const { columns } = this.shape;
    this.#readers = columns.map(readerOf);
    this.#required = Uint8Array.from(columns, (column) => (column.keyPosition > 0 ? 1 : 0));
    this.#key = keyColumns(this.shape).map(readerOf);
    this.#columnOf = new Map(columns.map((column, index) => [column.field, index]));
  }

  /** Decodes a record's value, frame included. After a throw the fields are of no event. */
  decode(value: Buffer): void {
    const cursor = this.#begin(value);
    this.before = cursor.present() ? this.#readRow() : null;
    this.after = cursor.present() ? this.#readRow() : null;
    this.#skipStrings(3); // version, connector, name
    cursor.long(); // ts_ms
    this.commitMicros = cursor.bigint();
    this.#skipStrings(4); // snapshot, db, schema, table
    this.txId = cursor.present() ? cursor.count(MAX_XID) : 0;
    this.#readSequence();
    this.op = this.#readOperation();
    if (cursor.present()) cursor.long(); // ts_ms
    this.unchanged = this.#readUnchanged();
    this.movedFrom = this.#key.length > 0 && cursor.present() ? this.#copyKey() : null;
    if (cursor.position !== value.length) throw unreadable("it goes on behind its end");
  }

  /** The sequence alone, for a tail: passes over the rows and leaves the rest unread. Changes epoch, commitLsn and ordinal. */
  readSequence(value: Buffer): Sequence {
    const cursor = this.#begin(value);
    if (cursor.present()) this.#skipRow();
    if (cursor.present()) this.#skipRow();
    this.#skipStrings(3);
    cursor.long();
    cursor.long();
    this.#skipStrings(4);
    if (cursor.present()) cursor.long();
    this.#readSequence();
    return { epoch: this.epoch, commitLsn: toLsn(this.commitLsn), ordinal: this.ordinal };
  }

  #begin(value: Buffer): Cursor {
    schemaIdOf(value);
    this.#cursor.begin(value, FRAME_BYTES);
    return this.#cursor;
  }

  #readRow(): Value[] {
    const cursor = this.#cursor;
    const columns = this.#readers.length;
    const row = new Array<Value>(columns);
    for (let index = 0; index < columns; index++) {
      const there = this.#required[index] === 1 || cursor.present();
      row[index] = there ? this.#readers[index]!.read(cursor) : null;
    }
    return row;
  }

  #skipRow(): void {
    const cursor = this.#cursor;
    for (let index = 0; index < this.#readers.length; index++) {
      if (this.#required[index] === 1 || cursor.present()) this.#readers[index]!.skip(cursor);
    }
  }

  #skipStrings(count: number): void {
    for (let done = 0; done < count; done++) this.#cursor.skip(this.#cursor.size());
  }

  /* lsn null|long, epoch int, commit_lsn long, ordinal long */
  #readSequence(): void {
    const cursor = this.#cursor;
    if (cursor.present()) cursor.long();
    this.epoch = cursor.count(MAX_EPOCH);
    this.commitLsn = cursor.bigint();
    if (this.commitLsn < 0n) throw unreadable("its commit LSN is negative");
    this.ordinal = cursor.count(MAX_ORDINAL);
  }

  #readOperation(): Operation {
    if (this.#cursor.size() !== 1) throw unreadable("its operation is unknown");
    const op = OPERATIONS.get(this.#cursor.byte());
    if (op === undefined) throw unreadable("its operation is unknown");
    const { before, after } = this;
    const fits = op === "t" ? before === null && after === null : op === "d" ? before !== null && after === null : after !== null;
    if (!fits) throw unreadable(`its rows do not fit its operation ${op}`);
    return op;
  }

  /* array<string> ::= (count string × count)* 0; one block, as the encoder writes it */
  #readUnchanged(): readonly number[] {
    const cursor = this.#cursor;
    const count = cursor.count(this.#readers.length);
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

/** Decodes the keys of one schema. */
export class KeyDecoder {
  /** In key order, as the values of a decoded key. */
  readonly columns: readonly ShapeColumn[];
  readonly #readers: readonly ValueReader[];
  readonly #cursor = new Cursor();

  /** `schema`: the key schema (JSON text) that the keys were written with. Throws EVENT_UNREADABLE when it is none of ours. */
  constructor(schema: string) {
    this.columns = readKeySchema(schema);
    this.#readers = this.columns.map(readerOf);
  }

  /** The values of a record's key, frame included. */
  decode(key: Buffer): Value[] {
    schemaIdOf(key);
    return this.decodeBody(key.subarray(FRAME_BYTES));
  }

  /** The values of a key without its frame, as `movedFrom` brings it. */
  decodeBody(body: Buffer): Value[] {
    this.#cursor.begin(body, 0);
    const values = this.#readers.map((reader) => reader.read(this.#cursor));
    if (this.#cursor.position !== body.length) throw unreadable("its key goes on behind its end");
    return values;
  }
}

const OPERATIONS: ReadonlyMap<number, Operation> = new Map((["c", "u", "d", "t", "r"] as const).map((op) => [op.charCodeAt(0), op]));

function readerOf(column: ShapeColumn): ValueReader {
  return valueReaders[column.type.kind];
}
