// The topics of a source: one a table, and its own ones for state, barriers and dead letters.
import { barrierTopicSpec } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, Topic, TopicSpec } from "../core/event-log.ts";
import { refuseTopicCollisions, topicName } from "../core/naming.ts";
import { stateTopicSpec, type TopicState } from "../core/source-state.ts";
import type { TableName } from "../core/table.ts";
import { deadLetterTopicSpec } from "./dead-letters.ts";

export type TopicOptions = {
  readonly prefix: string;
  readonly partitions: number;
  readonly replication: number;
  readonly create: boolean;
  readonly tombstones: boolean;
};

/** Largest record batch of topics that Tailrace makes, bytes: Kafka's own default of 1 MiB is less than PostgreSQL rows may have. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Kafka's default, for a topic whose config does not say. */
export const DEFAULT_MESSAGE_BYTES = 1024 * 1024;

/** A topic and the largest record batch that it takes, bytes. */
export type DataTopic = { readonly state: TopicState; readonly topic: Topic; readonly maxBytes: number };

/** The specs of the source's own topics: state, barriers, dead letters. */
export function ownTopicSpecs(options: TopicOptions): readonly TopicSpec[] {
  const { prefix, replication } = options;
  return [stateTopicSpec(prefix, replication), barrierTopicSpec(prefix, replication), deadLetterTopicSpec(prefix, replication)];
}

/** The names of all topics by table. Throws NAME_COLLISION. */
export function dataTopicNames(options: TopicOptions, tables: readonly TableName[]): readonly string[] {
  const names = tables.map((table) => topicName(options.prefix, table));
  refuseTopicCollisions([...names, ...ownTopicSpecs(options).map(({ name }) => name)]);
  return names;
}

/** Makes the missing ones of the source's own topics. Throws TOPIC_MISSING when `create` is false. */
export async function ensureOwnTopics(log: EventLog, options: TopicOptions, signal: AbortSignal): Promise<readonly Topic[]> {
  return Promise.all(ownTopicSpecs(options).map(async (spec) => ensureTopic(log, spec, options.create, signal)));
}

/**
 * The data topics of the tables, made where they are missing. Those that the state knows were judged before (start.ts).
 * Throws TOPIC_MISSING, TOPIC_COMPACTED (R-compact).
 */
export async function ensureDataTopics(
  log: EventLog,
  options: TopicOptions,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<readonly DataTopic[]> {
  const names = dataTopicNames(options, tables);
  return Promise.all(
    tables.map(async ({ schema, name: table }, index) => {
      const name = names[index]!;
      const configs = { "cleanup.policy": "delete", "max.message.bytes": String(MAX_MESSAGE_BYTES) };
      const topic = await ensureTopic(
        log,
        { name, partitions: options.partitions, replication: options.replication, configs },
        options.create,
        signal,
      );
      if (topic.partitions !== options.partitions) throw partitionsDiffer(name, `it has ${topic.partitions}`, options.partitions);
      const effective = await log.topicConfigs(name, Object.keys(configs), signal);
      const policy = effective["cleanup.policy"] ?? "delete";
      if (policy.includes("compact")) throw new TailraceError("TOPIC_COMPACTED", { topic: name, policy });
      const maxBytes = Number(effective["max.message.bytes"] ?? DEFAULT_MESSAGE_BYTES);
      return { state: { ...topic, table: { schema, name: table } }, topic, maxBytes };
    }),
  );
}

async function ensureTopic(log: EventLog, spec: TopicSpec, create: boolean, signal: AbortSignal): Promise<Topic> {
  const [found] = await log.topics([spec.name], signal);
  if (found !== undefined) return found;
  if (!create) throw new TailraceError("TOPIC_MISSING", { topic: spec.name, partitions: spec.partitions });
  return log.createTopic(spec, signal);
}

/** TOPIC_PARTITIONS. `difference`: who says another number than the `expected` one. */
export function partitionsDiffer(topic: string, difference: string, expected: number): TailraceError {
  return new TailraceError("TOPIC_PARTITIONS", { topic, difference, expected });
}
