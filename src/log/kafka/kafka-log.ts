// The event log in Kafka: topics by kafkajs' admin client, the rest by the parts beside this file.
import kafkajs from "kafkajs";
import type { Admin } from "kafkajs";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type {
  EventLog,
  FetchedRecords,
  LogReader,
  LogRecord,
  LogWriter,
  OffsetRange,
  Position,
  Topic,
  TopicPartition,
  TopicSpec,
  WriterOptions,
} from "../../core/event-log.ts";
import { readRecords } from "../../core/record-batch.ts";
import { bounded, eventually, settled } from "./bounded.ts";
import { Brokers } from "./brokers.ts";
import { plainBatches } from "./codecs.ts";
import { hasKafkaError, isNotYet, requestFailure } from "./failures.ts";
import { kafkajsClient, REQUEST_MS } from "./options.ts";
import type { KafkajsClient, KafkaOptions } from "./options.ts";
import { KafkaReader } from "./reader.ts";
import { KafkaWriter } from "./writer.ts";

/** How long a new topic may take to have leaders, and a deleted one to be gone, ms. */
const CHANGE_MS = 30_000;
/** kafkajs tries a request several times; all of it may take this, ms. */
const ADMIN_MS = 2 * REQUEST_MS;
/** How long a question waits for a leader that is being elected, ms. */
const LEADER_MS = 5_000;
const CLOSE_MS = 1_000;

/** Never connects by itself: each call does, so that a broker that is away now is no error of opening. */
export function openKafkaLog(options: KafkaOptions): EventLog {
  return new KafkaLog(options);
}

class KafkaLog implements EventLog {
  readonly kind = "kafka";
  readonly address: string;
  readonly #options: KafkaOptions;
  readonly #brokers: Brokers;
  #admin: { readonly client: KafkajsClient; readonly admin: Admin } | null = null;
  /** Open writers and readers, which end with the log. */
  readonly #open = new Set<AsyncDisposable>();
  #disposed: Promise<void> | null = null;

  constructor(options: KafkaOptions) {
    this.#options = options;
    this.address = options.brokers.join(",");
    this.#brokers = new Brokers(options);
  }

  async topics(names: readonly string[], signal: AbortSignal): Promise<readonly Topic[]> {
    signal.throwIfAborted();
    const found = await this.#ask("list topics", signal, () => this.#brokers.topics(names, signal));
    return names.flatMap((name) => found.filter((topic) => topic.name === name));
  }

  async createTopic(spec: TopicSpec, signal: AbortSignal): Promise<Topic> {
    const { name, partitions, replication, configs } = spec;
    await this.#ask(`create topic ${name}`, signal, () =>
      this.#adminCall(signal, async (admin) => {
        const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
        const topic = { topic: name, numPartitions: partitions, replicationFactor: replication, configEntries };
        await admin.createTopics({ topics: [topic], waitForLeaders: false, timeout: REQUEST_MS });
      }),
    );
    return this.#ask(`describe topic ${name}`, signal, () =>
      eventually(() => this.#usable(name, signal), `topic ${name} is made but not ready`, CHANGE_MS, signal),
    );
  }

  async topicConfigs(topic: string, names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const found = await this.#ask(`describe the configuration of topic ${topic}`, signal, () =>
      this.#adminCall(signal, async (admin) => {
        const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: [...names] };
        const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [resource] });
        return resources.flatMap(({ configEntries }) => configEntries);
      }),
    );
    return Object.fromEntries(
      found.filter(({ configName }) => names.includes(configName)).map(({ configName, configValue }) => [configName, configValue]),
    );
  }

  async deleteTopic(topic: string, signal: AbortSignal): Promise<void> {
    await this.#ask(`delete topic ${topic}`, signal, async () => {
      if ((await this.topics([topic], signal)).length === 0) return;
      await this.#adminCall(signal, (admin) => admin.deleteTopics({ topics: [topic], timeout: REQUEST_MS })).catch((error: unknown) => {
        if (!hasKafkaError(error, "UNKNOWN_TOPIC_OR_PARTITION")) throw error;
      });
      const gone = async (): Promise<true | null> => ((await this.topics([topic], signal)).length === 0 ? true : null);
      await eventually(gone, `topic ${topic} is deleted but still there`, CHANGE_MS, signal);
    });
  }

  async offsets(topic: string, signal: AbortSignal): Promise<readonly OffsetRange[]> {
    return this.#ask(`tell the offsets of topic ${topic}`, signal, () =>
      orLost(topic, () => this.#brokers.offsets([topic], signal), signal),
    );
  }

  async read(from: Position, maxBytes: number, signal: AbortSignal): Promise<FetchedRecords> {
    const { topic, partition, offset } = from;
    return this.#ask(`let topic ${topic} be read`, signal, async () => {
      if (offset < 0) throw await this.#gap(from, signal);
      const again = async (): Promise<FetchedRecords | null> => this.#readOnce(from, maxBytes, signal);
      return eventually(again, `topic ${topic} partition ${partition} ends before its own end`, LEADER_MS, signal);
    });
  }

  /**
   * null: ask again. A leader that was killed and is back gives out what its old checkpoint says is replicated, for a moment less
   * than it has acknowledged (seen: 324 of 400). ListOffsets waits that out (KIP-207), so it has the word about the end: a tail
   * that is read too short would be published again.
   */
  async #readOnce(from: Position, maxBytes: number, signal: AbortSignal): Promise<FetchedRecords | null> {
    const { topic, partition, offset } = from;
    const fetched = await orLost(topic, () => this.#brokers.fetch(from, maxBytes, signal), signal);
    if (fetched.outOfRange) throw await this.#gap(from, signal);
    const records: LogRecord[] = [];
    const next = readRecords(this.#plain(fetched.bytes, from), from, offset, records);
    let { end } = fetched;
    if (next >= end) {
      const range = await this.#range(from, signal);
      if (range !== undefined && range.end > end) end = range.end;
      if (next === offset && next < end) return null;
    }
    return { topic, partition, records, next, start: fetched.start, end };
  }

  async openWriter({ name }: WriterOptions, signal: AbortSignal): Promise<LogWriter> {
    return this.#keep(await KafkaWriter.open(this.#options, name, signal));
  }

  async openReader(group: string, positions: readonly Position[], signal: AbortSignal): Promise<LogReader> {
    return this.#keep(await KafkaReader.open(this.#options, this.#brokers, group, positions, signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#close();
    await this.#disposed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#open].map((resource) => resource[Symbol.asyncDispose]()));
    await this.#brokers.close(CLOSE_MS);
    if (this.#admin !== null) await closeAdmin(this.#admin);
  }

  /** The topic, once it has leaders that answer for its offsets: then it can be written and read. */
  async #usable(name: string, signal: AbortSignal): Promise<Topic | null> {
    const [topic] = await this.#brokers.topics([name], signal);
    if (topic === undefined || !(await this.#brokers.hasLeaders(name, signal))) return null;
    try {
      const ranges = await this.#brokers.offsets([name], signal);
      return ranges.length === topic.partitions ? topic : null;
    } catch (error) {
      if (!isNotYet(error) && !hasKafkaError(error, "UNKNOWN_TOPIC_OR_PARTITION")) throw error;
      return null;
    }
  }

  async #range({ topic, partition }: TopicPartition, signal: AbortSignal): Promise<OffsetRange | undefined> {
    const ranges = await orLost(topic, () => this.#brokers.offsets([topic], signal), signal);
    return ranges.find((candidate) => candidate.partition === partition);
  }

  async #gap(from: Position, signal: AbortSignal): Promise<TailraceError> {
    const { topic, partition, offset } = from;
    const range = await this.#range(from, signal);
    const start = offset > (range?.end ?? 0) ? (range?.end ?? 0) : (range?.start ?? 0);
    return new TailraceError("LOG_GAP", { topic, partition, start, needed: offset });
  }

  #plain(bytes: Buffer, { topic, partition, offset }: Position): Buffer {
    try {
      return plainBatches(bytes);
    } catch (cause) {
      const failure = requestFailure(cause, "");
      if (failure.code === "LOG_CODEC") throw failure;
      throw new TailraceError("LOG_CORRUPT", { topic, partition, offset, reason: reasonOf(cause) }, { cause });
    }
  }

  async #ask<T>(operation: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      throw requestFailure(error, operation);
    }
  }

  /** One call of the admin client, which is made anew after a failure: it keeps its brokers, and its login, for life. */
  async #adminCall<T>(signal: AbortSignal, call: (admin: Admin) => Promise<T>): Promise<T> {
    if (this.#disposed !== null) throw new TailraceError("LOG_UNREACHABLE", { reason: "the log is closed" });
    const used = (this.#admin ??= openAdmin(this.#options));
    try {
      const work = used.admin.connect().then(() => call(used.admin));
      return await bounded(work, "a request", ADMIN_MS, signal);
    } catch (error) {
      const { code } = requestFailure(error, "");
      const broken = !signal.aborted && code !== "LOG_DENIED"; // a refusal is an answer, and others wait on the same connection
      if (broken && this.#admin === used) {
        this.#admin = null;
        void closeAdmin(used);
      }
      throw error;
    }
  }

  #keep<T extends AsyncDisposable>(resource: T): T {
    const dispose = resource[Symbol.asyncDispose].bind(resource);
    this.#open.add(resource);
    resource[Symbol.asyncDispose] = async () => {
      this.#open.delete(resource);
      await dispose();
    };
    return resource;
  }
}

function openAdmin(options: KafkaOptions): { readonly client: KafkajsClient; readonly admin: Admin } {
  const client = kafkajsClient(options);
  return { client, admin: client.kafka.admin() };
}

async function closeAdmin({ client, admin }: { readonly client: KafkajsClient; readonly admin: Admin }): Promise<void> {
  await settled(admin.disconnect(), CLOSE_MS);
  client.destroy();
}

/** A question about a topic, asked again while its leader moves. UNKNOWN_TOPIC_OR_PARTITION is TOPIC_LOST: it was there before. */
async function orLost<T>(topic: string, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  let last: unknown = null;
  const attempt = async (): Promise<{ readonly answer: T } | null> => {
    try {
      return { answer: await ask() };
    } catch (error) {
      last = error;
      if (isNotYet(error)) return null;
      if (!hasKafkaError(error, "UNKNOWN_TOPIC_OR_PARTITION")) throw error;
      throw new TailraceError("TOPIC_LOST", { topic, reason: "it is not there" }, { cause: error });
    }
  };
  try {
    return (await eventually(attempt, `topic ${topic} has no leader`, LEADER_MS, signal)).answer;
  } catch (error) {
    throw error instanceof TailraceError && error.code === "TOPIC_LOST" ? error : (last ?? error);
  }
}
