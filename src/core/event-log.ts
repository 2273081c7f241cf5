// The port of the event log: where events become durable. Kafka and the embedded log both pass test/conformance.

/** What a topic should be when it is made. */
export type TopicSpec = {
  readonly name: string;
  readonly partitions: number;
  /** −1: the broker's default. */
  readonly replication: number;
  /** Kafka topic configs, as `cleanup.policy` or `max.message.bytes`. */
  readonly configs: Readonly<Record<string, string>>;
};

/** What a topic is. A topic that was deleted and made again has another id. */
export type Topic = { readonly name: string; readonly id: string; readonly partitions: number };

export type TopicPartition = { readonly topic: string; readonly partition: number };

/** Offsets below 2^53. `start`: first record still there; `end`: the offset that the next record gets. */
export type OffsetRange = TopicPartition & { readonly start: number; readonly end: number };

/** One record batch in Kafka's format v2 (core/record-batch), with base offset 0 and no producer id. */
export type EncodedBatch = TopicPartition & {
  /** Owned by the log until the append settles, which may write into the header; then the caller may reuse it. */
  readonly bytes: Buffer;
  /** Records in it, at least 1. */
  readonly count: number;
};

export type LogRecord = {
  readonly offset: number;
  /** CreateTime, ms since 1970. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  /** null: a tombstone. */
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer])[];
};

/** Records of one partition in offset order. Control records are left out, so offsets may skip; `next` is what to read then. */
export type FetchedRecords = TopicPartition & {
  readonly records: readonly LogRecord[];
  readonly next: number;
  /** The partition's range when this was fetched. */
  readonly start: number;
  readonly end: number;
};

/** A place to read from. */
export type Position = TopicPartition & { readonly offset: number };

/**
 * Opens and describes topics. All methods throw TailraceError: LOG_UNREACHABLE, LOG_LOGIN (both auto) unless named otherwise,
 * and reading a topic that does not exist throws TOPIC_LOST. An aborted signal ends a wait at once: the promise rejects with
 * the signal's reason. Disposing twice is harmless.
 */
export interface EventLog extends AsyncDisposable {
  readonly kind: "kafka" | "embedded";
  /** For messages: brokers or folder; no secrets. */
  readonly address: string;
  /** The topics that exist among `names`. */
  topics(names: readonly string[], signal: AbortSignal): Promise<readonly Topic[]>;
  /** Makes the topic and waits until it can be written and read; the existing one when it is already there. */
  createTopic(spec: TopicSpec, signal: AbortSignal): Promise<Topic>;
  /** The effective values of the named configs of a topic (`cleanup.policy`, `max.message.bytes`); absent ones are left out. */
  topicConfigs(topic: string, names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Deletes a topic with its records; nothing happens when it is not there. */
  deleteTopic(topic: string, signal: AbortSignal): Promise<void>;
  offsets(topic: string, signal: AbortSignal): Promise<readonly OffsetRange[]>;
  /** Reads once from a place without a group, at most about `maxBytes`; no records when the place is the end. Throws LOG_GAP below `start` or past `end`. */
  read(from: Position, maxBytes: number, signal: AbortSignal): Promise<FetchedRecords>;
  openWriter(options: WriterOptions, signal: AbortSignal): Promise<LogWriter>;
  /** Reads on from `positions` as the only worker of `group`. No automatic offset reset: a position outside a partition's range throws LOG_GAP from poll. May throw GROUP_TAKEN at once, else poll does. */
  openReader(group: string, positions: readonly Position[], signal: AbortSignal): Promise<LogReader>;
}

export type WriterOptions = {
  /** For the client id. */
  readonly name: string;
};

/**
 * Appends to one partition keep the order of the calls, however many are in flight. After a failed append, which may
 * have happened, the writer refuses every later one: dispose it, read the tails, open another.
 */
export interface LogWriter extends AsyncDisposable {
  /**
   * Resolves when every in-sync replica has all the batches (acks=all), with the base offset of each, in their order.
   * Throws LOG_REFUSED (what the broker says), LOG_UNREACHABLE, LOG_LOGIN.
   */
  append(batches: readonly EncodedBatch[], signal: AbortSignal): Promise<readonly number[]>;
}

export interface LogReader extends AsyncDisposable {
  /**
   * The next records, at most about `maxBytes` in all; waits up to `waitMs` for the first one and then returns what is
   * there, perhaps nothing. Throws GROUP_TAKEN when another worker holds the partitions, LOG_GAP.
   */
  poll(options: { readonly maxBytes: number; readonly waitMs: number }, signal: AbortSignal): Promise<readonly FetchedRecords[]>;
  /** Tells lag tools how far the sink is; never read back. Failures are ignored. */
  commit(positions: readonly Position[]): Promise<void>;
}
