// The events that sinks are measured by: a log with the benchmark's table in it, as a source would have written it.
import path from "node:path";
import { FRAME_BYTES, TableEncoder } from "../src/avro/encoder.ts";
import { tableSchemas } from "../src/avro/schema.ts";
import { barrierTopicSpec } from "../src/core/barrier.ts";
import { ByteWriter } from "../src/core/byte-writer.ts";
import type { EncodedBatch, EventLog, LogWriter, Topic } from "../src/core/event-log.ts";
import { toLsn, ZERO_LSN } from "../src/core/lsn.ts";
import { partitionOf } from "../src/core/partition.ts";
import { RecordBatchWriter } from "../src/core/record-batch.ts";
import { formatSequence } from "../src/core/sequence.ts";
import type { SchemaRegistry } from "../src/core/schema-registry.ts";
import { stateTopicSpec, writeState } from "../src/core/source-state.ts";
import type { ColumnType, Table } from "../src/core/table.ts";
import { Tuple, tupleState } from "../src/core/tuple.ts";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { openConfluentRegistry } from "../src/registry/confluent.ts";
import { EmbeddedRegistry } from "../src/registry/embedded.ts";
import { openRegistryStore } from "../src/registry/store.ts";
import { openTopics, type KafkaParts } from "./topics.ts";

/** Where a log is: a folder that it is embedded in; with `kafka` the topics there that are named after it. */
export type LogPlace = { readonly folder: string; readonly kafka: Pick<KafkaParts, "brokers" | "registry"> | null };

const PARTITIONS = 4;
const ROWS_PER_TRANSACTION = 1_000;
/** What a source makes durable at once, about 512 KiB. */
const TRANSACTIONS_PER_APPEND = 3;
const STATUSES = ["new", "paid", "shipped", "done"] as const;

const TYPES: Readonly<Record<string, ColumnType>> = {
  id: { kind: "int8" },
  customer_id: { kind: "int4" },
  status: { kind: "text" },
  amount: { kind: "decimal", precision: 12, scale: 2 },
  quantity: { kind: "int4" },
  note: { kind: "text" },
  created_at: { kind: "timestamptz" },
  updated_at: { kind: "timestamptz" },
};

const orders: Table = {
  schema: "public",
  name: "orders",
  oid: 16_384,
  identity: "default",
  columns: Object.entries(TYPES).map(([name, type], at) => ({ name, type, typeOid: 0, typeModifier: -1, keyPosition: at === 0 ? 1 : 0 })),
};

/** Of a place's topics. */
export function prefixOf({ folder }: LogPlace): string {
  return path.basename(folder);
}

/** Log and registry of a place, as a sink reads them. */
export async function openParts({
  folder,
  kafka,
}: LogPlace): Promise<{ readonly log: EventLog; readonly registry: SchemaRegistry; close(): Promise<void> }> {
  if (kafka !== null) {
    const log = openTopics(kafka);
    return { log, registry: openConfluentRegistry({ url: () => kafka.registry }), close: async () => log[Symbol.asyncDispose]() };
  }
  const log = await openEmbeddedLog({ path: path.join(folder, "log") });
  const store = openRegistryStore(path.join(folder, "registry"));
  const registry = new EmbeddedRegistry({ store, address: folder });
  return {
    log,
    registry,
    close: async () => {
      await log[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

/** Appends an insert, or an update, of each key from 1 to `rows`; updates in another order than inserts. */
export async function fillLog(place: LogPlace, what: "inserts" | "updates", rows: number): Promise<void> {
  const { signal } = new AbortController();
  const prefix = prefixOf(place);
  const { log, registry, close } = await openParts(place);
  const topic = await log.createTopic({ name: `${prefix}.public.orders`, partitions: PARTITIONS, replication: -1, configs: {} }, signal);
  const schemas = tableSchemas(orders, topic.name);
  const encoder = new TableEncoder({
    table: orders,
    keySchemaId: await registry.register(`${topic.name}-key`, schemas.key ?? "", signal),
    valueSchemaId: await registry.register(`${topic.name}-value`, schemas.value, signal),
    constants: { version: "0.1.0", connector: prefix, database: "store" },
  });
  const writer = await log.openWriter({ name: prefix }, signal);
  if (what === "inserts") await writeSourceState(log, writer, prefix, topic, signal);
  await append(writer, topic, encoder, what, rows, signal);
  await writer[Symbol.asyncDispose]();
  await close();
}

async function append(
  writer: LogWriter,
  topic: Topic,
  encoder: TableEncoder,
  what: "inserts" | "updates",
  rows: number,
  signal: AbortSignal,
): Promise<void> {
  const batches = Array.from({ length: PARTITIONS }, () => new RecordBatchWriter());
  const [key, value] = [new ByteWriter(64), new ByteWriter(1024)];
  const tuple = new Tuple(orders.columns.length);
  const step = what === "inserts" ? 1 : coprimeStep(rows);
  const transactions = Math.ceil(rows / ROWS_PER_TRANSACTION);
  const before = what === "inserts" ? 0 : transactions;
  for (let transaction = 1, row = 0; transaction <= transactions; transaction++) {
    const micros = 1_780_000_000_000_000n + BigInt(before + transaction) * 1_000n;
    const commitLsn = commitLsnOf(before + transaction);
    encoder.beginTransaction({ epoch: 1, commitLsn, commitMicros: micros, xid: before + transaction, processedMs: 0, snapshot: false });
    for (let ordinal = 0; ordinal < ROWS_PER_TRANSACTION && row < rows; ordinal++, row++) {
      fillTuple(tuple, 1 + ((row * step) % rows), what);
      key.position = 0;
      value.position = 0;
      encoder.writeKey(tuple, null, key);
      encoder.writeEvent(what === "inserts" ? "c" : "u", null, tuple, 2 * ordinal, 0, 0, null, value);
      const partition = partitionOf(key.bytes, FRAME_BYTES, key.position, PARTITIONS);
      batches[partition]!.append(key.bytes, 0, key.position, value.bytes, 0, value.position);
    }
    if (transaction % TRANSACTIONS_PER_APPEND !== 0 && transaction < transactions) continue;
    const encoded = batches.flatMap((batch, partition): EncodedBatch[] =>
      batch.count === 0 ? [] : [{ topic: topic.name, partition, bytes: batch.finish(0), count: batch.count }],
    );
    await writer.append(encoded, signal);
    for (const batch of batches) batch.reset();
  }
}

function commitLsnOf(transaction: number): bigint {
  return BigInt(transaction) * 200_000n;
}

/** The text form of a sequence between the inserts and the updates. */
export function endOfInserts(rows: number): string {
  const commitLsn = toLsn(commitLsnOf(Math.ceil(rows / ROWS_PER_TRANSACTION)));
  return formatSequence({ epoch: 1, commitLsn, ordinal: 2 * ROWS_PER_TRANSACTION });
}

/** Walks through all of `rows` in leaps, no key twice. */
function coprimeStep(rows: number): number {
  let step = Math.max(1, Math.floor(rows * 0.618));
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  while (divisor(step, rows) !== 1) step += 1;
  return step;
}

function fillTuple(tuple: Tuple, id: number, what: "inserts" | "updates"): void {
  const amount = ((id * (what === "inserts" ? 1 : 3)) % 100_000) / 100;
  const texts = [
    String(id),
    String(id % 50_000),
    STATUSES[id % 4]!,
    amount.toFixed(2),
    String(id % 10),
    `order note number ${id}`,
    "2026-05-29 12:00:00.123456+00",
    `2026-05-29 12:${String(id % 60).padStart(2, "0")}:00.123456+00`,
  ];
  tuple.bytes = Buffer.from(texts.join(""));
  tuple.columns = texts.length;
  let at = 0;
  for (const [index, text] of texts.entries()) {
    tuple.state[index] = tupleState.text;
    tuple.start[index] = at;
    tuple.length[index] = text.length;
    at += text.length;
  }
}

async function writeSourceState(log: EventLog, writer: LogWriter, prefix: string, { name, id }: Topic, signal: AbortSignal): Promise<void> {
  await log.createTopic(stateTopicSpec(prefix, 1), signal);
  const barriers = await log.createTopic(barrierTopicSpec(prefix, 1), signal);
  const topics = [{ name, id, partitions: PARTITIONS, table: { schema: orders.schema, name: orders.name } }];
  const place = { generation: 1, number: 1, epoch: 1, systemId: "1", timeline: 1, slot: "s", options: "", publication: "" };
  const progress = { acknowledged: ZERO_LSN, published: ZERO_LSN, phase: "streaming" as const };
  await writeState(
    writer,
    prefix,
    { ...place, ...progress, barriers: barriers.id, topics, snapshots: [], layouts: [], parked: [], versions: [], retired: [] },
    signal,
  );
}
