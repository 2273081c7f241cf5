// Reads as the only worker of a consumer group, by kafkajs. Its eachBatch pushes; poll() pulls from a bounded buffer between
// the two. Where to read is ours alone: the group only says that nobody else does (docs/adr/0003-kafka-clients.md).
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Batch, Consumer, ConsumerGroupJoinEvent, EachBatchPayload, KafkaMessage } from "kafkajs";
import { TailraceError } from "../../core/errors.ts";
import type { FetchedRecords, LogReader, LogRecord, Position, TopicPartition } from "../../core/event-log.ts";
import { oneWorkerAssigner } from "./assignment.ts";
import { Bell } from "../../core/bell.ts";
import { settled } from "./bounded.ts";
import type { Brokers } from "./brokers.ts";
import { registerCodecs } from "./codecs.ts";
import { hasKafkaError, requestFailure } from "./failures.ts";
import { kafkajsClient } from "./options.ts";
import type { KafkajsClient, KafkaOptions } from "./options.ts";

/** A killed worker's membership lasts this long; a shorter one would take an event loop that a flush blocks for dead, ms. */
export const SESSION_MS = 10_000;
/** Also how soon a member hears of a rebalance, ms. */
const HEARTBEAT_MS = 1_000;
/** The broker lets a new group wait for more members for the lesser of this and its group.initial.rebalance.delay.ms (3 s), ms. */
const REBALANCE_MS = 2_000;
/** A broker with nothing new answers a fetch after this. Heartbeats wait behind it, and so does closing, ms. */
const FETCH_WAIT_MS = 500;
const FETCH_BYTES = 8 * 1024 * 1024;
const FETCH_PARTITION_BYTES = 1024 * 1024;
/** Above this no more is taken from kafkajs, which itself holds one fetch response per broker. */
const BUFFER_BYTES = 16 * 1024 * 1024;
/** What a record costs beside its key and value; for the bounds only. */
const RECORD_BYTES = 64;
/** While nothing arrives, the positions are compared with the partitions' ranges this often, ms. */
const WATCH_MS = 3_000;
/** Records are there and none arrives for this long: the connection to the broker is stuck, ms. */
const STALL_MS = 15_000;
/** Closing: leaving the group and sending what is to be sent may take this, ms. */
const LEAVE_MS = 1_500;
const COMMIT_MS = 5_000;

/** One partition that is read. `next` is the offset after what was put into the buffer. */
type Place = { readonly topic: string; readonly partition: number; next: number; start: number; end: number };

/** What came with one eachBatch; `taken` of its records were polled. */
type Chunk = { readonly place: Place; readonly records: readonly LogRecord[]; readonly next: number; readonly end: number; taken: number };

export class KafkaReader implements LogReader {
  readonly #group: string;
  readonly #brokers: Brokers;
  readonly #client: KafkajsClient;
  readonly #consumer: Consumer;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #buffer: Chunk[] = [];
  #bufferedBytes = 0;
  readonly #arrived = new Bell();
  readonly #drained = new Bell();
  /** Ends everything in the background. */
  readonly #closing = new AbortController();
  #holdsSince: number | null = null;
  /** performance.now() of the last batch. */
  #heardAt = performance.now();
  #failure: TailraceError | null = null;
  /** Settles when the group was left and every connection is gone. */
  #left: Promise<void> = Promise.resolve();
  #disposed: Promise<void> | null = null;

  private constructor(options: KafkaOptions, brokers: Brokers, group: string, positions: readonly Position[]) {
    registerCodecs();
    this.#group = group;
    this.#brokers = brokers;
    this.#places = new Map(
      positions.map(({ topic, partition, offset }) => [
        keyOf({ topic, partition }),
        { topic, partition, next: offset, start: 0, end: offset },
      ]),
    );
    this.#client = kafkajsClient(options);
    this.#consumer = this.#client.kafka.consumer({
      groupId: group,
      partitionAssigners: [oneWorkerAssigner(positions, () => this.#holdsSince)],
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: REBALANCE_MS,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      maxBytes: FETCH_BYTES,
      maxBytesPerPartition: FETCH_PARTITION_BYTES,
      allowAutoTopicCreation: false,
      readUncommitted: true, // Tailrace writes no transactions
      retry: { retries: 4, initialRetryTime: 100, maxRetryTime: 2_000, restartOnFailure: () => Promise.resolve(false) },
    });
  }

  /** Checks that the brokers answer and goes on in the background; a gap or a taken group comes from poll. */
  static async open(
    options: KafkaOptions,
    brokers: Brokers,
    group: string,
    positions: readonly Position[],
    signal: AbortSignal,
  ): Promise<KafkaReader> {
    signal.throwIfAborted();
    const reader = new KafkaReader(options, brokers, group, positions);
    await reader.#checkRanges(signal);
    if (reader.#failure === null) void reader.#join().catch((error: unknown) => reader.#fail(requestFailure(error, `let ${group} read`)));
    return reader;
  }

  async poll(
    { maxBytes, waitMs }: { readonly maxBytes: number; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<readonly FetchedRecords[]> {
    const deadline = performance.now() + waitMs;
    await turn(); // a caller that polls in a loop must not keep sockets and timers from their turn
    signal.throwIfAborted();
    while (this.#buffer.length === 0) {
      if (this.#failure !== null) throw this.#failure;
      const left = deadline - performance.now();
      if (left <= 0) return [];
      await this.#arrived.wait(left, signal);
    }
    return this.#take(maxBytes);
  }

  async commit(positions: readonly Position[]): Promise<void> {
    if (this.#holdsSince === null || this.#failure !== null) return;
    const offsets = positions.map(({ topic, partition, offset }) => ({ topic, partition, offset: String(offset) }));
    await settled(this.#consumer.commitOffsets(offsets), COMMIT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#close();
    await this.#disposed;
  }

  async #close(): Promise<void> {
    this.#fail(new TailraceError("LOG_UNREACHABLE", { reason: "the reader is closed" }));
    this.#buffer.length = 0;
    await this.#left;
  }

  /** Leaves the group, so that another worker need not wait for the session to end. Never throws; bounded. */
  async #leave(): Promise<void> {
    this.#closing.abort();
    this.#drained.ring();
    await settled(this.#consumer.disconnect(), LEAVE_MS);
    this.#client.destroy();
  }

  /** Waits until the group has no member, so that a second worker never disturbs the first with a rebalance, and joins it. */
  async #join(): Promise<void> {
    if (!(await this.#groupIsFree())) return this.#fail(this.#taken());
    const { GROUP_JOIN, END_BATCH_PROCESS, CRASH } = this.#consumer.events;
    this.#consumer.on(GROUP_JOIN, (event) => this.#joined(event));
    this.#consumer.on(END_BATCH_PROCESS, ({ payload }) => {
      if (payload.batchSize === 0) this.#skipped(payload, Number(payload.lastOffset) + 1);
    });
    this.#consumer.on(CRASH, ({ payload }) => this.#fail(requestFailure(payload.error, `let ${this.#group} read`)));
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [...new Set([...this.#places.values()].map(({ topic }) => topic))] });
    if (this.#closing.signal.aborted) return;
    await this.#consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: (payload) => this.#receive(payload) });
    await this.#watch();
  }

  /** A worker that was killed stays a member until its session times out; only one that stays longer lives. */
  async #groupIsFree(): Promise<boolean> {
    const admin = this.#client.kafka.admin();
    await admin.connect();
    try {
      for (const deadline = performance.now() + SESSION_MS + 1_000; ;) {
        const { groups } = await admin.describeGroups([this.#group]);
        if (groups.every(({ members }) => members.length === 0)) return true;
        if (performance.now() > deadline || this.#closing.signal.aborted) return false;
        await sleep(200 + Math.random() * 100);
      }
    } finally {
      await settled(admin.disconnect(), LEAVE_MS);
    }
  }

  /** Called before kafkajs fetches anything of a generation: every partition is sought, so no committed or default offset counts. */
  #joined({ payload }: ConsumerGroupJoinEvent): void {
    const places = [...this.#places.values()];
    if (!places.every(({ topic, partition }) => payload.memberAssignment[topic]?.includes(partition) === true)) {
      this.#holdsSince = null;
      return this.#fail(this.#taken());
    }
    this.#holdsSince ??= Date.now();
    this.#heardAt = performance.now();
    for (const place of places) this.#seek(place);
  }

  #seek({ topic, partition, next }: Place): void {
    this.#consumer.seek({ topic, partition, offset: String(next) });
  }

  /** One partition's share of a fetch. Returns when the buffer has room again; a rebalance ends it by heartbeat's exception. */
  async #receive(given: EachBatchPayload): Promise<void> {
    const { batch } = given;
    const place = this.#places.get(keyOf(batch));
    if (place === undefined || this.#failure !== null) return;
    this.#heardAt = performance.now();
    if (fetchedOffset(batch) > place.next) return this.#jumped(place);
    const records = toRecords(batch.messages, place.next);
    place.end = Number(batch.highWatermark);
    place.next = Math.max(place.next, Number(batch.lastOffset()) + 1);
    given.resolveOffset(batch.lastOffset());
    this.#buffer.push({ place, records, next: place.next, end: place.end, taken: 0 });
    for (const record of records) this.#bufferedBytes += sizeOf(record);
    this.#arrived.ring();
    while (this.#bufferedBytes > BUFFER_BYTES && given.isRunning() && !this.#closing.signal.aborted) {
      await this.#drained.wait(HEARTBEAT_MS, this.#closing.signal).catch(() => undefined);
      await given.heartbeat();
    }
  }

  /**
   * kafkajs answers OFFSET_OUT_OF_RANGE by reading from its default offset, and says so in its log only. A batch that was
   * fetched from further on than asked shows it.
   */
  async #jumped(place: Place): Promise<void> {
    await this.#checkRanges(this.#closing.signal).catch(() => undefined);
    this.#seek(place);
  }

  /** A batch without records for us: kafkajs passes over it by itself. After a jump it would hide the gap. */
  #skipped(of: TopicPartition, next: number): void {
    const place = this.#places.get(keyOf(of));
    if (place === undefined || next <= place.next) return;
    void this.#checkRanges(this.#closing.signal)
      .then(() => {
        if (this.#failure !== null || next <= place.next) return;
        place.next = next;
        this.#buffer.push({ place, records: [], next, end: Math.max(place.end, next), taken: 0 });
        this.#arrived.ring();
      })
      .catch(() => undefined); // the next batch starts beyond `next` and is judged then
  }

  /** While nothing comes, nothing else would notice that the log was cut, or that a connection is stuck. */
  async #watch(): Promise<void> {
    const signal = this.#closing.signal;
    for (let failures = 0; this.#failure === null;) {
      await sleep(WATCH_MS * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => undefined);
      const quietMs = performance.now() - this.#heardAt;
      if (signal.aborted || this.#buffer.length > 0 || quietMs < WATCH_MS) continue;
      try {
        const behind = await this.#checkRanges(signal);
        if (!behind) this.#heardAt = performance.now();
        else if (quietMs > STALL_MS)
          throw new TailraceError("LOG_UNREACHABLE", { reason: `no records for ${STALL_MS / 1000} s though there are some` });
        failures = 0;
      } catch (error) {
        // One failed question may be a broker that restarts, which kafkajs rides out.
        if (++failures > 2 || quietMs > STALL_MS) this.#fail(requestFailure(error, `let ${this.#group} read`));
      }
    }
  }

  /** Fails the reader when a position is outside its partition's range. Returns whether there is more than was buffered. */
  async #checkRanges(signal: AbortSignal): Promise<boolean> {
    const asked = new Map([...this.#places.values()].map((place) => [place, place.next]));
    const topics = [...new Set([...asked.keys()].map(({ topic }) => topic))];
    const ranges = await this.#brokers.offsets(topics, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!hasKafkaError(error, "UNKNOWN_TOPIC_OR_PARTITION")) throw requestFailure(error, "tell the offsets");
      throw new TailraceError("TOPIC_LOST", { topic: topics.join(", "), reason: "it is not there" }, { cause: error });
    });
    const found = new Map(ranges.map((range) => [keyOf(range), range]));
    let behind = false;
    for (const [place, next] of asked) {
      const range = found.get(keyOf(place));
      if (range === undefined)
        throw new TailraceError("TOPIC_LOST", { topic: place.topic, reason: `it has no partition ${place.partition} any more` });
      place.start = range.start;
      place.end = Math.max(place.end, range.end);
      behind ||= place.next === next && next < range.end;
      // What arrived meanwhile was in the log: judge only what was asked about.
      if ((next < range.start && place.next === next) || next > range.end) {
        const { topic, partition } = place;
        const start = next > range.end ? range.end : range.start;
        this.#fail(new TailraceError("LOG_GAP", { topic, partition, start, needed: next }));
      }
    }
    return behind;
  }

  #take(maxBytes: number): readonly FetchedRecords[] {
    const taken: FetchedRecords[] = [];
    let bytes = 0;
    for (let chunk = this.#buffer[0]; chunk !== undefined; chunk = this.#buffer[0]) {
      const { place, records } = chunk;
      const from = chunk.taken;
      for (let record = records[chunk.taken]; record !== undefined; record = records[chunk.taken]) {
        const size = sizeOf(record);
        if (bytes > 0 && bytes + size > maxBytes) break;
        bytes += size;
        chunk.taken++;
      }
      const whole = chunk.taken === records.length;
      if (!whole && chunk.taken === from) break;
      const part = from === 0 && whole ? records : records.slice(from, chunk.taken);
      const next = whole ? chunk.next : part.at(-1)!.offset + 1;
      taken.push({ topic: place.topic, partition: place.partition, records: part, next, start: place.start, end: chunk.end });
      if (!whole) break;
      this.#buffer.shift();
    }
    this.#bufferedBytes -= bytes;
    this.#drained.ring();
    return taken;
  }

  #taken(): TailraceError {
    return new TailraceError("GROUP_TAKEN", { sink: this.#group });
  }

  /** Ends the reader. What is in the buffer can still be polled. */
  #fail(error: TailraceError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#left = this.#leave();
    this.#arrived.ring();
  }
}

/** kafkajs' message objects as records; those below `from` are left out. Its header values are a buffer, or a list of a repeated name's. */
function toRecords(messages: readonly KafkaMessage[], from: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (const { offset: text, timestamp, key, value, headers } of messages) {
    const offset = Number(text);
    if (offset >= from) records.push({ offset, timestamp: Number(timestamp), key, value, headers: toHeaders(headers) });
  }
  return records;
}

const noHeaders: LogRecord["headers"] = [];

function toHeaders(headers: KafkaMessage["headers"]): LogRecord["headers"] {
  if (headers === undefined) return noHeaders;
  const list: (readonly [string, Buffer])[] = [];
  for (const name in headers) {
    for (const value of [headers[name] ?? []].flat()) list.push([name, Buffer.from(value as Buffer)]);
  }
  return list;
}

function sizeOf({ key, value }: LogRecord): number {
  return RECORD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
}

/** Where the fetch began; kafkajs' types leave it out. */
function fetchedOffset(batch: Batch): number {
  return Number((batch as unknown as { readonly fetchedOffset: string }).fetchedOffset);
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}:${partition}`;
}
