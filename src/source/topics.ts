// The topics of a source: one a table, and its own ones for state, barriers and dead letters.
import { barrierTopicSpec } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, Topic, TopicSpec } from "../core/event-log.ts";
import { MAX_TOPIC_LENGTH, refuseTopicCollisions, topicName } from "../core/naming.ts";
import { stateTopicSpec, versionOf, type TopicState, type VersionedTable } from "../core/source-state.ts";
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
function ownTopicSpecs(options: TopicOptions): readonly TopicSpec[] {
  const { prefix, replication } = options;
  return [stateTopicSpec(prefix, replication), barrierTopicSpec(prefix, replication), deadLetterTopicSpec(prefix, replication)];
}

/** The names of all topics by table, each of its present version. Throws NAME_COLLISION, TABLE_UNSUPPORTED. */
export function dataTopicNames(
  options: TopicOptions,
  tables: readonly TableName[],
  versions: readonly VersionedTable[],
): readonly string[] {
  const names = tables.map((table) => topicName(options.prefix, table, versionOf(versions, table)));
  refuseTopicCollisions([...names, ...ownTopicSpecs(options).map(({ name }) => name)]);
  return names;
}

/** NAME_COLLISION, TABLE_UNSUPPORTED (a topic's name would be too long). */
export function namingProblems(
  options: TopicOptions,
  tables: readonly TableName[],
  versions: readonly VersionedTable[],
): readonly TailraceError[] {
  try {
    dataTopicNames(options, tables, versions);
    return [];
  } catch (cause) {
    return [TailraceError.from(cause)];
  }
}

/** Makes the missing ones of the source's own topics. Throws TOPIC_MISSING when `create` is false. */
export async function ensureOwnTopics(log: EventLog, options: TopicOptions, signal: AbortSignal): Promise<readonly Topic[]> {
  return Promise.all(ownTopicSpecs(options).map(async (spec) => ensureTopic(log, spec, options.create, signal)));
}

/** Bytes of the largest record that the topic of states takes, where others made it for smaller ones than a state may have; else null. */
export async function smallStateTopic(log: EventLog, { prefix, replication }: TopicOptions, signal: AbortSignal): Promise<number | null> {
  const { name, configs } = stateTopicSpec(prefix, replication);
  const { "max.message.bytes": bytes } = await log.topicConfigs(name, ["max.message.bytes"], signal);
  const taken = Number(bytes ?? DEFAULT_MESSAGE_BYTES);
  return taken < Number(configs["max.message.bytes"]) ? taken : null;
}

/**
 * The data topics of the tables, made where they are missing. Those that the state knows were judged before (start.ts).
 * Throws TOPIC_MISSING, TOPIC_PARTITIONS, TOPIC_COMPACTED (R-compact).
 */
export async function ensureDataTopics(
  log: EventLog,
  options: TopicOptions,
  tables: readonly TableName[],
  versions: readonly VersionedTable[],
  signal: AbortSignal,
): Promise<readonly DataTopic[]> {
  const specs = dataTopicSpecs(options, tables, versions);
  return Promise.all(
    tables.map(async ({ schema, name: table }, index) => {
      const version = versionOf(versions, { schema, name: table });
      const spec = specs[index]!;
      const topic = await ensureTopic(log, spec, options.create, signal);
      const effective = await log.topicConfigs(spec.name, Object.keys(spec.configs), signal);
      const problem = unfit(spec, topic, effective);
      if (problem !== null) throw problem;
      const maxBytes = Number(effective["max.message.bytes"] ?? DEFAULT_MESSAGE_BYTES);
      const state = { ...topic, table: { schema, name: table }, ...(version === 1 ? {} : { version }) };
      return { state, topic, maxBytes };
    }),
  );
}

/**
 * What would keep the source from using its topics as they are now, without making any: TOPIC_MISSING, TOPIC_PARTITIONS,
 * TOPIC_COMPACTED. The tables must have passed namingProblems(). `log` null: there is none yet.
 */
export async function topicProblems(
  log: EventLog | null,
  options: TopicOptions,
  tables: readonly TableName[],
  versions: readonly VersionedTable[],
  signal: AbortSignal,
): Promise<readonly TailraceError[]> {
  const data = dataTopicSpecs(options, tables, versions);
  const specs = [...ownTopicSpecs(options), ...data];
  const names = specs.map(({ name }) => name);
  const topics = log === null ? [] : await log.topics(names, signal);
  const problems: TailraceError[] = [];
  for (const spec of specs) {
    const topic = topics.find(({ name }) => name === spec.name);
    if (topic === undefined && !options.create) problems.push(missing(spec));
    if (log === null || topic === undefined || !data.includes(spec)) continue;
    const problem = unfit(spec, topic, await log.topicConfigs(spec.name, Object.keys(spec.configs), signal));
    if (problem !== null) problems.push(problem);
  }
  return problems;
}

function dataTopicSpecs(options: TopicOptions, tables: readonly TableName[], versions: readonly VersionedTable[]): readonly TopicSpec[] {
  const { partitions, replication } = options;
  const configs = { "cleanup.policy": "delete", "max.message.bytes": String(MAX_MESSAGE_BYTES) };
  return dataTopicNames(options, tables, versions).map((name) => ({ name, partitions, replication, configs }));
}

/** R-park: where a table's events go whose schema is refused. */
export function parkedTopicName(topic: string): string {
  return `${topic}.parked`;
}

/** Whether a topic can have a parked one beside these, which Kafka tells apart by more than `.` and `_`. */
export function mayHaveParkedTopic(topic: string, topics: readonly string[]): boolean {
  const name = parkedTopicName(topic);
  return name.length <= MAX_TOPIC_LENGTH && !topics.some((other) => other.replaceAll(".", "_") === name.replaceAll(".", "_"));
}

/** The parked topic of a table's topic, made when it is missing; kept for ever: it is the only copy of what it holds. Throws TOPIC_MISSING, TOPIC_PARTITIONS, TOPIC_COMPACTED. */
export async function ensureParkedTopic(
  log: EventLog,
  { partitions, replication, create }: TopicOptions,
  of: string,
  signal: AbortSignal,
): Promise<{ readonly topic: Topic; readonly maxBytes: number }> {
  const configs = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": String(MAX_MESSAGE_BYTES),
  };
  const spec = { name: parkedTopicName(of), partitions, replication, configs };
  const topic = await ensureTopic(log, spec, create, signal);
  const effective = await log.topicConfigs(spec.name, Object.keys(configs), signal);
  const problem = unfit(spec, topic, effective);
  if (problem !== null) throw problem;
  return { topic, maxBytes: Number(effective["max.message.bytes"] ?? DEFAULT_MESSAGE_BYTES) };
}

/** Why a data topic that is there can't be used. `effective`: its configs. */
function unfit({ name, partitions }: TopicSpec, topic: Topic, effective: Readonly<Record<string, string>>): TailraceError | null {
  if (topic.partitions !== partitions) return partitionsDiffer(name, `it has ${topic.partitions}`, partitions);
  const { "cleanup.policy": policy = "delete" } = effective;
  return policy.includes("compact") ? new TailraceError("TOPIC_COMPACTED", { topic: name, policy }) : null;
}

async function ensureTopic(log: EventLog, spec: TopicSpec, create: boolean, signal: AbortSignal): Promise<Topic> {
  const [found] = await log.topics([spec.name], signal);
  if (found !== undefined) return found;
  if (!create) throw missing(spec);
  return log.createTopic(spec, signal);
}

function missing({ name, partitions }: TopicSpec): TailraceError {
  return new TailraceError("TOPIC_MISSING", { topic: name, partitions });
}

/** TOPIC_PARTITIONS. `difference`: who says another number than the `expected` one. */
export function partitionsDiffer(topic: string, difference: string, expected: number): TailraceError {
  return new TailraceError("TOPIC_PARTITIONS", { topic, difference, expected });
}
