// The record batch codec against its grammar, against two client libraries, and against damaged bytes.
import { createRequire } from "node:module";
import { createRecordsBatch, Reader, readRecordsBatch } from "@platformatic/kafka";
import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import type { LogRecord } from "../../../src/core/event-log.ts";
import {
  BATCH_HEADER_BYTES,
  readBatchHeader,
  readRecords,
  RECORD_OVERHEAD_BYTES,
  RecordBatchWriter,
  sequenceAfter,
  stampProducer,
  TOMBSTONE_OVERHEAD_BYTES,
  writeBaseOffset,
} from "../../../src/core/record-batch.ts";
import { SEQUENCE_HEADER } from "../../../src/core/sequence.ts";

const where = { topic: "shop.public.orders", partition: 3 };
const sequenceText = Buffer.from("0001-00000000000000ff-00000000000a");
const NOW = 1_767_225_600_123;

type Content = Pick<LogRecord, "key" | "value" | "headers">;

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const contents = fc.array(
  fc.record<Content>({
    key: fc.option(bytes),
    value: fc.option(bytes),
    headers: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.tuple(fc.string(), bytes), { maxLength: 4 }) },
    ),
  }),
  { minLength: 1, maxLength: 80 },
);
const timestamps = fc.integer({ min: 0, max: 2 ** 45 });

function write(records: readonly Content[], timestamp = NOW, writer = new RecordBatchWriter(64)): Buffer {
  writer.reset();
  for (const { key, value, headers } of records) {
    if (headers.length > 0) writer.appendWithHeaders(key, value, headers);
    else writer.append(key, 0, key?.length ?? 0, value, 0, value?.length ?? 0);
  }
  return writer.finish(timestamp);
}

function read(from: Buffer, offset = 0): LogRecord[] {
  const records: LogRecord[] = [];
  readRecords(from, where, offset, records);
  return records;
}

function reasonOf(damaged: Buffer): string {
  try {
    read(damaged);
  } catch (cause) {
    if (cause instanceof TailraceError && cause.code === "LOG_CORRUPT") return cause.message;
    throw cause;
  }
  return "passed";
}

/** Sets a field behind the CRC and makes the CRC right again. */
function altered(batch: Buffer, alter: (bytes: Buffer) => void): Buffer {
  const copy = Buffer.from(batch);
  alter(copy);
  copy.writeUInt32BE(crc32c(copy.subarray(21)), 17);
  return copy;
}

test("a batch of one record has the bytes of the grammar", () => {
  const writer = new RecordBatchWriter();
  writer.append(Buffer.from("_k_"), 1, 2, Buffer.from("val"), 0, 3);
  const batch = writer.finish(0x0102_0304_0506);
  expect(
    batch
      .toString("hex")
      .replace(
        /(.{16})(.{8})(.{8})(..)(.{8})(.{4})(.{8})(.{16})(.{16})(.{16})(.{4})(.{8})(.{8})/,
        "$1 $2 $3 $4 crc $6 $7 $8 $9 $10 $11 $12 $13 ",
      ),
  ).toBe(
    "0000000000000000 0000003c ffffffff 02 crc 0000 00000000 0000010203040506 0000010203040506 ffffffffffffffff ffff ffffffff 00000001 " +
      "14" +
      "00" +
      "00" +
      "00" +
      "026b" +
      "0676616c" +
      "00",
  );
  expect(batch.readUInt32BE(17)).toBe(crc32c(batch.subarray(21)));
});

test("a stamped batch names its producer at the grammar's places, and nothing else has changed but the CRC", () => {
  const writer = new RecordBatchWriter();
  writer.append(Buffer.from("k"), 0, 1, Buffer.from("val"), 0, 3);
  const plain = Buffer.from(writer.finish(0x0102_0304_0506));
  const stamped = Buffer.from(plain);
  stampProducer(stamped, 0x0a0b0c0d0en, 0x0102, 0x7fff_fffe);
  expect(stamped.toString("hex", 43, 57)).toBe("0000000a0b0c0d0e" + "0102" + "7ffffffe");
  expect(stamped.readUInt32BE(17)).toBe(crc32c(stamped.subarray(21)));
  stampProducer(stamped, -1n, -1, -1);
  expect(stamped.equals(plain)).toBe(true);
});

test("a stamped batch is read as before, by us and by the library, which also finds its producer", () => {
  fc.assert(
    fc.property(
      contents,
      fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      fc.nat(0x7fff),
      fc.nat(0x7fff_ffff),
      (records, id, epoch, sequence) => {
        const batch = write(records);
        const before = read(batch);
        stampProducer(batch, id, epoch, sequence);
        expect(read(batch)).toEqual(before);
        const seen = readRecordsBatch(Reader.from(batch));
        expect([seen.producerId, seen.producerEpoch, seen.firstSequence]).toEqual([id, epoch, sequence]);
      },
    ),
  );
});

test("sequence numbers go on at 0 after 2^31 - 1", () => {
  expect(sequenceAfter(0, 3)).toBe(3);
  expect(sequenceAfter(0x7fff_fffe, 1)).toBe(0x7fff_ffff);
  expect(sequenceAfter(0x7fff_ffff, 1)).toBe(0);
  expect(sequenceAfter(0x7fff_fffe, 5)).toBe(3);
});

test("whatever records are written come back, with their place and time", () => {
  const reused = new RecordBatchWriter(1);
  fc.assert(
    fc.property(contents, timestamps, fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 100 }), (records, timestamp, base) => {
      const batch = write(records, timestamp, reused);
      expect(batch.length).toBe(reused.byteLength);
      writeBaseOffset(batch, base);
      expect(readBatchHeader(batch, 0, where)).toEqual({
        baseOffset: base,
        nextOffset: base + records.length,
        byteLength: batch.length,
        count: records.length,
        control: false,
      });
      expect(read(batch)).toEqual(records.map((record, at) => ({ ...record, offset: base + at, timestamp })));
    }),
  );
});

test("several batches are read one after the other, from an offset inside one of them", () => {
  fc.assert(
    fc.property(fc.array(contents, { maxLength: 5 }), fc.nat(500), (batches, from) => {
      let base = 0;
      const all = batches.map((records) => {
        const batch = Buffer.from(write(records));
        writeBaseOffset(batch, base);
        base += records.length;
        return batch;
      });
      const expected = batches.flat().map((record, offset) => ({ ...record, offset, timestamp: NOW }));
      const records: LogRecord[] = [];
      expect(readRecords(Buffer.concat(all), where, from, records)).toBe(Math.max(from, base));
      expect(records).toEqual(expected.slice(from));
    }),
  );
});

test("one changed byte is noticed wherever the CRC, the lengths or the format cover it, and never crashes the reader", () => {
  fc.assert(
    fc.property(contents, fc.nat(), fc.integer({ min: 1, max: 255 }), (records, place, flip) => {
      const batch = Buffer.from(write(records));
      const at = place % batch.length;
      batch[at] = batch[at]! ^ flip;
      // base_offset and partition_leader_epoch stand outside the CRC: brokers change them.
      if ((at >= 8 && at < 12) || at >= 16) expect(reasonOf(batch)).toContain("shop.public.orders partition 3");
      else reasonOf(batch);
    }),
  );
});

test("a batch that is cut off anywhere is noticed", () => {
  fc.assert(
    fc.property(contents, fc.nat(), (records, place) => {
      const batch = write(records);
      expect(reasonOf(batch.subarray(0, 1 + (place % (batch.length - 1))))).toMatch(/^the log holds bytes that can't be read/);
    }),
  );
});

test("any bytes at all are records or LOG_CORRUPT", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (array) => reasonOf(Buffer.from(array)) !== "passed"));
});

test("bytes with a right CRC but wrong records inside are noticed and never crash the reader", () => {
  fc.assert(
    fc.property(contents, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (records, changes) => {
      const batch = altered(write(records), (copy) => {
        for (const [place, byte] of changes) copy[21 + (place % (copy.length - 21))] = byte;
      });
      reasonOf(batch);
    }),
    { numRuns: 1_000 },
  );
});

test("what a bad batch holds is not handed out, what stands before it is", () => {
  const good = Buffer.from(write([{ key: null, value: Buffer.from("a"), headers: [] }]));
  const record = { key: null, value: Buffer.from("bcd"), headers: [] };
  // The second record's length says less than it takes.
  const bad = altered(write([record, record]), (copy) => copy.writeUInt8(copy[61 + 10]! - 4, 61 + 10));
  writeBaseOffset(bad, 1);
  const records: LogRecord[] = [];
  expect(() => readRecords(Buffer.concat([good, bad]), where, 0, records)).toThrow(/offset 1/);
  expect(records.map((each) => each.value?.toString())).toEqual(["a"]);
});

test("offsets may skip, as compaction leaves them, but not go back or leave the batch", () => {
  const record = { key: null, value: Buffer.from("v"), headers: [] };
  const gaps = (deltas: readonly number[], last: number): Buffer =>
    altered(write([record, record, record]), (copy) => {
      deltas.forEach((delta, at) => (copy[61 + at * 8 + 3] = delta * 2));
      copy.writeInt32BE(last, 23);
    });
  expect(read(gaps([0, 4, 9], 12)).map((each) => each.offset)).toEqual([0, 4, 9]);
  expect(readBatchHeader(gaps([0, 4, 9], 12), 0, where).nextOffset).toBe(13);
  expect(reasonOf(gaps([0, 4, 4], 12))).toMatch(/offset delta 4 after 4/);
  expect(reasonOf(gaps([0, 4, 13], 12))).toMatch(/offset delta 13/);
  expect(reasonOf(gaps([0, 1, 2], 1))).toMatch(/3 records in 2 offsets/);
});

test("control batches are passed over, but count for the next offset", () => {
  const control = altered(write([{ key: Buffer.alloc(4), value: Buffer.alloc(6), headers: [] }]), (copy) => copy.writeInt16BE(0x30, 21));
  const records: LogRecord[] = [];
  expect(readRecords(control, where, 0, records)).toBe(1);
  expect(records).toEqual([]);
});

test("LogAppendTime batches give the broker's time", () => {
  const batch = altered(write([{ key: null, value: null, headers: [] }]), (copy) => {
    copy.writeInt16BE(0x08, 21);
    copy.writeBigInt64BE(77n, 35);
  });
  expect(read(batch)[0]?.timestamp).toBe(77);
});

test("compressed batches and older formats are refused by name", () => {
  const batch = write([{ key: null, value: null, headers: [] }]);
  expect(reasonOf(altered(batch, (copy) => copy.writeInt16BE(4, 21)))).toMatch(/compressed/);
  expect(reasonOf(altered(batch, (copy) => copy.writeInt8(1, 16)))).toMatch(/record format 1/);
});

test("a tombstone has no value and carries its sequence", () => {
  const writer = new RecordBatchWriter();
  const key = Buffer.from("<key>");
  writer.appendTombstone(key, 1, 4, sequenceText);
  expect(read(writer.finish(NOW))).toEqual([
    { offset: 0, timestamp: NOW, key: Buffer.from("key"), value: null, headers: [[SEQUENCE_HEADER, sequenceText]] },
  ]);
  expect(() => writer.appendTombstone(key, 0, 1, Buffer.from("short"))).toThrow(RangeError);
});

test("the overheads are never exceeded", () => {
  const writer = new RecordBatchWriter();
  const key = Buffer.alloc(70_000);
  for (let at = 0; at < 20_000; at++) {
    const before = writer.byteLength;
    if (at % 2 === 0) writer.append(key, 0, at % 100, key, 0, at % 3_000);
    else writer.appendTombstone(key, 0, at % 100, sequenceText);
    const payload = (at % 100) + (at % 2 === 0 ? at % 3_000 : 0);
    expect(writer.byteLength - before - payload).toBeLessThanOrEqual(at % 2 === 0 ? RECORD_OVERHEAD_BYTES : TOMBSTONE_OVERHEAD_BYTES);
  }
  writer.reset();
  expect([writer.byteLength, writer.count]).toEqual([BATCH_HEADER_BYTES, 0]);
});

test("a batch without records can't be finished", () => {
  expect(() => new RecordBatchWriter().finish(0)).toThrow(RangeError);
});

test("@platformatic/kafka reads the same records", () => {
  fc.assert(
    fc.property(contents, timestamps, (records, timestamp) => {
      const batch = readRecordsBatch(Reader.from(write(records, timestamp)));
      expect([batch.magic, batch.attributes, batch.producerId, batch.lastOffsetDelta, batch.firstTimestamp]).toEqual([
        2,
        0,
        -1n,
        records.length - 1,
        BigInt(timestamp),
      ]);
      expect(batch.records.map((record) => [record.offsetDelta, record.timestampDelta])).toEqual(records.map((_, at) => [at, 0n]));
      // It gives empty buffers for nulls.
      expect(batch.records.map((record) => [record.key, record.value].map((each) => each ?? Buffer.alloc(0)))).toEqual(
        records.map((record) => [record.key, record.value].map((each) => each ?? Buffer.alloc(0))),
      );
    }),
  );
});

test("records that @platformatic/kafka wrote are read", () => {
  const messages = [1, 2, 3].map((n) => ({
    topic: "t",
    key: Buffer.from(`k${n}`),
    value: Buffer.from(`v${n}`),
    timestamp: BigInt(NOW + n * 1_000),
    headers: new Map([[Buffer.from("h"), Buffer.from(`${n}`)]]),
  }));
  const batch = createRecordsBatch(messages, { compression: "none" }).buffer;
  expect(
    read(batch).map((record) => [
      record.offset,
      record.timestamp,
      record.key?.toString(),
      record.value?.toString(),
      record.headers[0]?.[1].toString(),
    ]),
  ).toEqual([1, 2, 3].map((n) => [n - 1, NOW + n * 1_000, `k${n}`, `v${n}`, `${n}`]));
});

type Decoded = {
  records: { offset: string; timestamp: string; key: Buffer | null; value: Buffer | null; headers: Record<string, Buffer> }[];
};

test("kafkajs reads the same records", async () => {
  const require = createRequire(import.meta.url);
  const Decoder = require("kafkajs/src/protocol/decoder.js") as new (bytes: Buffer) => object;
  const decode = require("kafkajs/src/protocol/recordBatch/v0/decoder.js") as (decoder: object) => Promise<Decoded>;
  await fc.assert(
    fc.asyncProperty(contents, timestamps, async (records, timestamp) => {
      const { records: decoded } = await decode(new Decoder(Buffer.from(write(records, timestamp))));
      expect(decoded.map(({ offset, timestamp: ms, key, value }) => ({ offset, ms, key, value }))).toEqual(
        records.map(({ key, value }, at) => ({ offset: `${at}`, ms: `${timestamp}`, key, value })),
      );
    }),
  );
});
