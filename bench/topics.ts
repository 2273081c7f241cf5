// What arrives in Kafka, seen from outside: the same eyes for everybody who writes there.
import { setTimeout as sleep } from "node:timers/promises";
import { TailraceError } from "../src/core/errors.ts";
import type { EventLog } from "../src/core/event-log.ts";
import { openKafkaLog } from "../src/log/kafka/kafka-log.ts";
import { openLog } from "../src/telemetry/log.ts";
import { perMillion, perSecond, type Measured } from "./contestant.ts";
import { PARTITIONS } from "./loads.ts";
import { ProcessMeter } from "./process-meter.ts";

const REQUEST_MS = 30_000;
/** Between two looks, for each topic: what a time of arrival may be wrong by. Looking costs the broker, and the slower the more. */
const POLL_MS = 20;
const POLL_AT_MOST_MS = 1_000;

/** Kafka, and the registry for its Avro. */
export type KafkaParts = {
  readonly brokers: readonly string[];
  /** Confluent's API. */
  readonly registry: string;
  readonly brokerPid: number;
};

export type Arrivals = {
  readonly records: number;
  /** When the first and the last were seen, ms since 1970. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Records that were there at firstMs: they took no time that was measured. */
  readonly firstRecords: number;
  /** Of the broker, between the two. */
  readonly brokerSeconds: number;
};

export function openTopics({ brokers }: Pick<KafkaParts, "brokers">): EventLog {
  return openKafkaLog({ brokers: [...brokers], clientId: "tailrace-bench", log: openLog({ level: "silent" }), ssl: null, sasl: null });
}

/** Makes topics as a source of ours would, by default. */
export async function createTopics(log: EventLog, names: readonly string[], partitions = PARTITIONS): Promise<void> {
  for (const name of names) await log.createTopic({ name, partitions, replication: -1, configs: {} }, AbortSignal.timeout(REQUEST_MS));
}

/** Records of one topic of `names` after the other must not pile up on disk. */
export async function deleteTopics(log: EventLog, names: readonly string[]): Promise<void> {
  for (const name of names) await log.deleteTopic(name, AbortSignal.timeout(REQUEST_MS));
}

/**
 * Looks at the ends of topics until `rows` records have arrived since the call; the topics may not be there yet. Throws when that
 * takes longer than `limit` ms, and when `isAlive` says no. Where most came at once there is nothing to time but the whole, from the call.
 */
export async function untilArrived(
  { log, topics, rows, limit, isAlive }: Arriving,
  { brokerPid }: Pick<KafkaParts, "brokerPid">,
): Promise<Arrivals> {
  const broker = new ProcessMeter(brokerPid);
  try {
    const before = await recordsOf(log, topics);
    const begun = { ms: Date.now(), records: 0 };
    const deadline = performance.now() + limit;
    let first: { readonly ms: number; readonly records: number } | null = null;
    for (let seen = 0; ; await sleep(Math.min(POLL_MS * topics.length, POLL_AT_MOST_MS))) {
      const records = (await recordsOf(log, topics)) - before;
      const ms = Date.now();
      if (records > 0) first ??= { ms, records };
      if (first !== null && records >= rows) {
        broker.stop();
        const from = first.records > rows / 2 ? begun : first;
        return { records, firstMs: from.ms, lastMs: ms, firstRecords: from.records, brokerSeconds: broker.cpuSeconds(from.ms, ms) };
      }
      seen = Math.max(seen, records);
      if (!isAlive()) throw new Error(`the process ended when ${seen} of ${rows} records had arrived`);
      if (performance.now() > deadline) throw new Error(`${seen} of ${rows} records arrived within ${Math.round(limit / 1_000)} s`);
    }
  } finally {
    broker.stop();
  }
}

/**
 * The figures of a run whose rows ended in Kafka: of the time between the first record that was seen there and the last, with
 * what came in it. Throws when `records`, counted after the end, is not what was sent.
 */
export function measuredInKafka(
  { records, firstRecords, firstMs, lastMs, brokerSeconds }: Arrivals,
  { rows, meter, serverSeconds }: { readonly rows: number; readonly meter: ProcessMeter; readonly serverSeconds: number },
): Measured {
  if (records !== rows) throw new Error(`${records} records stand in Kafka, ${rows} rows were written`);
  const timed = rows - firstRecords;
  return {
    rowsPerSecond: perSecond(timed, lastMs - firstMs),
    cpuSecondsPerMillion: perMillion(meter.cpuSeconds(firstMs, lastMs), timed),
    serverSecondsPerMillion: perMillion(serverSeconds, rows),
    brokerSecondsPerMillion: perMillion(brokerSeconds, timed),
    peakRssAnonBytes: meter.peakRssAnonBytes,
  };
}

export type Arriving = {
  readonly log: EventLog;
  readonly topics: readonly string[];
  readonly rows: number;
  readonly limit: number;
  readonly isAlive: () => boolean;
};

/** Records that stand in the topics; those that are not there have none. */
export async function recordsOf(log: EventLog, topics: readonly string[]): Promise<number> {
  const signal = AbortSignal.timeout(REQUEST_MS);
  const counts = await Promise.all(
    topics.map(async (topic) => {
      const ranges = await log.offsets(topic, signal).catch((cause: unknown) => {
        if (cause instanceof TailraceError && cause.code === "TOPIC_LOST") return [];
        throw cause;
      });
      return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
