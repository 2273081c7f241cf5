// Appends by produce requests of our own: record batches are stamped with a producer id and sequence numbers (idempotent,
// acks=all) and sent as they are. One lane a partition decides what may be sent (lane.ts); this gathers and sends it.
import { setMaxListeners } from "node:events";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { EncodedBatch, LogWriter } from "../../core/event-log.ts";
import { backoffMs, pause } from "../../core/pause.ts";
import { readBatchHeader, stampProducer } from "../../core/record-batch.ts";
import { eventually, onAbort, settled } from "./bounded.ts";
import { Brokers } from "./brokers.ts";
import { compressBatch } from "./codecs.ts";
import { appendFailure, hasKafkaError, isNotYet, mayPass, refusalIn, requestFailure } from "./failures.ts";
import { Lane } from "./lane.ts";
import { CONNECT_MS, REQUEST_MS } from "./options.ts";
import type { KafkaOptions } from "./options.ts";
import { answerKey, ProduceLink } from "./produce-link.ts";
import type { ProduceAnswer, ProduceTopic } from "./produce-request.ts";
import { Routes } from "./routes.ts";

/** Bytes of batches in one request, so that small ones share it; a larger batch goes alone. Java's max.request.size. */
const REQUEST_BYTES = 1024 * 1024;
/** How long a partition's batches are sent again before the writer ends: a leader that dies has a successor after about 9 s (broker.session.timeout.ms), ms. */
const TROUBLE_MS = 10_000;
/** Between two attempts, ms. */
const BACKOFF = { firstMs: 40, maxMs: 1_000 };
/** How long disposing waits for the appends in flight, and then for the connections to close, ms. */
const FINISH_MS = 1_500;
const CLOSE_MS = 300;

type Pending = {
  /** As it is sent. */
  readonly batch: EncodedBatch;
  readonly count: number;
  readonly acknowledged: (baseOffset: number) => void;
  readonly failed: (error: TailraceError) => void;
};

/** A connection to a broker, and the partitions with a batch to send there. */
type Leader = { readonly link: ProduceLink; readonly ready: Routed[] };

/** A lane and where it leads. The leader stays while batches are under way: a second way would let them overtake. */
type Routed = { readonly lane: Lane<Pending>; leader: Leader | null; at: "rest" | "ready" | "seeking" };

type Sent = { readonly routed: Routed; readonly batch: EncodedBatch };

/**
 * Nothing is linked to a clock: a request is made of all that is ready when there is room for it, so while requests are under
 * way the next one grows. What a leader refuses for now, and what was under way on a lost connection, is sent again with the
 * same bytes: if it had landed, the broker answers with its first offset, so R-writer still sees every offset. Anything else,
 * and trouble that lasts, ends the writer: whoever opens the next one reads the tails again (docs/adr/0003).
 */
export class KafkaWriter implements LogWriter {
  readonly #options: KafkaOptions;
  readonly #brokers: Brokers;
  readonly #routes: Routes;
  #producer: { readonly id: bigint; readonly epoch: number } = { id: -1n, epoch: -1 };
  readonly #lanes = new Map<string, Routed>();
  readonly #leaders = new Map<string, Leader>();
  /** Lanes whose leader has to be asked for. */
  #seeking: Routed[] = [];
  #pumping = false;
  /** Everything that waits for a broker; none of it ever rejects. */
  readonly #work = new Set<Promise<void>>();
  #unsettled = 0;
  #drained: (() => void)[] = [];
  #failure: TailraceError | null = null;
  readonly #ended = new AbortController();
  #closed: Promise<void> | null = null;
  #disposed: Promise<void> | null = null;

  private constructor(options: KafkaOptions, name: string) {
    this.#options = { ...options, clientId: `${options.clientId}-${name}`.replace(/\s+/g, "-") };
    this.#brokers = new Brokers(this.#options);
    this.#routes = new Routes(this.#brokers);
    setMaxListeners(0, this.#ended.signal); // as many waits at once as there are brokers in trouble
  }

  /** Connects, logs in and gets a producer id. Throws LOG_UNREACHABLE, LOG_LOGIN, LOG_DENIED. */
  static async open(options: KafkaOptions, name: string, signal: AbortSignal): Promise<KafkaWriter> {
    signal.throwIfAborted();
    const writer = new KafkaWriter(options, name);
    try {
      writer.#producer = await eventually(() => writer.#initialize(signal), "a producer id", CONNECT_MS + REQUEST_MS, signal);
      return writer;
    } catch (error) {
      await writer.#shut(closed());
      signal.throwIfAborted();
      throw requestFailure(error, "give out a producer id");
    }
  }

  /** null: the broker is not ready for it yet. */
  async #initialize(signal: AbortSignal): Promise<{ readonly id: bigint; readonly epoch: number } | null> {
    try {
      return await this.#brokers.producerId(signal);
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
      // The bytes are the caller's again when this settles: nothing is sent any more, and every connection is gone by now.
      await settled(Promise.all(this.#work), CLOSE_MS);
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
    if (this.#unsettled > 0) await settled(new Promise<void>((resolve) => this.#drained.push(resolve)), FINISH_MS);
    await this.#shut(closed());
  }

  #enqueue(batch: EncodedBatch): Promise<number> {
    return new Promise((acknowledged, failed) => {
      if (this.#failure !== null) {
        failed(refusal(this.#failure)); // by an earlier batch of the same call
        return;
      }
      const key = answerKey(batch.topic, batch.partition);
      let routed = this.#lanes.get(key);
      if (routed === undefined) this.#lanes.set(key, (routed = { lane: new Lane(batch), leader: null, at: "rest" }));
      const pending = { batch, count: batch.count, acknowledged, failed };
      const sequence = routed.lane.add(pending);
      this.#unsettled++;
      try {
        check(batch);
        const bytes = compressBatch(batch.bytes, this.#options.compression ?? "none");
        pending.batch = { ...batch, bytes };
        stampProducer(bytes, this.#producer.id, this.#producer.epoch, sequence);
        this.#advance(routed);
      } catch (error) {
        this.#fail(appendFailure(error, batch));
      }
    });
  }

  /** Puts the lane where its next batch goes on, if there is one that may. */
  #advance(routed: Routed): void {
    const now = performance.now();
    const { lane } = routed;
    if (routed.at !== "rest" || lane.next(now) === null) return;
    if (lane.inFlight === 0) routed.leader = this.#knownLeader(lane, now);
    if (routed.leader === null) this.#seek(routed);
    else {
      routed.at = "ready";
      routed.leader.ready.push(routed);
      this.#pump();
    }
  }

  #seek(routed: Routed): void {
    routed.at = "seeking";
    this.#seeking.push(routed);
    this.#pump();
  }

  /** Sends what is ready, once all appends and answers of this turn have come in, so that partitions share requests. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.#failure !== null) return;
      if (this.#seeking.length > 0) this.#track(this.#find(this.#seeking.splice(0)));
      for (const leader of this.#leaders.values()) this.#feed(leader);
    });
  }

  #feed(leader: Leader): void {
    while (leader.ready.length > 0) {
      if (leader.link.state === "closed") this.#track(this.#connect(leader));
      if (leader.link.state !== "open") return;
      const sent = this.#gather(leader);
      if (sent.length === 0) return;
      this.#track(this.#send(leader, sent));
    }
  }

  /** One batch of each lane that is ready, while there is room for them. */
  #gather({ link, ready }: Leader): Sent[] {
    const now = performance.now();
    const sent: Sent[] = [];
    let bytes = 0;
    let looked = 0;
    for (const routed of ready) {
      const pending = routed.lane.next(now);
      if (pending !== null) {
        const size = pending.batch.bytes.length;
        if (!link.hasRoom(bytes + size) || (bytes > 0 && bytes + size > REQUEST_BYTES)) break;
        bytes += size;
        routed.lane.sent(now);
        sent.push({ routed, batch: pending.batch });
      }
      routed.at = "rest";
      looked++;
    }
    ready.splice(0, looked);
    for (const { routed } of sent) this.#advance(routed); // its next batch goes with the next request
    return sent;
  }

  async #send({ link }: Leader, sent: readonly Sent[]): Promise<void> {
    const bytes = sent.reduce((sum, { batch }) => sum + batch.bytes.length, 0);
    let answers: ReadonlyMap<string, ProduceAnswer> = new Map();
    let lost: Error | null = null;
    try {
      answers = await link.produce(this.#requestOf(sent), bytes);
    } catch (error) {
      lost = error instanceof Error ? error : TailraceError.from(error);
    }
    // What landed first, so that a refusal in the same answer takes nothing else with it.
    const refused: { readonly routed: Routed; readonly error: Error }[] = [];
    for (const { routed, batch } of sent) {
      const answer = answers.get(answerKey(batch.topic, batch.partition));
      const error = lost ?? refusalIn(answer);
      if (error === null) this.#landed(routed, Number(answer?.baseOffset));
      else refused.push({ routed, error });
    }
    for (const { routed, error } of refused) this.#refuse(routed, error);
    this.#pump();
  }

  #requestOf(sent: readonly Sent[]): readonly ProduceTopic[] {
    const topics = new Map<string, { readonly partition: number; readonly bytes: Buffer }[]>();
    for (const { batch } of sent) {
      const partitions = topics.get(batch.topic);
      if (partitions === undefined) topics.set(batch.topic, [batch]);
      else partitions.push(batch);
    }
    return [...topics].map(([name, partitions]) => ({ name, id: this.#routes.id(name), partitions }));
  }

  #landed(routed: Routed, baseOffset: number): void {
    if (this.#failure !== null) return;
    const pending = routed.lane.landed(performance.now());
    if (pending !== null) {
      pending.acknowledged(baseOffset);
      this.#settle(1);
      this.#advance(routed);
    } else if (routed.lane.inFlight === 0) this.#again(routed);
  }

  /** The oldest batch under way of a lane was not taken: it is sent again, or the writer ends. */
  #refuse(routed: Routed, error: Error): void {
    if (this.#failure !== null) return;
    const { lane } = routed;
    const now = performance.now();
    // What follows a refused batch is out of order by that alone.
    const follows = lane.refused && hasKafkaError(error, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    if (!follows && (!mayPass(error) || lane.troubledMs(now) > TROUBLE_MS)) {
      this.#fail(appendFailure(error, lane));
      return;
    }
    if (!lane.refused)
      this.#options.log?.debug({ topic: lane.topic, partition: lane.partition, reason: reasonOf(error) }, "an append is sent again");
    lane.refuse(now);
    if (lane.inFlight === 0) this.#again(routed);
  }

  /** All that was under way is answered or lost. A lane that stands ready has found that out already, or does when it is looked at. */
  #again(routed: Routed): void {
    if (routed.at === "ready") routed.leader?.ready.splice(routed.leader.ready.indexOf(routed), 1);
    if (routed.at !== "seeking") this.#seek(routed);
  }

  /** There is no leader or no way to it: looked for again later, or the writer ends. */
  #stall(routed: Routed, error: unknown): void {
    if (this.#failure !== null) return;
    const failure = appendFailure(error, routed.lane);
    const now = performance.now();
    if (failure.code !== "LOG_UNREACHABLE" || routed.lane.troubledMs(now) > TROUBLE_MS) {
      this.#fail(failure);
      return;
    }
    routed.lane.stall(now);
    this.#seek(routed);
  }

  /** Asks who leads the lanes' partitions, after a pause when that has been in vain before. */
  async #find(found: readonly Routed[]): Promise<void> {
    const { signal } = this.#ended;
    const refusals = Math.max(...found.map(({ lane }) => lane.refusals));
    if (refusals > 0) await pause(backoffMs(refusals - 1, BACKOFF, Math.random()), signal);
    try {
      await this.#routes.refresh([...new Set(found.map(({ lane }) => lane.topic))], signal);
    } catch (error) {
      for (const routed of found) this.#stall(routed, error);
      return;
    }
    for (const routed of found) {
      try {
        this.#routes.leader(routed.lane);
      } catch (error) {
        this.#stall(routed, error);
        continue;
      }
      routed.lane.mend();
      routed.at = "rest";
      this.#advance(routed);
    }
  }

  async #connect({ link, ready }: Leader): Promise<void> {
    try {
      await link.open(this.#ended.signal);
    } catch (error) {
      for (const routed of ready.splice(0)) {
        routed.at = "rest";
        if (routed.lane.inFlight === 0) this.#stall(routed, error);
      }
    }
    this.#pump();
  }

  #knownLeader(lane: Lane<Pending>, now: number): Leader | null {
    const broker = this.#routes.known(lane, now);
    if (broker === null) return null;
    const key = `${broker.host}:${broker.port}`;
    let leader = this.#leaders.get(key);
    if (leader === undefined) {
      leader = { link: new ProduceLink(this.#options, broker, () => this.#pump()), ready: [] };
      this.#leaders.set(key, leader);
    }
    return leader;
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch((error: unknown) => this.#fail(TailraceError.from(error))).finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  #settle(count: number): void {
    this.#unsettled -= count;
    if (this.#unsettled === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Ends the writer: nothing is sent any more, every connection is cut, and every batch that waits or is in flight fails. */
  #fail(error: TailraceError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#ended.abort(error);
    for (const { link } of this.#leaders.values()) link.cut();
    this.#closed = this.#brokers.close(CLOSE_MS);
    for (const { lane } of this.#lanes.values()) {
      const pendings = lane.clear();
      for (const pending of pendings) pending.failed(error);
      this.#settle(pendings.length);
    }
  }

  async #shut(error: TailraceError): Promise<void> {
    this.#fail(error);
    await settled(Promise.all(this.#work), CLOSE_MS);
    await this.#closed;
  }
}

/** Stamping makes the CRC right again, so what was damaged has to be seen before. */
function check(batch: EncodedBatch): void {
  const { topic, partition, bytes, count } = batch;
  const refused = (reason: string, cause?: unknown): TailraceError =>
    new TailraceError("LOG_REFUSED", { topic, partition, reason }, { cause });
  let header;
  try {
    header = readBatchHeader(bytes, 0, batch);
  } catch (cause) {
    throw refused(reasonOf(cause), cause);
  }
  if (header.byteLength !== bytes.length) throw refused(`a batch of ${header.byteLength} bytes comes with ${bytes.length}`);
  if (header.count !== count || header.nextOffset - header.baseOffset !== count) {
    throw refused(`a batch of ${header.count} records in ${header.nextOffset - header.baseOffset} offsets says ${count}`);
  }
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
