// Debezium on Kafka Connect, tuned, draining the same slot's worth of changes and reading the same table.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { EventLog } from "../src/core/event-log.ts";
import type { ConnectorConfig, ConnectWorker } from "./connect-worker.ts";
import type { Contestant, Surroundings } from "./contestant.ts";
import { warmUp, type Load } from "./loads.ts";
import { childrenCpuSeconds, ProcessMeter } from "./process-meter.ts";
import { limitMs } from "./service-process.ts";
import { createTopics, deleteTopics, measuredInKafka, openTopics, recordsOf, untilArrived, type KafkaParts } from "./topics.ts";
import { WalsenderMeter } from "./walsender.ts";

export type Encoding = "json" | "avro";

/** A worker that has a JVM of its own for one encoding, so that its memory is that encoding's. */
export type DebeziumParts = { readonly kafka: KafkaParts; readonly encoding: Encoding; readonly worker: () => Promise<ConnectWorker> };

/** Enough for Java's compilers. */
const WARM_UP_ROWS = 300_000;
/** A connector that has brought nothing has no offset, and would begin at the end of the WAL when it is started again. */
const OFFSET_ROWS = 1_000;
const SLOT_MS = 30_000;

const throughput = { "poll.interval.ms": "100", "producer.override.linger.ms": "50" };
/** Of what was tried, the shortest time from commit to topic. */
const quick = { "poll.interval.ms": "10", "producer.override.linger.ms": "5" };

type Wanted = {
  readonly name: string;
  readonly url: string;
  readonly tables: readonly string[];
  readonly tuned: "throughput" | "latency";
  readonly snapshot: "no_data" | "initial_only";
};

/** Topics are `<name>.<schema>.<table>`; slot and publication are called `name`. */
export function connectorConfig({ kafka, encoding }: Omit<DebeziumParts, "worker">, wanted: Wanted): ConnectorConfig {
  const { hostname, port, username, password, pathname } = new URL(wanted.url);
  return {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "database.hostname": hostname,
    "database.port": port,
    "database.user": decodeURIComponent(username),
    "database.password": decodeURIComponent(password),
    "database.dbname": pathname.slice(1),
    "topic.prefix": wanted.name,
    "table.include.list": wanted.tables.join(","),
    "plugin.name": "pgoutput",
    "slot.name": wanted.name,
    "publication.name": wanted.name,
    "publication.autocreate.mode": "filtered",
    "snapshot.mode": wanted.snapshot,
    "snapshot.fetch.size": "10240",
    // Sketches of latencies, on by default, which nobody looks at here.
    "statistics.metrics.enabled": "false",
    "max.batch.size": "20000",
    "max.queue.size": "100000",
    "producer.override.batch.size": "1048576",
    "producer.override.compression.type": "lz4",
    "producer.override.buffer.memory": "134217728",
    ...(wanted.tuned === "latency" ? quick : throughput),
    ...converter("key", encoding, kafka),
    ...converter("value", encoding, kafka),
  };
}

function converter(of: "key" | "value", encoding: Encoding, { registry }: KafkaParts): ConnectorConfig {
  const name = `${of}.converter`;
  if (encoding === "json") return { [name]: "org.apache.kafka.connect.json.JsonConverter", [`${name}.schemas.enable`]: "false" };
  const apicurio = `${name}.apicurio.registry`;
  return {
    [name]: "io.apicurio.registry.utils.converter.AvroConverter",
    [`${apicurio}.url`]: new URL("/apis/registry/v2", registry).href,
    [`${apicurio}.auto-register`]: "true",
    [`${apicurio}.find-latest`]: "true",
    [`${apicurio}.headers.enabled`]: "false",
    [`${apicurio}.as-confluent`]: "true",
    [`${apicurio}.use-id`]: "contentId",
  };
}

/** From the first record that is seen in Kafka to the last; the CPU is the worker's in that time. */
export function debezium(name: string, { client, url }: Surroundings, parts: DebeziumParts, load: Load): Contestant {
  const { kafka } = parts;
  const topics = load.tables.map((table) => `${name}.${table}`);
  const warmUpTopics = warmUp.tables.map((table) => `${name}.${table}`);
  const log = openTopics(kafka);
  return {
    warmUp: async () => {
      const worker = await parts.worker();
      await createTopics(log, [...topics, ...warmUpTopics], load.partitions);
      await bringWarmUp({ client, url }, parts, worker, { name, log, tables: load.tables, rows: OFFSET_ROWS });
      await worker.stop(name);
      await untilSlot(client, name, false);
    },
    prepare: async () => undefined, // the slot is there since the warm-up
    run: async (rows) => {
      const worker = await parts.worker();
      const meter = new ProcessMeter(worker.pid);
      const arriving = untilArrived({ log, topics, rows, limit: limitMs(rows), isAlive: () => worker.isAlive }, kafka);
      arriving.catch(() => undefined); // awaited below
      const walsender = await WalsenderMeter.open(url, name);
      await worker.resume(name);
      const arrived = await arriving.finally(() => {
        meter.stop();
        walsender.stop();
      });
      await worker.stop(name);
      return measuredInKafka(
        { ...arrived, records: await recordsOf(log, topics) },
        { rows, meter, serverSeconds: walsender.totalCpuSeconds },
      );
    },
    tidy: async () => {
      await (await parts.worker()).delete(name);
      await dropDebezium(client, name);
      await deleteTopics(log, [...topics, ...warmUpTopics]);
      await log[Symbol.asyncDispose]();
    },
  };
}

/**
 * Its initial snapshot, which is one session's: from the first record that is seen in Kafka to the last, without the start of
 * the connector. The worker is as warm as its last run has left it.
 */
export function debeziumSnapshot(name: string, { client, url, postmaster }: Surroundings, parts: DebeziumParts, table: string): Contestant {
  const { kafka } = parts;
  const topics = [`${name}.${table}`];
  const log = openTopics(kafka);
  return {
    prepare: async () => {
      await parts.worker();
      await createTopics(log, topics);
    },
    run: async (rows) => {
      const worker = await parts.worker();
      const before = childrenCpuSeconds(postmaster);
      const meter = new ProcessMeter(worker.pid);
      const arriving = untilArrived({ log, topics, rows, limit: limitMs(rows), isAlive: () => worker.isAlive }, kafka);
      arriving.catch(() => undefined); // awaited below
      await worker.put(name, connectorConfig(parts, { name, url, tables: [table], tuned: "throughput", snapshot: "initial_only" }));
      const arrived = await arriving.finally(() => meter.stop());
      const serverSeconds = childrenCpuSeconds(postmaster) - before;
      await worker.stop(name);
      return measuredInKafka({ ...arrived, records: await recordsOf(log, topics) }, { rows, meter, serverSeconds });
    },
    tidy: async () => {
      await (await parts.worker()).delete(name);
      await dropDebezium(client, name);
      await deleteTopics(log, topics);
      await log[Symbol.asyncDispose]();
    },
  };
}

/** Has a worker that was just started bring rows that nobody measures, until it is as fast as it gets. */
export async function warmWorker(
  { client, url }: Pick<Surroundings, "client" | "url">,
  parts: Omit<DebeziumParts, "worker">,
  worker: ConnectWorker,
): Promise<void> {
  const name = `bench_warm_up_${parts.encoding}`;
  const topics = warmUp.tables.map((table) => `${name}.${table}`);
  await using log = openTopics(parts.kafka);
  await createTopics(log, topics);
  await bringWarmUp({ client, url }, parts, worker, { name, log, tables: [], rows: WARM_UP_ROWS });
  await worker.stop(name);
  await worker.delete(name);
  await dropDebezium(client, name);
  await deleteTopics(log, topics);
}

/** Makes a connector of these tables and the warm-up's, and has it bring `rows` rows of the latter. */
async function bringWarmUp(
  { client, url }: Pick<Surroundings, "client" | "url">,
  parts: Omit<DebeziumParts, "worker">,
  worker: ConnectWorker,
  { name, log, tables, rows }: { readonly name: string; readonly log: EventLog; readonly tables: readonly string[]; readonly rows: number },
): Promise<void> {
  const { rows: found } = await client.query("SELECT 1 WHERE to_regclass($1) IS NOT NULL", [warmUp.tables[0]]);
  if (found.length === 0) for (const statement of warmUp.create) await client.query(statement);
  const { rows: last } = await client.query<{ id: number }>(`SELECT coalesce(max(id), 0)::int AS id FROM ${warmUp.tables[0] ?? ""}`);
  const wanted = { name, url, tables: [...tables, ...warmUp.tables], tuned: "throughput", snapshot: "no_data" } as const;
  await worker.put(name, connectorConfig(parts, wanted));
  await untilSlot(client, name, true);
  const topics = warmUp.tables.map((table) => `${name}.${table}`);
  const arriving = untilArrived({ log, topics, rows, limit: limitMs(rows), isAlive: () => worker.isAlive }, parts.kafka);
  arriving.catch(() => undefined); // awaited below
  await client.query(warmUp.fill(last[0]?.id ?? 0, rows));
  await arriving;
}

/** Slot and publication of a connector that is stopped or gone; its walsender may still be on its way out. */
export async function dropDebezium(client: pg.Client, name: string): Promise<void> {
  await untilSlot(client, name, false);
  await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [name]);
  await client.query(`DROP PUBLICATION IF EXISTS ${name}`);
}

/** Until somebody reads the slot, or nobody does. */
export async function untilSlot(client: pg.Client, name: string, active: boolean): Promise<void> {
  for (const deadline = performance.now() + SLOT_MS; performance.now() < deadline; await sleep(20)) {
    const { rows } = await client.query<{ active: boolean }>("SELECT active FROM pg_replication_slots WHERE slot_name = $1", [name]);
    if ((rows[0]?.active ?? false) === active) return;
  }
  throw new Error(`slot ${name} is ${active ? "read by nobody" : "still being read"}`);
}
