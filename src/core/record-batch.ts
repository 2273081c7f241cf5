// Kafka's record batches, format v2: what producers send, what the embedded log stores, what readers get back.
import { crc32c } from "@node-rs/crc32";
import { ByteWriter } from "./byte-writer.ts";
import { TailraceError } from "./errors.ts";
import type { LogRecord, TopicPartition } from "./event-log.ts";
import { SEQUENCE_HEADER, SEQUENCE_TEXT_BYTES } from "./sequence.ts";

/* RecordBatch ::=                               at
 *   base_offset            Int64                 0   offset of the first record; 0 until the log gives it one
 *   batch_length           Int32                 8   bytes after this field
 *   partition_leader_epoch Int32                12   the broker's; −1 from a producer
 *   magic                  Int8 = 2             16
 *   crc                    Uint32               17   CRC-32C of everything from attributes on
 *   attributes             Int16                21   bits 0–2 compression, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
 *   last_offset_delta      Int32                23
 *   base_timestamp         Int64                27   ms since 1970
 *   max_timestamp          Int64                35
 *   producer_id            Int64                43   −1: not idempotent
 *   producer_epoch         Int16                51
 *   base_sequence          Int32                53
 *   count                  Int32                57
 *   records                Record × count       61
 * Record ::= length Varint (bytes after it)  attributes Int8 = 0  timestamp_delta Varlong  offset_delta Varint
 *            key Bytes  value Bytes  headers Varint × Header
 * Header ::= name Bytes  value Bytes
 * Bytes  ::= length Varint (−1: null)  Byte × length
 * Integers are big-endian, varints zigzag. Kafka documentation, "Message Format", "Record Batch".
 */
const LENGTH_AT = 8;
const LEADER_EPOCH_AT = 12;
const MAGIC_AT = 16;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const LAST_DELTA_AT = 23;
const BASE_TIMESTAMP_AT = 27;
const MAX_TIMESTAMP_AT = 35;
const PRODUCER_AT = 43;
const PRODUCER_EPOCH_AT = 51;
const SEQUENCE_AT = 53;
const COUNT_AT = 57;
const RECORDS_AT = 61;
/** base_offset and batch_length, which batch_length does not count. */
const PREFIX_BYTES = 12;
const MAGIC = 2;
const COMPRESSION = 0x07;
const LOG_APPEND_TIME = 0x08;
const CONTROL = 0x20;

/** Bytes of a batch before its first record. */
export const BATCH_HEADER_BYTES = RECORDS_AT;
/** The most that a record without headers takes beside its key and value, in bytes. */
export const RECORD_OVERHEAD_BYTES = 23;
/** The same for a tombstone of appendTombstone. */
export const TOMBSTONE_OVERHEAD_BYTES = RECORD_OVERHEAD_BYTES + 2 + SEQUENCE_HEADER.length + SEQUENCE_TEXT_BYTES;

const sequenceHeaderName = Buffer.from(SEQUENCE_HEADER, "ascii");
const sequenceHeaderBytes = 1 + sequenceHeaderName.length + 1 + SEQUENCE_TEXT_BYTES;

/** Writes one batch after another into the same buffer. No object is made per record. */
export class RecordBatchWriter {
  readonly #out: ByteWriter;
  #count = 0;

  /** `capacity`: bytes to begin with; the buffer grows and never shrinks. */
  constructor(capacity?: number) {
    this.#out = new ByteWriter(capacity);
    this.reset();
  }

  /** Records since the last reset. */
  get count(): number {
    return this.#count;
  }

  /** Bytes that finish() would return now, the header among them. */
  get byteLength(): number {
    return this.#out.position;
  }

  /** Appends one record without headers; the byte ranges are copied. A null key or value stands for none; its range is not looked at. */
  append(key: Buffer | null, keyStart: number, keyEnd: number, value: Buffer | null, valueStart: number, valueEnd: number): void {
    this.#begin(key, keyStart, keyEnd, value, valueStart, valueEnd, 1);
    this.#out.byte(0);
  }

  /** Appends a record without a value that carries its sequence (text form, SEQUENCE_TEXT_BYTES of ASCII) in the header SEQUENCE_HEADER. */
  appendTombstone(key: Buffer, keyStart: number, keyEnd: number, sequenceText: Buffer): void {
    if (sequenceText.length !== SEQUENCE_TEXT_BYTES) throw new RangeError(`not a sequence: ${sequenceText.length} bytes`);
    this.#begin(key, keyStart, keyEnd, null, 0, 0, 1 + sequenceHeaderBytes);
    this.#out.varint(1);
    writeBytes(this.#out, sequenceHeaderName, 0, sequenceHeaderName.length);
    writeBytes(this.#out, sequenceText, 0, SEQUENCE_TEXT_BYTES);
  }

  /** Appends a record with any headers; for the rare ones (dead letters). */
  appendWithHeaders(key: Buffer | null, value: Buffer | null, headers: LogRecord["headers"]): void {
    const names = headers.map(([name]) => Buffer.from(name, "utf8"));
    let bytes = varintBytes(headers.length);
    headers.forEach(([, content], at) => (bytes += bytesBytes(names[at]?.length ?? 0) + bytesBytes(content.length)));
    this.#begin(key, 0, key?.length ?? 0, value, 0, value?.length ?? 0, bytes);
    this.#out.varint(headers.length);
    headers.forEach(([, content], at) => {
      const name = names[at] as Buffer;
      writeBytes(this.#out, name, 0, name.length);
      writeBytes(this.#out, content, 0, content.length);
    });
  }

  /**
   * Completes the batch: `timestampMs` is every record's CreateTime. The view is of the writer's own buffer: valid until
   * the next append or reset. Throws RangeError when there is no record.
   */
  finish(timestampMs: number): Buffer {
    if (this.#count === 0) throw new RangeError("a record batch has at least one record");
    const { bytes, position } = this.#out;
    bytes.writeUInt32BE(0, 0);
    bytes.writeUInt32BE(0, 4);
    bytes.writeInt32BE(position - PREFIX_BYTES, LENGTH_AT);
    bytes.writeInt32BE(-1, LEADER_EPOCH_AT);
    bytes.writeInt8(MAGIC, MAGIC_AT);
    bytes.writeInt16BE(0, ATTRIBUTES_AT);
    bytes.writeInt32BE(this.#count - 1, LAST_DELTA_AT);
    writeInt64(bytes, timestampMs, BASE_TIMESTAMP_AT);
    writeInt64(bytes, timestampMs, MAX_TIMESTAMP_AT);
    bytes.fill(0xff, PRODUCER_AT, COUNT_AT);
    bytes.writeInt32BE(this.#count, COUNT_AT);
    bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES_AT, position)), CRC_AT);
    return bytes.subarray(0, position);
  }

  /** Begins the next batch in the same buffer. */
  reset(): void {
    this.#out.position = 0;
    this.#out.ensure(RECORDS_AT);
    this.#out.position = RECORDS_AT;
    this.#count = 0;
  }

  /** Everything of a record but its headers, which take `headerBytes` with their count. */
  #begin(
    key: Buffer | null,
    keyStart: number,
    keyEnd: number,
    value: Buffer | null,
    valueStart: number,
    valueEnd: number,
    headerBytes: number,
  ): void {
    const out = this.#out;
    const offsetDelta = this.#count++;
    const keyBytes = key === null ? 1 : bytesBytes(keyEnd - keyStart);
    const valueBytes = value === null ? 1 : bytesBytes(valueEnd - valueStart);
    const length = 2 + varintBytes(offsetDelta) + keyBytes + valueBytes + headerBytes;
    out.ensure(5 + length);
    out.varint(length);
    out.byte(0); // attributes
    out.byte(0); // timestamp_delta
    out.varint(offsetDelta);
    if (key === null) out.varint(-1);
    else writeBytes(out, key, keyStart, keyEnd);
    if (value === null) out.varint(-1);
    else writeBytes(out, value, valueStart, valueEnd);
  }
}

/** What stands before a batch's records. */
export type BatchHeader = {
  readonly baseOffset: number;
  /** The offset after the batch. */
  readonly nextOffset: number;
  /** Length of the whole batch in bytes. */
  readonly byteLength: number;
  /** Records in it; fewer than offsets after compaction. */
  readonly count: number;
  /** Transaction markers: no records of a user. */
  readonly control: boolean;
};

/**
 * Reads and checks the batch that begins at `at`. `where` names the place for LOG_CORRUPT, which is thrown for whatever is
 * not a whole batch of format v2 with the right CRC. The CRC covers neither base_offset nor partition_leader_epoch: a
 * store that can't trust its own addressing compares the base offset itself.
 */
export function readBatchHeader(bytes: Buffer, at: number, where: TopicPartition): BatchHeader {
  const have = bytes.length - at;
  if (have < RECORDS_AT) throw corrupt(where, "?", `a batch header has ${RECORDS_AT} bytes, ${have} are left`);
  const baseOffset = readInt64(bytes, at);
  const bad = (reason: string): TailraceError => corrupt(where, baseOffset, reason);
  if (!Number.isSafeInteger(baseOffset) || baseOffset < 0) throw bad("the base offset is out of range");
  const magic = bytes.readInt8(at + MAGIC_AT);
  if (magic !== MAGIC) throw bad(`record format ${magic}, only ${MAGIC} is read`);
  const byteLength = bytes.readInt32BE(at + LENGTH_AT) + PREFIX_BYTES;
  if (byteLength < RECORDS_AT || byteLength > have) throw bad(`the batch says ${byteLength} bytes, ${have} are left`);
  const crc = bytes.readUInt32BE(at + CRC_AT);
  if (crc32c(bytes.subarray(at + ATTRIBUTES_AT, at + byteLength)) !== crc) throw bad("the CRC does not match");
  const attributes = bytes.readInt16BE(at + ATTRIBUTES_AT);
  const lastDelta = bytes.readInt32BE(at + LAST_DELTA_AT);
  const count = bytes.readInt32BE(at + COUNT_AT);
  if ((attributes & COMPRESSION) !== 0) throw bad("the batch is compressed");
  if (lastDelta < 0 || count < 0 || count > lastDelta + 1) throw bad(`${count} records in ${lastDelta + 1} offsets`);
  return { baseOffset, nextOffset: baseOffset + lastDelta + 1, byteLength, count, control: (attributes & CONTROL) !== 0 };
}

/** Gives a batch its place in the log; the CRC stays right. */
export function writeBaseOffset(batch: Buffer, baseOffset: number): void {
  writeInt64(batch, baseOffset, 0);
}

/** Names the producer of a batch and the sequence number of its first record, and makes the CRC right again. What was damaged before is then not seen any more. */
export function stampProducer(batch: Buffer, producerId: bigint, producerEpoch: number, sequence: number): void {
  batch.writeBigInt64BE(producerId, PRODUCER_AT);
  batch.writeInt16BE(producerEpoch, PRODUCER_EPOCH_AT);
  batch.writeInt32BE(sequence, SEQUENCE_AT);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES_AT)), CRC_AT);
}

/** The sequence number after `count` records: after 2^31 − 1 comes 0 (Kafka's DefaultRecordBatch.incrementSequence). */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % 0x8000_0000;
}

/**
 * Appends the records of all batches in `bytes` whose offsets are `from` or higher to `into`, less those of control batches.
 * Keys, values and headers are views of `bytes`. Returns the offset after the last batch (`from` when there is none). Throws
 * LOG_CORRUPT, and what was appended before is then the records before the bad batch.
 */
export function readRecords(bytes: Buffer, where: TopicPartition, from: number, into: LogRecord[]): number {
  let next = from;
  for (let at = 0; at < bytes.length;) {
    const header = readBatchHeader(bytes, at, where);
    if (!header.control && header.nextOffset > from) readBatch(bytes, at, header, where, from, into);
    next = Math.max(next, header.nextOffset);
    at += header.byteLength;
  }
  return next;
}

const noHeaders: LogRecord["headers"] = [];

function readBatch(bytes: Buffer, at: number, header: BatchHeader, where: TopicPartition, from: number, into: LogRecord[]): void {
  const kept = into.length;
  try {
    const baseTimestamp = readInt64(bytes, at + BASE_TIMESTAMP_AT);
    const appendTime = (bytes.readInt16BE(at + ATTRIBUTES_AT) & LOG_APPEND_TIME) !== 0 ? readInt64(bytes, at + MAX_TIMESTAMP_AT) : null;
    const cursor = new Cursor(bytes, at + RECORDS_AT, at + header.byteLength);
    let below = -1;
    for (let index = 0; index < header.count; index++) {
      const length = cursor.varint();
      const end = cursor.at + length;
      if (length < 0 || end > cursor.end) throw new RangeError(`a record says ${length} bytes`);
      cursor.at++; // attributes: none are defined
      const timestampDelta = cursor.varint();
      const delta = cursor.varint();
      if (delta <= below || header.baseOffset + delta >= header.nextOffset) throw new RangeError(`offset delta ${delta} after ${below}`);
      below = delta;
      const key = cursor.bytesOrNull();
      const value = cursor.bytesOrNull();
      const headers = cursor.headers();
      if (cursor.at !== end) throw new RangeError(`a record of ${length} bytes ends after ${length + cursor.at - end}`);
      const offset = header.baseOffset + delta;
      if (offset >= from) into.push({ offset, timestamp: appendTime ?? baseTimestamp + timestampDelta, key, value, headers });
    }
    if (cursor.at !== cursor.end) throw new RangeError(`${cursor.end - cursor.at} bytes follow the last record`);
  } catch (cause) {
    into.length = kept;
    if (cause instanceof RangeError) throw corrupt(where, header.baseOffset, cause.message);
    throw cause;
  }
}

/** Reads a batch's records in place; every method throws RangeError rather than pass `end`. */
class Cursor {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Varint or varlong; beyond 2^53 it is inexact, and refused. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < 10; index++) {
      if (this.at >= this.end) throw new RangeError("a number is cut off");
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      }
      scale *= 128;
    }
    throw new RangeError("a number is out of range");
  }

  bytesOrNull(): Buffer | null {
    const length = this.varint();
    if (length === -1) return null;
    const start = this.at;
    if (length < 0 || start + length > this.end) throw new RangeError(`a field says ${length} bytes`);
    this.at = start + length;
    return this.bytes.subarray(start, this.at);
  }

  headers(): LogRecord["headers"] {
    const count = this.varint();
    if (count === 0) return noHeaders;
    if (count < 0 || count > this.end - this.at) throw new RangeError(`${count} headers`);
    const headers: (readonly [string, Buffer])[] = [];
    for (let index = 0; index < count; index++) {
      const name = this.bytesOrNull();
      if (name === null) throw new RangeError("a header without a name");
      headers.push([name.toString("utf8"), this.bytesOrNull() ?? Buffer.alloc(0)]);
    }
    return headers;
  }
}

function corrupt(where: TopicPartition, offset: number | string, reason: string): TailraceError {
  return new TailraceError("LOG_CORRUPT", { topic: where.topic, partition: where.partition, offset, reason });
}

function writeBytes(out: ByteWriter, from: Buffer, start: number, end: number): void {
  out.varint(end - start);
  out.copy(from, start, end);
}

/** Bytes of `length` bytes with their length before them. */
function bytesBytes(length: number): number {
  return varintBytes(length) + length;
}

/** Bytes of the zigzag varint of a number from 0 to 2^31 − 1. */
function varintBytes(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x10_0000 ? 3 : value < 0x800_0000 ? 4 : 5;
}

/** Safe integers of either sign. */
function writeInt64(bytes: Buffer, value: number, at: number): void {
  bytes.writeInt32BE(Math.floor(value / 0x1_0000_0000), at);
  bytes.writeUInt32BE(value >>> 0, at + 4);
}

/** Inexact beyond 2^53. */
function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}
