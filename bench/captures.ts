// Captures that go on while something else is measured: of tables that are there, into Kafka or, for Tailrace alone, the
// embedded log. Nothing is read that was there before.
import { rm } from "node:fs/promises";
import path from "node:path";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import type { Surroundings } from "./contestant.ts";
import { connectorConfig, dropDebezium, untilSlot, type DebeziumParts } from "./debezium.ts";
import { ProcessMeter } from "./process-meter.ts";
import { configure, pidOf, publishedEvents, startService, stopService, untilReady, whatArrived } from "./service-process.ts";
import { dropSource } from "./streams.ts";
import { createTopics, deleteTopics, openTopics, recordsOf, type KafkaParts } from "./topics.ts";

export interface Capture {
  /** In the order of the tables. */
  readonly topics: readonly string[];
  /** Of the capturing process, since the capture began. */
  readonly meter: ProcessMeter;
  /** How many changes have arrived. */
  arrived(): Promise<number>;
  /** Ends it and drops what it made. Throws when less or more stands in the log than it said. */
  stop(): Promise<void>;
}

export async function tailraceCapture(
  name: string,
  { client, url, folder }: Surroundings,
  kafka: KafkaParts | null,
  tables: readonly string[],
): Promise<Capture> {
  const dir = path.join(folder, name);
  const topics = tables.map((table) => `${name}.${table}`);
  const http = await configure({ name, url, dir, tables, snapshot: "{ mode: no_data }", kafka });
  const service = startService(dir);
  const meter = new ProcessMeter(pidOf(service));
  await untilReady(service, http);
  const log = kafka === null ? null : openTopics(kafka);
  const arrived = async (): Promise<number> => (log === null ? publishedEvents(http) : recordsOf(log, topics));
  return {
    topics,
    meter,
    arrived,
    stop: async () => {
      const said = await arrived();
      meter.stop();
      await stopService(service);
      if (log === null) {
        await using embedded = await openEmbeddedLog({ path: path.join(dir, "log") });
        const { records } = await whatArrived(embedded, topics);
        if (records !== said) throw new Error(`${records} records stand in the log, ${said} were said to`);
      } else {
        await deleteTopics(log, topics);
        await log[Symbol.asyncDispose]();
      }
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export async function debeziumCapture(
  name: string,
  { client, url }: Surroundings,
  parts: DebeziumParts,
  { tables, tuned }: { readonly tables: readonly string[]; readonly tuned: "throughput" | "latency" },
): Promise<Capture> {
  const topics = tables.map((table) => `${name}.${table}`);
  const log = openTopics(parts.kafka);
  const worker = await parts.worker();
  await createTopics(log, topics);
  const meter = new ProcessMeter(worker.pid);
  await worker.put(name, connectorConfig(parts, { name, url, tables, tuned, snapshot: "no_data" }));
  await untilSlot(client, name, true);
  return {
    topics,
    meter,
    arrived: async () => recordsOf(log, topics),
    stop: async () => {
      meter.stop();
      await worker.stop(name);
      await worker.delete(name);
      await dropDebezium(client, name);
      await deleteTopics(log, topics);
      await log[Symbol.asyncDispose]();
    },
  };
}
