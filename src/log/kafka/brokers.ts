// Questions that are asked of the brokers directly: which topics there are and under which id, offsets, a producer id, and one
// bounded fetch. kafkajs' metadata has no topic ids, and it has no fetch without a group.
import type * as Kafka from "@platformatic/kafka";
import { TailraceError } from "../../core/errors.ts";
import type { OffsetRange, Position, Topic } from "../../core/event-log.ts";
import { bounded, settled } from "./bounded.ts";
import { closePool, hostAndPort, openPool } from "./connections.ts";
import type { Pool } from "./connections.ts";
import { createAPI, fetchV12, initProducerIdV4, listOffsetsV7, metadataV12, ProtocolError, ResponseError } from "./library.ts";
import { REQUEST_MS } from "./options.ts";
import type { KafkaOptions } from "./options.ts";

/** ListOffsets' stand-ins for a time (Kafka protocol guide, "ListOffsets"). */
const EARLIEST = -2n;
const LATEST = -1n;
/** Tailrace writes no transactions, so what is in the log counts; kafkajs' consumer is told the same. */
const READ_UNCOMMITTED = 0;
const REPLICA_NONE = -1;
const ANY_EPOCH = -1;
/** Kafka protocol guide, "Error Codes". */
const TOPIC_AUTHORIZATION_FAILED = 29;
/** InitProducerId's stand-in for "none yet". */
const NO_PRODUCER = -1;
/** Kafka's error code of a fetch from an offset that the partition does not have (Kafka protocol guide, "Error Codes"). */
const OFFSET_OUT_OF_RANGE = 1;

/** What one fetch brought: whole and cut-off batches as they came. */
export type FetchedBytes = {
  readonly outOfRange: boolean;
  readonly start: number;
  readonly end: number;
  /** A copy of the response's bytes. */
  readonly bytes: Buffer;
};

/* Fetch Response (Version: 12) => throttle_time_ms Int32  error_code Int16  session_id Int32  [responses]  TAG_BUFFER
 *   responses  => topic COMPACT_STRING  [partitions]  TAG_BUFFER
 *   partitions => partition_index Int32  error_code Int16  high_watermark Int64  last_stable_offset Int64  log_start_offset Int64
 *                 [aborted_transactions]  preferred_read_replica Int32  records COMPACT_RECORDS  TAG_BUFFER
 *   aborted_transactions => producer_id Int64  first_offset Int64  TAG_BUFFER
 * Kafka protocol guide, "Fetch API". The library's own reader makes an object of each record and can't pass over a cut-off batch.
 */
function readFetchResponse(_correlation: number, _key: number, _version: number, reader: Kafka.Reader): FetchedBytes {
  reader.readInt32();
  const errorCode = reader.readInt16();
  reader.readInt32();
  const partitions = reader.readArray((topics) => {
    topics.readString();
    return topics.readArray((r): FetchedBytes => {
      r.readInt32();
      const partitionError = r.readInt16();
      const end = Number(r.readInt64());
      r.readInt64();
      const start = Number(r.readInt64());
      r.readNullableArray((transaction) => {
        transaction.readInt64();
        transaction.readInt64();
      });
      r.readInt32();
      const bytes = Buffer.from(r.readNullableBytes() ?? Buffer.alloc(0));
      if (partitionError !== 0 && partitionError !== OFFSET_OUT_OF_RANGE) throw new ProtocolError(partitionError, null);
      return { outOfRange: partitionError !== 0, start, end, bytes };
    });
  });
  const only = partitions[0]?.[0];
  if (only === undefined) throw new ProtocolError(errorCode === 0 ? "UNKNOWN_SERVER_ERROR" : errorCode, null);
  return only;
}

type FetchArguments = Parameters<typeof fetchV12.createRequest>;
const fetchApi = createAPI<FetchArguments, FetchedBytes>(1, 12, fetchV12.createRequest, readFetchResponse);

/** Connections to the brokers. Throws what the library throws; the callers name it. */
export class Brokers {
  readonly #options: KafkaOptions;
  /** The one to ask first stands first. */
  readonly #bootstrap: Kafka.Broker[];
  #pool: Pool | null = null;
  readonly #retired = new Set<Promise<void>>();
  #closed = false;

  constructor(options: KafkaOptions) {
    this.#options = options;
    this.#bootstrap = options.brokers.map(hostAndPort);
  }

  /** Those of `names` that exist. Throws for one that may not be described, there or not. */
  async topics(names: readonly string[], signal: AbortSignal): Promise<readonly Topic[]> {
    const { topics } = await this.metadata(names, signal);
    // What may not be seen may be there: taken for absent, a state or a barrier would be begun anew.
    const hidden = topics.filter(({ errorCode }) => errorCode === TOPIC_AUTHORIZATION_FAILED);
    if (hidden.length > 0)
      throw new ProtocolError(
        TOPIC_AUTHORIZATION_FAILED,
        `DESCRIBE on topic ${hidden
          .map(({ name, topicId }) => name ?? topicId)
          .sort()
          .join(", ")}`,
      );
    return topics
      .filter((topic) => topic.errorCode === 0)
      .map((topic) => ({ name: topic.name ?? "", id: topic.topicId, partitions: topic.partitions.length }));
  }

  /** Whether every partition of the topic has a leader. */
  async hasLeaders(topic: string, signal: AbortSignal): Promise<boolean> {
    const found = (await this.metadata([topic], signal)).topics.find(({ name }) => name === topic);
    return found?.errorCode === 0 && found.partitions.every(({ errorCode, leaderId }) => errorCode === 0 && leaderId >= 0);
  }

  /** A new producer id, without a transactional id: its sequence numbers begin at 0 in each partition. */
  async producerId(signal: AbortSignal): Promise<{ readonly id: bigint; readonly epoch: number }> {
    const connection = await this.#any(signal);
    const ask = (): Promise<Kafka.initProducerIdV4.InitProducerIdResponse> =>
      initProducerIdV4.api.async(connection, null, 0, BigInt(NO_PRODUCER), NO_PRODUCER);
    const { producerId, producerEpoch } = await this.#asked(ask, "a producer id", signal);
    return { id: producerId, epoch: producerEpoch };
  }

  /** First and next offset of every partition of the topics, from their leaders. Throws UNKNOWN_TOPIC_OR_PARTITION and the like. */
  async offsets(names: readonly string[], signal: AbortSignal): Promise<readonly OffsetRange[]> {
    const metadata = await this.metadata(names, signal);
    const perLeader = new Map<number, Map<string, number[]>>();
    for (const topic of metadata.topics) {
      if (topic.errorCode !== 0) throw new ProtocolError(topic.errorCode, null);
      for (const { partitionIndex, leaderId } of topic.partitions) {
        const topics = getOrMake(perLeader, leaderId, () => new Map<string, number[]>());
        getOrMake(topics, topic.name ?? "", () => []).push(partitionIndex);
      }
    }
    const answers = await Promise.all(
      [...perLeader].map(async ([leader, topics]) => {
        const connection = await this.#leader(metadata, leader, signal);
        const [starts, ends] = await Promise.all([EARLIEST, LATEST].map((time) => this.#listOffsets(connection, topics, time, signal)));
        return [...topics].flatMap(([topic, partitions]) =>
          partitions.map((partition) => ({
            topic,
            partition,
            start: starts?.get(topic)?.get(partition) ?? 0,
            end: ends?.get(topic)?.get(partition) ?? 0,
          })),
        );
      }),
    );
    return answers.flat().sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  }

  /** One fetch from the partition's leader, which answers at once. No session is made: a broker keeps few of them. */
  async fetch(from: Position, maxBytes: number, signal: AbortSignal): Promise<FetchedBytes> {
    const { topic, partition, offset } = from;
    const metadata = await this.metadata([topic], signal);
    const found = metadata.topics.find(({ name }) => name === topic);
    if (found?.errorCode !== 0) throw new ProtocolError(found?.errorCode ?? "UNKNOWN_TOPIC_OR_PARTITION", null);
    const leader = found.partitions.find(({ partitionIndex }) => partitionIndex === partition)?.leaderId;
    if (leader === undefined) throw new ProtocolError("UNKNOWN_TOPIC_OR_PARTITION", null);
    const connection = await this.#leader(metadata, leader, signal);
    const wanted = {
      partition,
      currentLeaderEpoch: ANY_EPOCH,
      fetchOffset: BigInt(offset),
      lastFetchedEpoch: ANY_EPOCH,
      partitionMaxBytes: maxBytes,
    };
    // In version 12 the library's `topicId` is the topic's name.
    const request: FetchArguments = [0, 0, maxBytes, READ_UNCOMMITTED, 0, -1, [{ topicId: topic, partitions: [wanted] }], [], ""];
    return this.#asked(() => fetchApi.async(connection, ...request), "a fetch", signal);
  }

  /** Never throws; takes at most about `ms`. */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    this.#retire();
    await settled(Promise.all(this.#retired), ms);
  }

  async #listOffsets(
    connection: Kafka.Connection,
    topics: ReadonlyMap<string, readonly number[]>,
    timestamp: bigint,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ReadonlyMap<number, number>>> {
    const wanted = [...topics].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: ANY_EPOCH, timestamp })),
    }));
    const ask = (): Promise<Kafka.listOffsetsV7.ListOffsetsResponse> =>
      listOffsetsV7.api.async(connection, REPLICA_NONE, READ_UNCOMMITTED, wanted);
    const answer = await this.#asked(ask, "a question for offsets", signal);
    return new Map(
      answer.topics.map(({ name, partitions }) => [name, new Map(partitions.map((p) => [p.partitionIndex, Number(p.offset)]))]),
    );
  }

  /** A topic that is not there comes back with its error code, where the library throws away the answer for all. */
  async metadata(topics: readonly string[], signal: AbortSignal): Promise<Kafka.metadataV12.MetadataResponse> {
    const connection = await this.#any(signal);
    try {
      return await this.#asked(() => metadataV12.api.async(connection, [...topics], false, false), "a question for topics", signal);
    } catch (error) {
      const { response } = error as { response?: unknown };
      if (error instanceof ResponseError && response !== undefined) return response as Kafka.metadataV12.MetadataResponse;
      throw error;
    }
  }

  async #any(signal: AbortSignal): Promise<Kafka.Connection> {
    return this.#asked(({ pool }) => pool.getFirstAvailable([...this.#bootstrap]), "a connect", signal);
  }

  async #leader(metadata: Kafka.metadataV12.MetadataResponse, nodeId: number, signal: AbortSignal): Promise<Kafka.Connection> {
    const broker = metadata.brokers.find((candidate) => candidate.nodeId === nodeId);
    if (broker === undefined) throw new ProtocolError("LEADER_NOT_AVAILABLE", null);
    return this.#asked(({ pool }) => pool.get({ host: broker.host, port: broker.port }), "a connect", signal);
  }

  /**
   * Waits for an answer, bounded. After anything but a broker's refusal the connections are given up: the library reads no
   * further on a connection whose request has timed out, and one that failed to connect never becomes ready again. The next
   * question goes to another broker first: one that hangs still takes connections.
   */
  async #asked<T>(ask: (pool: Pool) => Promise<T>, what: string, signal: AbortSignal): Promise<T> {
    const asked = this.#connections();
    try {
      return await bounded(ask(asked), what, REQUEST_MS + 1_000, signal);
    } catch (error) {
      const answered = error instanceof ResponseError || error instanceof ProtocolError;
      if (!answered && !signal.aborted && asked === this.#pool) this.#retire();
      throw error;
    }
  }

  #connections(): Pool {
    if (this.#closed) throw new TailraceError("LOG_UNREACHABLE", { reason: "the log is closed" });
    this.#pool ??= openPool(this.#options);
    return this.#pool;
  }

  #retire(): void {
    const pool = this.#pool;
    if (pool === null) return;
    this.#pool = null;
    this.#bootstrap.push(...this.#bootstrap.splice(0, 1));
    const closing = closePool(pool).finally(() => this.#retired.delete(closing));
    this.#retired.add(closing);
  }
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
