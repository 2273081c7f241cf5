// What the tests of the Kafka log share: batches of numbered records, and a log with the open parts closed again.
import { afterEach } from "vitest";
import type { EncodedBatch, EventLog, LogRecord } from "../../src/core/event-log.ts";
import { RecordBatchWriter } from "../../src/core/record-batch.ts";
import { openKafkaLog } from "../../src/log/kafka/kafka-log.ts";
import type { KafkaOptions } from "../../src/log/kafka/options.ts";
import { uniqueName } from "../support/servers.ts";

/** Broker settings: the controller lets a killed broker register again after this, not after 9 s. */
export const QUICK_RESTART = { "broker.session.timeout.ms": 1_500, "broker.heartbeat.interval.ms": 300 };

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((resource) => resource[Symbol.asyncDispose]()));
});

/** Options for a broker without login. */
export function plainOptions(brokers: readonly string[]): KafkaOptions {
  return { brokers, clientId: "log-test", ssl: null, sasl: null, log: null };
}

/** Disposed of after the test. */
export function openLog(options: KafkaOptions): EventLog {
  return closeLater(openKafkaLog(options));
}

export function closeLater<T extends AsyncDisposable>(resource: T): T {
  opened.push(resource);
  return resource;
}

/** A topic of this test alone. */
export async function makeTopic(log: EventLog, partitions = 1, configs: Record<string, string> = {}): Promise<string> {
  return (await log.createTopic({ name: uniqueName("log"), partitions, replication: -1, configs }, within(30_000))).name;
}

export function within(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

/** A batch whose records have the numbers as keys. */
export function numbered(topic: string, partition: number, from: number, count = 1, valueBytes = 20): EncodedBatch {
  const writer = new RecordBatchWriter();
  const value = Buffer.alloc(valueBytes, "v");
  for (let number = from; number < from + count; number++) {
    const key = Buffer.from(String(number));
    writer.append(key, 0, key.length, value, 0, value.length);
  }
  return { topic, partition, bytes: writer.finish(Date.now()), count };
}

/** The numbers of a partition's records, from `offset` on. */
export async function numbersOf(log: EventLog, topic: string, partition = 0, offset = 0): Promise<number[]> {
  const numbers: number[] = [];
  for (let next = offset; ;) {
    const fetched = await log.read({ topic, partition, offset: next }, 4 * 1024 * 1024, within(20_000));
    numbers.push(...fetched.records.map(numberOf));
    if (fetched.next === next) return numbers;
    next = fetched.next;
  }
}

export function numberOf(record: LogRecord): number {
  return Number(record.key?.toString());
}

export function range(from: number, end: number): number[] {
  return Array.from({ length: end - from }, (_, at) => from + at);
}

/** Tries until it passes. */
export async function eventually<T>(attempt: () => Promise<T>, ms = 60_000): Promise<T> {
  for (const end = performance.now() + ms; ; await new Promise((resolve) => setTimeout(resolve, 200))) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}
