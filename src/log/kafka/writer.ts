// Appends through @platformatic/kafka's Producer: idempotent, acks=all, and never a second try. The Producer takes a
// message object per record; the batch's bytes are read back into those here.
import { Producer } from "@platformatic/kafka";
import type { MessageToProduce, ProduceResult } from "@platformatic/kafka";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { EncodedBatch, LogRecord, LogWriter, TopicPartition } from "../../core/event-log.ts";
import { readRecords } from "../../core/record-batch.ts";
import { bounded, eventually, onAbort, settled } from "./bounded.ts";
import { destroyAll, hostAndPort, watchConnections } from "./connections.ts";
import { appendFailure, isNotYet, requestFailure } from "./failures.ts";
import { CONNECT_MS, connectionOptions, REPLICATE_MS, REQUEST_MS } from "./options.ts";
import type { KafkaOptions } from "./options.ts";

/** Bytes of batches in one request, so that small ones share it. The Producer's cost a record grows with larger ones. */
const SEND_BYTES = 256 * 1024;
/** Metadata is asked for again after this, as Java's client has it; a moved leader is noticed by its refusal, ms. */
const METADATA_MAX_AGE_MS = 300_000;
/** The longest that a send may take: find the brokers, connect, be answered, ms. */
const SEND_MS = 2 * (CONNECT_MS + REQUEST_MS);
/** How long disposing waits for the appends in flight, and then for the connections to close, ms. */
const FINISH_MS = 1_500;
const CLOSE_MS = 300;
const ACKS_ALL = -1;

type Message = MessageToProduce<Buffer | null, Buffer | null>;

/** A batch that waits for its turn, or is being sent. */
type Pending = {
  readonly batch: EncodedBatch;
  readonly acknowledged: (baseOffset: number) => void;
  readonly failed: (error: TailraceError) => void;
};

/** One partition's batches in the order of the calls. The first one is in flight when `sending`. */
type Lane = TopicPartition & { readonly waiting: Pending[]; sending: boolean };

/**
 * The Producer's own ways that this class works around (1.35.0, seen in its source):
 * - Concurrent sends to one partition get the same sequence numbers, and the broker takes the second for a copy of the first:
 *   acknowledged and lost. So each partition has one request in flight, which also lets the first batch travel alone (R-writer).
 * - `idempotent` on the client turns `retries: 0` into retries without end; on the send it does not.
 * - `repeatOnStaleMetadata` sends all of a failed request again to the first message's leader. Off.
 * - Messages of one partition in one send become one batch, which may then exceed max.message.bytes. One batch a partition a send.
 * - A partition beyond the topic's count is taken modulo the count. Checked before each send.
 */
export class KafkaWriter implements LogWriter {
  readonly #producer: Producer<Buffer | null, Buffer | null>;
  readonly #connections: ReturnType<typeof watchConnections>;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes with a batch that may be sent now. */
  #ready: Lane[] = [];
  #pumping = false;
  readonly #inFlight = new Set<Promise<void>>();
  #failure: TailraceError | null = null;
  #disposed: Promise<void> | null = null;

  private constructor(options: KafkaOptions, name: string) {
    this.#producer = new Producer<Buffer | null, Buffer | null>({
      ...connectionOptions(options),
      clientId: `${options.clientId}-${name}`.replace(/\s+/g, "-"),
      bootstrapBrokers: options.brokers.map(hostAndPort),
      timeout: REPLICATE_MS,
      retries: 0,
      repeatOnStaleMetadata: false,
      autocreateTopics: false,
      metadataMaxAge: METADATA_MAX_AGE_MS,
    });
    this.#connections = watchConnections(this.#producer.connections);
  }

  /** Connects, logs in and gets a producer id. Throws LOG_UNREACHABLE, LOG_LOGIN, LOG_DENIED. */
  static async open(options: KafkaOptions, name: string, signal: AbortSignal): Promise<KafkaWriter> {
    signal.throwIfAborted();
    const writer = new KafkaWriter(options, name);
    try {
      await eventually(() => writer.#initialize(signal), "a producer id", CONNECT_MS + REQUEST_MS, signal);
      return writer;
    } catch (error) {
      await writer.#shut(closed());
      signal.throwIfAborted();
      throw requestFailure(error, "give out a producer id");
    }
  }

  /** null: the broker is not ready for it yet. */
  async #initialize(signal: AbortSignal): Promise<true | null> {
    try {
      await bounded(this.#producer.initIdempotentProducer({}), "a producer id", CONNECT_MS + REQUEST_MS, signal);
      return true;
    } catch (error) {
      if (isNotYet(error)) return null;
      throw error;
    }
  }

  async append(batches: readonly EncodedBatch[], signal: AbortSignal): Promise<readonly number[]> {
    if (this.#failure !== null) throw refusal(this.#failure);
    if (signal.aborted) this.#fail(aborted());
    signal.throwIfAborted();
    const silence = onAbort(signal, () => this.#fail(aborted()));
    try {
      return await Promise.all(batches.map((batch) => this.#enqueue(batch)));
    } catch (error) {
      // The bytes are the caller's again when this settles, so nothing may read them any more: every connection is gone by now.
      await settled(Promise.all(this.#inFlight), CLOSE_MS);
      signal.throwIfAborted();
      throw error;
    } finally {
      silence();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#finish();
    await this.#disposed;
  }

  async #finish(): Promise<void> {
    const deadline = performance.now() + FINISH_MS;
    while (this.#failure === null && this.#ready.length + this.#inFlight.size > 0 && performance.now() < deadline) {
      // Promise.race of none would never settle: then what is ready goes out in the next microtask.
      await settled(this.#inFlight.size === 0 ? Promise.resolve() : Promise.race(this.#inFlight), deadline - performance.now());
    }
    await this.#shut(closed());
  }

  #enqueue(batch: EncodedBatch): Promise<number> {
    return new Promise((acknowledged, failed) => {
      const key = laneKey(batch);
      let lane = this.#lanes.get(key);
      if (lane === undefined)
        this.#lanes.set(key, (lane = { topic: batch.topic, partition: batch.partition, waiting: [], sending: false }));
      lane.waiting.push({ batch, acknowledged, failed });
      if (lane.waiting.length === 1) this.#ready.push(lane);
      this.#pump();
    });
  }

  /** Sends what is ready, once all appends of this turn have come in, so that partitions share requests. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      while (this.#ready.length > 0 && this.#failure === null) this.#send(this.#takeReady());
    });
  }

  #takeReady(): Lane[] {
    let bytes = 0;
    let count = 0;
    for (const lane of this.#ready) {
      bytes += lane.waiting[0]?.batch.bytes.length ?? 0;
      if (count > 0 && bytes > SEND_BYTES) break;
      count++;
    }
    return this.#ready.splice(0, count);
  }

  #send(lanes: readonly Lane[]): void {
    for (const lane of lanes) lane.sending = true;
    const work = this.#attempt(lanes).finally(() => this.#inFlight.delete(work));
    this.#inFlight.add(work);
  }

  /** Never rejects: what goes wrong ends the writer. */
  async #attempt(lanes: readonly Lane[]): Promise<void> {
    let place: TopicPartition | undefined = lanes[0];
    try {
      const messages: Message[] = [];
      for (const lane of lanes) {
        place = lane;
        appendMessages(lane.waiting[0]!.batch, messages);
      }
      const work = this.#produce(lanes, messages);
      const result = await bounded(work, "an append", SEND_MS, undefined, () => destroyAll(this.#connections));
      const offsets = baseOffsets(result);
      for (const lane of lanes) {
        place = lane;
        this.#acknowledge(lane, offsets.get(laneKey(lane)));
      }
    } catch (error) {
      this.#fail(appendFailure(error, refusedPlace(error, lanes) ?? (place as Lane)));
    }
  }

  async #produce(lanes: readonly Lane[], messages: Message[]): Promise<ProduceResult> {
    await Promise.all(lanes.map((lane) => this.#checkPlace(lane)));
    // A send that waited for metadata while the writer ended must not begin.
    if (this.#failure !== null) throw this.#failure;
    return this.#producer.send({ messages, idempotent: true, acks: ACKS_ALL });
  }

  async #checkPlace({ topic, partition }: TopicPartition): Promise<void> {
    try {
      const { topics } = await this.#producer.metadata({ topics: [topic] });
      const count = topics.get(topic)?.partitionsCount ?? 0;
      if (partition >= count) throw new TailraceError("LOG_REFUSED", { topic, partition, reason: `the topic has ${count} partitions` });
    } catch (error) {
      throw appendFailure(error, { topic, partition });
    }
  }

  #acknowledge(lane: Lane, baseOffset: bigint | undefined): void {
    if (baseOffset === undefined || baseOffset < 0n)
      throw new TailraceError("LOG_UNREACHABLE", { reason: "an append was answered without its offset" });
    lane.sending = false;
    lane.waiting.shift()?.acknowledged(Number(baseOffset));
    if (lane.waiting.length === 0) return;
    this.#ready.push(lane);
    this.#pump();
  }

  /** Ends the writer: nothing is sent any more, every connection is cut, and every batch that waits or is in flight fails. */
  #fail(error: TailraceError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    destroyAll(this.#connections);
    for (const lane of this.#lanes.values()) for (const pending of lane.waiting.splice(0)) pending.failed(error);
    this.#ready = [];
    this.#producer.close(true, () => undefined);
  }

  async #shut(error: TailraceError): Promise<void> {
    this.#fail(error);
    await settled(Promise.all(this.#inFlight), CLOSE_MS);
  }
}

/** The batch's records as messages; keys, values and header values are views of its bytes. */
function appendMessages(batch: EncodedBatch, into: Message[]): void {
  const { topic, partition } = batch;
  const records: LogRecord[] = [];
  try {
    readRecords(batch.bytes, batch, 0, records);
  } catch (cause) {
    throw new TailraceError("LOG_REFUSED", { topic, partition, reason: reasonOf(cause) }, { cause });
  }
  if (records.length !== batch.count) {
    throw new TailraceError("LOG_REFUSED", { topic, partition, reason: `a batch of ${records.length} records says ${batch.count}` });
  }
  let timestamp = 0n;
  for (const record of records) {
    if (Number(timestamp) !== record.timestamp) timestamp = BigInt(record.timestamp);
    const message: Message = { topic, partition, key: record.key, value: record.value, timestamp };
    // Names as buffers: as keys of a Map they are told apart by identity, so a name may stand twice.
    if (record.headers.length > 0) message.headers = new Map(record.headers.map(([name, value]) => [Buffer.from(name), value]));
    into.push(message);
  }
}

function baseOffsets(result: ProduceResult): Map<string, bigint> {
  return new Map(result.offsets?.map((offset) => [laneKey(offset), offset.offset]));
}

/** The partition that the broker's refusal is about: the library's error has the whole answer. */
function refusedPlace(error: unknown, lanes: readonly Lane[]): TopicPartition | undefined {
  for (const response of responsesIn(error)) {
    for (const { name, partitionResponses } of response.responses) {
      for (const { index, errorCode } of partitionResponses) {
        if (errorCode !== 0) return lanes.find((lane) => lane.topic === name && lane.partition === index);
      }
    }
  }
  return undefined;
}

type ProduceResponse = {
  readonly responses: readonly {
    readonly name: string;
    readonly partitionResponses: readonly { readonly index: number; readonly errorCode: number }[];
  }[];
};

function responsesIn(error: unknown): readonly ProduceResponse[] {
  const { response, errors } = (error ?? {}) as { response?: Partial<ProduceResponse>; errors?: unknown };
  const own = response?.responses === undefined ? [] : [response as ProduceResponse];
  return Array.isArray(errors) ? [...own, ...errors.flatMap(responsesIn)] : own;
}

function laneKey({ topic, partition }: TopicPartition): string {
  return `${topic}:${partition}`;
}

function aborted(): TailraceError {
  return new TailraceError("LOG_UNREACHABLE", { reason: "an append was given up by its caller" });
}

function closed(): TailraceError {
  return new TailraceError("LOG_UNREACHABLE", { reason: "the writer is closed" });
}

/** What later appends get: the first failure's code and words. */
function refusal(first: TailraceError): TailraceError {
  return new TailraceError("LOG_UNREACHABLE", { reason: `the writer ended before: ${first.message}` }, { cause: first });
}
