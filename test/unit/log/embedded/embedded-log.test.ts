// What the embedded log promises beyond the port: it outlives its process, notices damage, and cleans up.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EncodedBatch, EventLog, Topic } from "../../../../src/core/event-log.ts";
import { RecordBatchWriter } from "../../../../src/core/record-batch.ts";
import { openEmbeddedLog } from "../../../../src/log/embedded/embedded-log.ts";
import { batchKey, Store } from "../../../../src/log/embedded/store.ts";

const { signal } = new AbortController();
let folder: string;
beforeEach(async () => void (folder = await mkdtemp(path.join(tmpdir(), "tailrace-log-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

function batch(topic: string, ...keys: string[]): EncodedBatch {
  const writer = new RecordBatchWriter();
  for (const key of keys) writer.append(Buffer.from(key), 0, key.length, null, 0, 0);
  return { topic, partition: 0, bytes: writer.finish(1), count: writer.count };
}

async function withLog<T>(use: (log: EventLog) => Promise<T>): Promise<T> {
  const log = await openEmbeddedLog({ path: folder });
  try {
    return await use(log);
  } finally {
    await log[Symbol.asyncDispose]();
  }
}

/** A topic with the batches [a b] [c] [d e f]. */
const filled = (log: EventLog): Promise<Topic> =>
  log.createTopic({ name: "t", partitions: 2, replication: -1, configs: { "max.message.bytes": "1000" } }, signal).then(async (topic) => {
    const writer = await log.openWriter({ name: "w" }, signal);
    for (const keys of [["a", "b"], ["c"], ["d", "e", "f"]]) await writer.append([batch("t", ...keys)], signal);
    return topic;
  });

async function withStore(use: (store: Store) => Promise<void>): Promise<void> {
  const store = await Store.open(folder);
  await use(store);
  await store.close();
}

test("topics, ids, configs, records and offsets are there after a restart, and appends go on", async () => {
  const made = await withLog(filled);
  await withLog(async (log) => {
    expect(await log.topics(["t"], signal)).toEqual([made]);
    expect(await log.topicConfigs("t", ["max.message.bytes", "cleanup.policy"], signal)).toEqual({
      "max.message.bytes": "1000",
      "cleanup.policy": "delete",
    });
    expect(await log.offsets("t", signal)).toEqual([
      { topic: "t", partition: 0, start: 0, end: 6 },
      { topic: "t", partition: 1, start: 0, end: 0 },
    ]);
    const writer = await log.openWriter({ name: "w" }, signal);
    expect(await writer.append([batch("t", "g")], signal)).toEqual([6]);
    const { records } = await log.read({ topic: "t", partition: 0, offset: 1 }, 1_000_000, signal);
    expect(records.map((record) => record.key?.toString()).join("")).toBe("bcdefg");
  });
});

test("what a group committed is kept for lag tools", async () => {
  await withLog(async (log) => {
    await filled(log);
    const reader = await log.openReader("lake", [{ topic: "t", partition: 0, offset: 0 }], signal);
    await reader.commit([{ topic: "t", partition: 0, offset: 4 }]);
  });
  await withStore(async (store) => {
    expect(store.groups.getBinary(Buffer.from("lake\0t\x000"))?.toString()).toBe("4");
  });
});

test("a changed byte, a missing batch and a batch in a wrong place are LOG_CORRUPT, and earlier offsets stay readable", async () => {
  const { id } = await withLog(filled);
  const key = (base: number): Buffer => batchKey(Buffer.from(id, "hex"), 0, base);
  const readFrom = (offset: number): Promise<unknown> =>
    withLog((log) => log.read({ topic: "t", partition: 0, offset }, 1_000_000, signal));
  let good: Buffer = Buffer.alloc(0);
  await withStore(async (store) => {
    good = store.batches.get(key(2))!;
    const bad = Buffer.from(good);
    bad[65] = bad[65]! ^ 1;
    await store.commit([{ table: store.batches, key: key(2), value: bad }]);
  });
  await expect(readFrom(0)).rejects.toMatchObject({
    code: "LOG_CORRUPT",
    message: expect.stringContaining("t partition 0 offset 2: the CRC") as string,
  });
  await expect(withLog((log) => log.read({ topic: "t", partition: 0, offset: 0 }, 1, signal))).resolves.toMatchObject({ next: 2 });

  await withStore((store) => store.commit([{ table: store.batches, key: key(2), value: null }]));
  await expect(readFrom(0)).rejects.toMatchObject({
    code: "LOG_CORRUPT",
    message: expect.stringContaining("offset 2: the next batch has base offset 3") as string,
  });
  await expect(readFrom(2)).rejects.toMatchObject({ code: "LOG_CORRUPT" });

  await withStore(async (store) => {
    const elsewhere = Buffer.from(good);
    elsewhere.writeBigInt64BE(1n);
    await store.commit([{ table: store.batches, key: key(2), value: elsewhere }]);
  });
  await expect(readFrom(2)).rejects.toMatchObject({
    code: "LOG_CORRUPT",
    message: expect.stringContaining("another base offset") as string,
  });
});

test("a deleted topic's batches go, also when the deletion was cut short, and no other topic's", async () => {
  await withLog(async (log) => {
    await filled(log);
    await log.createTopic({ name: "kept", partitions: 1, replication: -1, configs: {} }, signal);
    await (await log.openWriter({ name: "w" }, signal)).append([batch("kept", "k")], signal);
  });
  // As a process leaves it that dies between the two steps: no topic, many batches.
  await withStore(async (store) => {
    const changes = Array.from({ length: 2_500 }, (_, base) => ({
      table: store.batches,
      key: batchKey(Buffer.alloc(16, 0xff), 3, base),
      value: Buffer.from("x"),
    }));
    await store.commit([...changes, { table: store.topics, key: Buffer.from("t"), value: null }]);
  });
  await withLog(async (log) => {
    for (let wait = 0; wait < 20; wait++) await log.createTopic({ name: "kept", partitions: 1, replication: -1, configs: {} }, signal); // each waits for a commit of its own
    expect(await log.topics(["t"], signal)).toEqual([]);
    expect((await log.read({ topic: "kept", partition: 0, offset: 0 }, 1_000, signal)).records).toHaveLength(1);
  });
  await withStore(async (store) => expect(store.batches.getCount()).toBe(1));
});

test("a reader whose topic was made again says that it was lost", async () => {
  await withLog(async (log) => {
    await filled(log);
    const reader = await log.openReader("g", [{ topic: "t", partition: 1, offset: 0 }], signal);
    await log.deleteTopic("t", signal);
    await expect(reader.poll({ maxBytes: 1, waitMs: 10 }, signal)).rejects.toMatchObject({ code: "TOPIC_LOST" });
    await filled(log);
    await expect(reader.poll({ maxBytes: 1, waitMs: 10 }, signal)).rejects.toMatchObject({ code: "TOPIC_LOST" });
  });
});

test("a caller that polls in a loop keeps no timer or socket from its turn", async () => {
  await withLog(async (log) => {
    await filled(log);
    const timer = { fired: false };
    setTimeout(() => (timer.fired = true), 1);
    for (let polls = 0; !timer.fired; polls++) {
      expect(polls).toBeLessThan(5_000);
      const reader = await log.openReader("g", [{ topic: "t", partition: 0, offset: 0 }], signal);
      await reader.poll({ maxBytes: 1_000, waitMs: 1_000 }, signal);
      await reader[Symbol.asyncDispose]();
    }
  });
});

test("closing the log ends waiting polls and refuses what comes after by name", async () => {
  const log = await openEmbeddedLog({ path: folder });
  await filled(log);
  const writer = await log.openWriter({ name: "w" }, signal);
  const reader = await log.openReader("g", [{ topic: "t", partition: 0, offset: 6 }], signal);
  const polled = reader.poll({ maxBytes: 1, waitMs: 60_000 }, signal);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all([log[Symbol.asyncDispose](), expect(polled).rejects.toMatchObject({ code: "LOG_UNREACHABLE" })]);
  await log[Symbol.asyncDispose]();
  await expect(writer.append([batch("t", "x")], signal)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
  await expect(log.offsets("t", signal)).rejects.toMatchObject({
    code: "LOG_UNREACHABLE",
    message: expect.stringContaining("closed") as string,
  });
});
