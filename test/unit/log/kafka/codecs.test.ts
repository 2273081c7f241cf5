// Compressed batches made plain: each codec as clients write it, and responses that end in the middle of a batch.
import { gzipSync } from "node:zlib";
import { crc32c } from "@node-rs/crc32";
import { compressionsAlgorithms } from "@platformatic/kafka";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LogRecord } from "../../../../src/core/event-log.ts";
import { readRecords, RecordBatchWriter, stampProducer, writeBaseOffset } from "../../../../src/core/record-batch.ts";
import { compressBatch, plainBatches } from "../../../../src/log/kafka/codecs.ts";

const RECORDS_AT = 61;
const where = { topic: "t", partition: 0 };

function plain(baseOffset: number, keys: readonly string[]): Buffer {
  const writer = new RecordBatchWriter();
  for (const key of keys) writer.append(Buffer.from(key), 0, key.length, null, 0, 0);
  const bytes = Buffer.from(writer.finish(1_000));
  writeBaseOffset(bytes, baseOffset);
  return bytes;
}

/** The batch with its records compressed, as a producer would send it. */
function compressed(batch: Buffer, codec: number, compress: (records: Buffer) => Buffer): Buffer {
  const bytes = Buffer.concat([batch.subarray(0, RECORDS_AT), compress(batch.subarray(RECORDS_AT))]);
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeInt16BE(codec, 21);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}

/** Java's framing of snappy, in blocks of 64 bytes. */
function xerial(records: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])];
  for (let at = 0; at < records.length; at += 64) {
    const block = compressionsAlgorithms.snappy.compressSync(records.subarray(at, at + 64));
    const length = Buffer.alloc(4);
    length.writeInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

function keysIn(bytes: Buffer): string[] {
  const records: LogRecord[] = [];
  readRecords(plainBatches(bytes), where, 0, records);
  return records.map(({ key }) => key?.toString() ?? "");
}

const keys = Array.from({ length: 50 }, (_, at) => `key ${at}`);

test.each([
  ["gzip", 1, (records: Buffer) => gzipSync(records)],
  ["snappy as Java frames it", 2, xerial],
  ["raw snappy", 2, (records: Buffer) => compressionsAlgorithms.snappy.compressSync(records)],
  ["lz4", 3, (records: Buffer) => compressionsAlgorithms.lz4.compressSync(records)],
] as const)("%s batches are read between plain ones", (_name, codec, compress) => {
  const bytes = Buffer.concat([plain(0, ["a"]), compressed(plain(1, keys), codec, compress), plain(51, ["z"])]);
  expect(keysIn(bytes)).toEqual(["a", ...keys, "z"]);
});

test("plain batches are not copied", () => {
  const bytes = Buffer.concat([plain(0, ["a"]), plain(1, ["b"])]);
  expect(plainBatches(bytes).buffer).toBe(bytes.buffer);
});

test("wherever a response is cut off, the whole batches before the cut are read", () => {
  const batches = [plain(0, ["a", "b"]), compressed(plain(2, keys), 1, gzipSync), plain(52, ["z"])];
  const ends = batches.map((_, at) => Buffer.concat(batches.slice(0, at + 1)).length);
  const bytes = Buffer.concat(batches);
  fc.assert(
    fc.property(fc.nat(bytes.length), (cut) => {
      const whole = ends.filter((end) => end <= cut).length;
      expect(keysIn(bytes.subarray(0, cut))).toEqual([["a", "b"], keys, ["z"]].slice(0, whole).flat());
    }),
  );
});

test("a compressed batch with a wrong CRC is refused, not inflated", () => {
  const bytes = compressed(plain(0, keys), 1, gzipSync);
  bytes[70] = (bytes[70] ?? 0) ^ 1;
  expect(() => keysIn(bytes)).toThrow(/CRC/);
});

const hasZstd = compressionsAlgorithms.zstd.available;

test.each([["lz4", 3] as const, ...(hasZstd ? [["zstd", 4] as const] : [])])(
  "our own batches as %s are smaller, and the same when read",
  (codec, bits) => {
    const batch = plain(0, keys);
    const sent = compressBatch(batch, codec);
    stampProducer(sent, 7n, 0, 0);
    expect(sent.length).toBeLessThan(batch.length);
    expect(sent.readInt16BE(21)).toBe(bits);
    expect(sent.readInt32BE(8)).toBe(sent.length - 12);
    const read = Buffer.from(plainBatches(sent));
    stampProducer(read, -1n, -1, -1);
    expect(read.equals(batch)).toBe(true);
  },
);

test("a batch that does not shrink, and any batch without compression, is sent as it is", () => {
  const batch = plain(0, ["k"]);
  expect(compressBatch(batch, "lz4")).toBe(batch);
  expect(compressBatch(plain(0, keys), "none").readInt16BE(21)).toBe(0);
});

test.runIf(!hasZstd)("zstd is refused by a Node.js that lacks it", () => {
  expect(() => compressBatch(plain(0, keys), "zstd")).toThrow("not supported");
});
