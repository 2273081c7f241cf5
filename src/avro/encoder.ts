// A row change as Avro bytes, straight from the tuple that the stream brought: no object, no string for a row.
import { ByteWriter } from "../core/byte-writer.ts";
import { TailraceError } from "../core/errors.ts";
import { fieldNames } from "../core/naming.ts";
import { SEQUENCE_TEXT_BYTES } from "../core/sequence.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import { tupleState, type Tuple } from "../core/tuple.ts";
import { binaryColumnWriter, textColumnWriter } from "./encoder-as.ts";
import { malformed, outOfRange, valueColumn, type ValueColumn, type ValueWriter } from "./value-writer.ts";

/** What an event does: create, update, delete, truncate; `r`: a row that a snapshot read. */
export type Operation = "c" | "u" | "d" | "t" | "r";

/** What all events of one transaction share. */
export type SourceTransaction = {
  readonly epoch: number;
  /** BEGIN's final LSN. */
  readonly commitLsn: bigint;
  /** µs since 1970. */
  readonly commitMicros: bigint;
  readonly xid: number;
  /** When this service took the transaction up, ms since 1970. */
  readonly processedMs: number;
  /** It is the mark of a snapshot's chunk, whose rows are the events. */
  readonly snapshot: boolean;
};

export type TableEncoderOptions = {
  readonly table: Table;
  /** The registry's ids of the table's schemas (tableSchemas); `keySchemaId` is null for a table without a key. */
  readonly keySchemaId: number | null;
  readonly valueSchemaId: number;
  readonly constants: {
    /** This service's version. */
    readonly version: string;
    /** The source's name. */
    readonly connector: string;
    readonly database: string;
  };
};

/** Bytes of Confluent's frame: 0x00, then the schema's id. The Avro body follows. */
export const FRAME_BYTES = 5;

const { null: NULL, unchanged: UNCHANGED, text: TEXT, binary: BINARY } = tupleState;

const NO_UNION_BRANCH = 0x00;
const SECOND_UNION_BRANCH = 0x02;

/** Writes the keys and events of one table, compiled for its columns. */
export class TableEncoder {
  readonly #label: string;
  readonly #keySchemaId: number | null;
  readonly #valueSchemaId: number;
  readonly #columns: readonly ValueColumn[];
  readonly #binary: readonly ValueWriter[];
  readonly #text: readonly ValueWriter[];
  /** 1: a key column, which has no null in its schema. */
  readonly #required: Uint8Array;
  /** The key's columns in key order. */
  readonly #key: readonly number[];
  /** Avro strings of the columns' fields, for `unchanged`. */
  readonly #fields: readonly Buffer[];
  readonly #unchanged: Uint16Array;
  #unchangedCount = 0;

  readonly #sourceHead: Buffer;
  readonly #sourceNames: { readonly streamed: Buffer; readonly snapshot: Buffer };
  #transaction: SourceTransaction | null = null;
  /** The transaction's constant parts; they are built when its first event of this table comes. */
  #built = false;
  readonly #beforeLsn = new ByteWriter(256);
  readonly #afterLsn = new ByteWriter(32);
  readonly #afterOp = new ByteWriter(16);
  readonly #sequenceHead = Buffer.alloc(SEQUENCE_TEXT_BYTES - 12);

  constructor(options: TableEncoderOptions) {
    const { table, constants } = options;
    this.#label = tableLabel(table);
    this.#keySchemaId = options.keySchemaId;
    this.#valueSchemaId = options.valueSchemaId;
    this.#columns = table.columns.map((column) => valueColumn(table, column));
    this.#binary = table.columns.map(binaryColumnWriter);
    this.#text = table.columns.map(textColumnWriter);
    this.#required = Uint8Array.from(table.columns, (column) => (column.keyPosition > 0 ? 1 : 0));
    this.#key = keyColumns(table).map((column) => table.columns.indexOf(column));
    this.#fields = fieldNames(table).map((name) => avroStrings(name));
    this.#unchanged = new Uint16Array(table.columns.length);
    this.#sourceHead = avroStrings(constants.version, "postgresql", constants.connector);
    const names = [constants.database, table.schema, table.name];
    // Debezium's word for rows that are read while the stream goes on.
    this.#sourceNames = { streamed: avroStrings("false", ...names), snapshot: avroStrings("incremental", ...names) };
  }

  /** Columns that the last event names in `unchanged`. */
  get unsentCount(): number {
    return this.#unchangedCount;
  }

  /** The indexes of those columns, ascending. */
  unsentColumns(): readonly number[] {
    return [...this.#unchanged.subarray(0, this.#unchangedCount)];
  }

  /** Names the transaction of the events that follow; costs nothing for a table that has none in it. */
  beginTransaction(transaction: SourceTransaction): void {
    this.#transaction = transaction;
    this.#built = false;
  }

  /**
   * Appends frame and Avro body of a row's key. A key column that `tuple` does not bring (TOASTed, unchanged) is taken
   * from `old`, the row before it. Throws as writeEvent.
   */
  writeKey(tuple: Tuple, old: Tuple | null, out: ByteWriter): void {
    if (this.#keySchemaId === null) throw new TailraceError("UNEXPECTED", { reason: `table ${this.#label} has no key to write` });
    this.#requireShape(tuple);
    if (old !== null) this.#requireShape(old);
    writeFrame(this.#keySchemaId, out);
    this.#writeKeyBody(tuple, old, out);
  }

  /**
   * Appends frame and envelope of one event. `before` is what the database sent (of a key tuple the key alone), null
   * otherwise; `movedFrom` is the row whose key this create replaces. Columns that `after` does not bring are taken from
   * the row before, where the database sent it whole; those left are named in `unchanged`. The LSN is two halves of 32
   * bits. Throws VALUE_OUT_OF_RANGE with the column, or STREAM_PROTOCOL: the caller then resets `out.position`.
   */
  writeEvent(
    op: Operation,
    before: Tuple | null,
    after: Tuple | null,
    ordinal: number,
    lsnHigh: number,
    lsnLow: number,
    movedFrom: Tuple | null,
    out: ByteWriter,
  ): void {
    if (!this.#built) this.#build();
    writeFrame(this.#valueSchemaId, out);
    this.#writeRow(before, null, out);
    this.#unchangedCount = 0; // of a row before, an unsent column is one that the database does not log
    this.#writeRow(after, before ?? movedFrom, out);
    out.copy(this.#beforeLsn.bytes, 0, this.#beforeLsn.position);
    out.varlong(lsnHigh | 0, lsnLow >>> 0);
    out.copy(this.#afterLsn.bytes, 0, this.#afterLsn.position);
    out.varsafe(ordinal);
    out.byte(0x02); // a string of one character
    out.byte(op.charCodeAt(0));
    out.copy(this.#afterOp.bytes, 0, this.#afterOp.position);
    this.#writeUnchanged(out);
    if (this.#key.length === 0) return; // then the envelope has no moved_from
    if (movedFrom === null) return out.byte(NO_UNION_BRANCH);
    out.byte(SECOND_UNION_BRANCH);
    this.#writeKeyBody(movedFrom, null, out);
  }

  /** Appends the text form of an event's sequence in the current transaction, 34 ASCII bytes: a tombstone's header. */
  writeTombstoneSequence(ordinal: number, out: ByteWriter): void {
    if (!this.#built) this.#build();
    out.copy(this.#sequenceHead, 0, this.#sequenceHead.length);
    out.ensure(12);
    writeHex(Math.floor(ordinal / 0x1_0000_0000), 4, out);
    writeHex(ordinal >>> 0, 8, out);
  }

  #writeRow(tuple: Tuple | null, old: Tuple | null, out: ByteWriter): void {
    if (tuple === null) return out.byte(NO_UNION_BRANCH);
    this.#requireShape(tuple);
    out.byte(SECOND_UNION_BRANCH);
    const columns = this.#columns.length;
    for (let index = 0; index < columns; index++) {
      const from = tuple.state[index] === UNCHANGED && old !== null && isSent(old, index) ? old : tuple;
      const state = from.state[index];
      const required = this.#required[index] === 1;
      if (state === TEXT || state === BINARY) {
        if (!required) out.byte(SECOND_UNION_BRANCH);
        this.#writeValue(from, index, out);
        continue;
      }
      if (required) throw this.#missingKey(index);
      if (state === UNCHANGED) this.#unchanged[this.#unchangedCount++] = index;
      else if (state !== NULL) throw malformed(this.#columns[index]!, "in a state that pgoutput has");
      out.byte(NO_UNION_BRANCH);
    }
  }

  #writeKeyBody(tuple: Tuple, old: Tuple | null, out: ByteWriter): void {
    for (const index of this.#key) {
      const from = isSent(tuple, index) ? tuple : old;
      if (from === null || !isSent(from, index)) throw this.#missingKey(index);
      this.#writeValue(from, index, out);
    }
  }

  #writeValue(tuple: Tuple, index: number, out: ByteWriter): void {
    const write = (tuple.state[index] === BINARY ? this.#binary[index] : this.#text[index])!;
    write(tuple.bytes, tuple.start[index]!, tuple.length[index]!, out, this.#columns[index]!);
  }

  #writeUnchanged(out: ByteWriter): void {
    if (this.#unchangedCount > 0) {
      out.varint(this.#unchangedCount);
      for (let at = 0; at < this.#unchangedCount; at++) {
        const field = this.#fields[this.#unchanged[at]!]!;
        out.copy(field, 0, field.length);
      }
    }
    out.byte(0); // the array's end
  }

  /* Source in three parts around what each event brings: … txId | lsn | epoch, commit_lsn | ordinal; then op | ts_ms */
  #build(): void {
    const transaction = this.#transaction;
    if (transaction === null) throw new TailraceError("UNEXPECTED", { reason: `an event of ${this.#label} outside a transaction` });
    const head = this.#beforeLsn;
    head.position = 0;
    head.copy(this.#sourceHead, 0, this.#sourceHead.length);
    writeLong(floorDivide(transaction.commitMicros, 1000n), head);
    writeLong(transaction.commitMicros, head);
    const names = transaction.snapshot ? this.#sourceNames.snapshot : this.#sourceNames.streamed;
    head.copy(names, 0, names.length);
    head.byte(SECOND_UNION_BRANCH);
    head.varsafe(transaction.xid);
    head.byte(SECOND_UNION_BRANCH); // lsn follows

    this.#afterLsn.position = 0;
    this.#afterLsn.varint(transaction.epoch);
    writeLong(transaction.commitLsn, this.#afterLsn);

    this.#afterOp.position = 0;
    this.#afterOp.byte(SECOND_UNION_BRANCH);
    this.#afterOp.varsafe(transaction.processedMs);

    const epoch = transaction.epoch.toString(16).padStart(4, "0");
    this.#sequenceHead.write(`${epoch}-${transaction.commitLsn.toString(16).padStart(16, "0")}-`, "latin1");
    this.#built = true;
  }

  #requireShape(tuple: Tuple): void {
    if (tuple.columns === this.#columns.length) return;
    const reason = `a row of ${this.#label} has ${tuple.columns} columns, its table ${this.#columns.length}`;
    throw new TailraceError("STREAM_PROTOCOL", { reason }, { place: { table: this.#label } });
  }

  #missingKey(index: number): TailraceError {
    return outOfRange(this.#columns[index]!, "it is part of the key, and the database sent no value");
  }
}

function isSent(tuple: Tuple, index: number): boolean {
  const state = tuple.state[index];
  return state === TEXT || state === BINARY;
}

function writeFrame(schemaId: number, out: ByteWriter): void {
  out.ensure(FRAME_BYTES);
  out.bytes[out.position++] = 0;
  out.position = out.bytes.writeInt32BE(schemaId, out.position);
}

function writeLong(value: bigint, out: ByteWriter): void {
  out.varlong(Number(value >> 32n), Number(value & 0xffff_ffffn));
}

function floorDivide(value: bigint, by: bigint): bigint {
  return (value - (((value % by) + by) % by)) / by;
}

/** The caller has made room. */
function writeHex(value: number, width: number, out: ByteWriter): void {
  for (let shift = (width - 1) * 4; shift >= 0; shift -= 4) {
    const nibble = (value >>> shift) & 0xf;
    out.bytes[out.position++] = nibble < 10 ? 0x30 + nibble : 0x57 + nibble;
  }
}

/** Avro strings, one after the other. */
function avroStrings(...texts: readonly string[]): Buffer {
  const out = new ByteWriter(256);
  for (const text of texts) {
    const bytes = Buffer.from(text);
    out.varint(bytes.length);
    out.copy(bytes, 0, bytes.length);
  }
  return Buffer.from(out.bytes.subarray(0, out.position));
}
