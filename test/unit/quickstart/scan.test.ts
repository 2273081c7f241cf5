import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import avsc from "avsc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tableSchemas } from "../../../src/avro/schema.ts";
import type { EventLog } from "../../../src/core/event-log.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { RecordBatchWriter } from "../../../src/core/record-batch.ts";
import type { SchemaRegistry } from "../../../src/core/schema-registry.ts";
import { formatSequence } from "../../../src/core/sequence.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";
import { scanLog } from "../../../src/quickstart/scan.ts";

const TABLE = { schema: "public", name: "things" };
const TOPIC = "p.public.things";
const SIGNAL = new AbortController().signal;
const SCHEMA = tableSchemas({ ...TABLE, columns: [{ name: "id", type: { kind: "int4" }, keyPosition: 1 }] }, TOPIC).value;
const registry: SchemaRegistry = {
  address: "memory",
  url: "memory",
  latest: async () => SCHEMA,
  register: async () => 7,
  schema: async () => SCHEMA,
};

let folder: string;
let log: EventLog;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tailrace-scan-"));
  log = await openEmbeddedLog({ path: folder });
  await log.createTopic({ name: TOPIC, partitions: 2, replication: -1, configs: {} }, SIGNAL);
});
afterEach(async () => {
  await log[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A row's event, or `!` before the number: a delete's tombstone. The number is the commit LSN. */
async function append(partition: number, ...commits: (number | `!${number}`)[]): Promise<void> {
  const batch = new RecordBatchWriter();
  for (const commit of commits) {
    if (typeof commit === "string") {
      const sequence = formatSequence({ epoch: 1, commitLsn: toLsn(BigInt(commit.slice(1))), ordinal: 0 });
      batch.appendTombstone(Buffer.from("key"), 0, 3, Buffer.from(sequence));
      continue;
    }
    const value = Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), event(commit)]);
    batch.append(Buffer.from("key"), 0, 3, value, 0, value.length);
  }
  await using writer = await log.openWriter({ name: "test" }, SIGNAL);
  await writer.append([{ topic: TOPIC, partition, bytes: batch.finish(0), count: batch.count }], SIGNAL);
}

function event(commitLsn: number, op = "c", ordinal = 0): Buffer {
  const texts = { version: "0", connector: "postgresql", name: "p", snapshot: "false", db: "d", schema: TABLE.schema, table: TABLE.name };
  const source = { ...texts, ts_ms: 0, ts_us: 0, txId: null, lsn: null, epoch: 1, commit_lsn: commitLsn, ordinal };
  return avsc.Type.forSchema(JSON.parse(SCHEMA) as avsc.Schema, { wrapUnions: true }).toBuffer({
    before: null,
    after: null,
    source,
    op,
    ts_ms: null,
    unchanged: [],
    moved_from: null,
  });
}

const scan = () => scanLog({ log, registry }, "p", [TABLE, { schema: "public", name: "absent" }], SIGNAL);

test("events and tombstones are counted by table; a tombstone repeats its delete's sequence and is no duplicate", async () => {
  await append(0, 1, 2, "!2", 5);
  await append(1, 2, 3, "!3");
  expect(await scan()).toMatchObject({
    events: 5,
    tables: [
      { table: "public.things", events: 5, tombstones: 2 },
      { table: "public.absent", events: 0, tombstones: 0 },
    ],
    duplicates: 0,
    backwards: 0,
    deadLetters: 0,
    ranges: [
      { partition: 0, end: 4 },
      { partition: 1, end: 3 },
    ],
  });
});

test("what was appended twice is found, at once or much later", async () => {
  await append(0, 1, 1, 2, 3);
  await append(0, 2, "!2", "!2");
  expect(await scan()).toMatchObject({ events: 5, duplicates: 3, backwards: 1 });
});

test("a sequence that goes backwards without standing twice is no duplicate", async () => {
  await append(0, 1, 4);
  await append(0, 3);
  await append(1, 4); // another partition's
  expect(await scan()).toMatchObject({ events: 4, duplicates: 0, backwards: 1 });
});

test("a tombstone without a sequence, and a value that is no event, are errors by name", async () => {
  const batch = new RecordBatchWriter();
  batch.appendWithHeaders(Buffer.from("key"), null, []);
  await using writer = await log.openWriter({ name: "test" }, SIGNAL);
  await writer.append([{ topic: TOPIC, partition: 0, bytes: batch.finish(0), count: 1 }], SIGNAL);
  await expect(scan()).rejects.toMatchObject({ code: "LOG_CORRUPT" });
});

test("rows of a chunk are events too: they share the mark's commit, and each has a sequence of its own", async () => {
  const batch = new RecordBatchWriter();
  for (const ordinal of [0, 1, 2, 2]) {
    const value = Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), event(9, "r", ordinal)]);
    batch.append(Buffer.from("key"), 0, 3, value, 0, value.length);
  }
  await using writer = await log.openWriter({ name: "test" }, SIGNAL);
  await writer.append([{ topic: TOPIC, partition: 0, bytes: batch.finish(0), count: batch.count }], SIGNAL);
  expect(await scan()).toMatchObject({ events: 4, duplicates: 1, backwards: 0 });
});
