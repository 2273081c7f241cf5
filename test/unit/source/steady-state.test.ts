// The hot path from a socket's bytes to finished record batches, once it has run for a while: what a row leaves behind in memory, and
// what it gives the collector to do. A row that leaves one object behind is 16 bytes at least; a million of them an hour is a leak.
import { EventEmitter } from "node:events";
import { GCProfiler, setFlagsFromString, type HeapStatistics } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, expect, test } from "vitest";
import { TableEncoder } from "../../../src/avro/encoder.ts";
import type { EncodedBatch, LogWriter } from "../../../src/core/event-log.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import type { Table } from "../../../src/core/table.ts";
import { CopyTap } from "../../../src/postgres/copy-tap.ts";
import { Changes } from "../../../src/source/changes.ts";
import { Publisher } from "../../../src/source/publisher.ts";

const ROWS_PER_TRANSACTION = 500;
const PARTITIONS = 4;
const WARM_UP = 150_000;
const ROWS = 300_000;
/** What a socket gives at once, bytes. */
const CHUNK_BYTES = 65_536;
/** Half of the smallest object, bytes. */
const LESS_THAN_AN_OBJECT = 8;
/** Four of Node 20's copies that are too long for a loop: Buffer.copy makes a view of about 100 bytes for each. A text of a column would be as much again. */
const VIEWS_BYTES = 500;
const XLOG_HEADER_BYTES = 25;

const columns = [
  ["id", "int8", 1],
  ["customer_id", "int4", 0],
  ["status", "text", 0],
  ["note", "text", 0],
  ["created_at", "timestamptz", 0],
] as const;
const table: Table = {
  schema: "public",
  name: "orders",
  oid: 1,
  identity: "default",
  columns: columns.map(([name, kind, keyPosition]) => ({ name, type: { kind }, typeOid: 0, typeModifier: -1, keyPosition })),
};

/** A log that has everything at once and keeps nothing. */
class ForgetfulWriter implements LogWriter {
  records = 0;
  readonly #ends = new Map<string, number>();

  append(batches: readonly EncodedBatch[]): Promise<readonly number[]> {
    return Promise.resolve(
      batches.map(({ topic, partition, count }) => {
        if (topic.endsWith("orders")) this.records += count;
        const place = `${topic}/${partition}`;
        const base = this.#ends.get(place) ?? 0;
        this.#ends.set(place, base + count);
        return base;
      }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

let collect: () => void;
beforeAll(() => {
  setFlagsFromString("--expose-gc");
  collect = runInNewContext("gc") as () => void;
});

test("a row leaves no object behind, and no bytes", async () => {
  const path = new HotPath();
  await path.run(WARM_UP);
  const before = held();
  await path.run(ROWS);
  const after = held();
  expect(path.writer.records).toBe(WARM_UP + ROWS);
  expect((after.objects - before.objects) / ROWS).toBeLessThan(1);
  expect((after.bytes - before.bytes) / ROWS).toBeLessThan(LESS_THAN_AN_OBJECT);
});

test("the measure sees one small object that each row leaves behind", async () => {
  const kept: object[] = [];
  const path = new HotPath(() => kept.push({}));
  await path.run(WARM_UP);
  const before = held();
  await path.run(ROWS);
  expect((held().objects - before.objects) / ROWS).toBeGreaterThan(LESS_THAN_AN_OBJECT);
});

test("a row gives the collector no more to do than the views that copying takes", async () => {
  const path = new HotPath();
  await path.run(WARM_UP);
  const [profiler, before] = [new GCProfiler(), process.memoryUsage().heapUsed];
  profiler.start();
  await path.run(ROWS);
  const after = process.memoryUsage().heapUsed;
  const collected = profiler.stop().statistics.map(({ beforeGC, afterGC }) => usedBytes(beforeGC) - usedBytes(afterGC));
  const allocated = collected.reduce((sum, bytes) => sum + bytes, after - before);
  expect(allocated / ROWS).toBeLessThan(VIEWS_BYTES);
});

/** Live bytes after a collection: of objects, and of the buffers beside the heap. */
function held(): { readonly objects: number; readonly bytes: number } {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { objects: heapUsed, bytes: arrayBuffers };
}

function usedBytes({ heapStatistics }: { readonly heapStatistics: HeapStatistics }): number {
  return heapStatistics.usedHeapSize;
}

class HotPath {
  readonly writer = new ForgetfulWriter();
  readonly #socket = new EventEmitter() as unknown as NodeJS.ReadableStream;
  readonly #transaction = transactionBytes();
  #commit = 1_000;
  #rows = 0;
  #isPaused = false;

  constructor(onRow: () => void = () => undefined) {
    const publisher = new Publisher({
      writer: this.writer,
      prefix: "shop",
      epoch: 1,
      acknowledged: toLsn(1n),
      published: toLsn(0n),
      counters: 6,
      barrierEnd: 0,
      signal: new AbortController().signal,
      events: {
        backpressure: (paused) => (this.#isPaused = paused),
        published: () => undefined,
        progress: () => undefined,
        announced: () => undefined,
        failed: fail,
      },
    });
    const topic = { name: "shop.public.orders", id: "A", partitions: PARTITIONS };
    const none = Array.from({ length: PARTITIONS }, () => 0);
    const buffers = publisher.addTopic(topic, none, 1 << 20);
    const captured = {
      table,
      label: "public.orders",
      encoder: new TableEncoder({
        table,
        keySchemaId: 1,
        valueSchemaId: 2,
        constants: { version: "0", connector: "shop", database: "shop" },
      }),
      keyIndexes: [0],
      composites: [],
      topic: topic.name,
      own: buffers,
      buffers,
      moves: 0,
      watermarks: none.map(() => null),
      keylessPartition: -1,
      counter: 0,
      transaction: -1n,
      unregistered: null,
      reading: { watched: false, passedBelow: 0n, shapesSeen: 0n, shapesUntold: 0n, letters: null, moves: 0 },
    };
    const changes = new Changes({
      publisher,
      epoch: 1,
      tombstones: true,
      highestTail: null,
      lettersTail: "",
      startedAt: toLsn(1n),
      resolve: () => captured,
      stalled: () => undefined,
      lookAtShapes: () => Promise.reject(new Error("no table has composites")),
      renew: (same) => same,
      snapshots: null,
      deadLetter: ({ error }) => fail(error),
      failed: fail,
    });
    new CopyTap(this.#socket, (bytes, start, end) => {
      onRow();
      changes.take(bytes, start + XLOG_HEADER_BYTES, end, bytes.readUInt32BE(start + 1), bytes.readUInt32BE(start + 5));
    });
    this.#emit(copyData(relationMessage()));
  }

  async run(rows: number): Promise<void> {
    for (let done = 0; done < rows; done += ROWS_PER_TRANSACTION) {
      this.#next();
      do await new Promise((resolve) => setImmediate(resolve));
      while (this.#isPaused);
      this.#rows += ROWS_PER_TRANSACTION;
    }
    while (this.writer.records < this.#rows) await new Promise((resolve) => setImmediate(resolve)); // the last of them gather for a moment
  }

  #next(): void {
    this.#commit += 100;
    const { bytes, beginAt, commitAt } = this.#transaction;
    bytes.writeUInt32BE(this.#commit, beginAt + 5); // final_lsn
    bytes.writeUInt32BE(this.#commit, commitAt + 6); // commit_lsn
    bytes.writeUInt32BE(this.#commit + 10, commitAt + 14); // end_lsn
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) this.#emit(bytes.subarray(at, at + CHUNK_BYTES));
  }

  #emit(chunk: Buffer): void {
    (this.#socket as unknown as EventEmitter).emit("data", chunk);
  }
}

function fail(error: Error): never {
  throw error;
}

/** CopyData with XLogData ('w' and three Int64) around a message. */
function copyData(message: Buffer): Buffer {
  const head = Buffer.alloc(5 + XLOG_HEADER_BYTES);
  head.write("d", 0, "latin1");
  head.writeUInt32BE(4 + XLOG_HEADER_BYTES + message.length, 1);
  head.write("w", 5, "latin1");
  return Buffer.concat([head, message]);
}

function relationMessage(): Buffer {
  return Buffer.from("R\0\0\0\x01public\0orders\0d\0\0", "latin1");
}

function transactionBytes(): { readonly bytes: Buffer; readonly beginAt: number; readonly commitAt: number } {
  const begin = copyData(Buffer.concat([Buffer.from("B"), Buffer.alloc(20)]));
  const rows = Array.from({ length: ROWS_PER_TRANSACTION }, (_, row) => copyData(insertMessage(row)));
  const before = Buffer.concat([begin, ...rows]);
  const commit = copyData(Buffer.concat([Buffer.from("C"), Buffer.alloc(25)]));
  const headBytes = 5 + XLOG_HEADER_BYTES;
  return { bytes: Buffer.concat([before, commit]), beginAt: headBytes, commitAt: before.length + headBytes };
}

function insertMessage(row: number): Buffer {
  const id = Buffer.alloc(8);
  id.writeUInt32BE(row * 7_919, 4);
  const customer = Buffer.alloc(4);
  customer.writeUInt32BE(row);
  const time = Buffer.alloc(8);
  time.writeUInt32BE(190_000, 0);
  const values = [id, customer, Buffer.from("shipped"), Buffer.from(`a note that is longer than a short copy, of row ${row}`), time];
  return Buffer.concat([Buffer.from("I\0\0\0\x01N\0\x05", "latin1"), ...values.map(binary)]);
}

function binary(value: Buffer): Buffer {
  const head = Buffer.from("b\0\0\0\0", "latin1");
  head.writeUInt32BE(value.length, 1);
  return Buffer.concat([head, value]);
}
