// From encoded events to the log: the buffers of the partitions, cut into rounds, several rounds in flight, barriers behind
// them. Decides when a commit is durable; what may be acknowledged follows from that (acks.ts).
import { TailraceError } from "../core/errors.ts";
import type { EncodedBatch, LogWriter, Topic } from "../core/event-log.ts";
import { reach } from "../core/failpoint.ts";
import { ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { barrierTopic, encodeBarrier, type Barrier, type SnapshotEnd } from "../core/barrier.ts";
import { ackable, type Round } from "./acks.ts";
import { FlushWaits } from "./flush-waits.ts";
import { PartitionBuffers, type PartitionBuffer, type TakenBatches } from "./partition-buffers.ts";

/** Bytes of events that make a round full. Smaller: more requests. Larger: more latency and memory a round. */
const ROUND_BYTES = 512 * 1024;
/** Rounds in flight at most: with ROUND_BYTES and the largest row it bounds the memory between socket and log. */
const ROUNDS_IN_FLIGHT = 6;
/** Bytes in flight at most; above it the stream is paused whatever the number of rounds. */
const BYTES_IN_FLIGHT = 32 * 1024 * 1024;

/**
 * Least time between two requests of small rounds, ms: after a longer while of nothing a transaction goes at once, in a stream of small ones
 * those of so long share a request. Under load the stream is read in gusts (ReadPace).
 */
const GATHER_MS = 1;
/** How long a barrier waits for a round that takes it along, ms: a request of its own would cost as much again. */
const BARRIER_MS = 5;
const NOTHING: TakenBatches = { batches: [], writers: [], expected: [] };

export type PublisherEvents = {
  /** The log is behind: stop reading (true), or go on (false). */
  backpressure(paused: boolean): void;
  /** The events of a round are durable; its barrier may still be under way. */
  published(round: PublishedRound): void;
  /** Something more may be acknowledged than before. */
  progress(): void;
  /** The barrier that says these snapshots' ends is durable. */
  announced(ends: readonly SnapshotEnd[]): void;
  /** The writer failed; nothing further is published. */
  failed(error: TailraceError): void;
};

export type PublishedRound = {
  /** From handing it to the log until it was durable. */
  readonly durationMs: number;
  /** Events by the counter that appended() was given. */
  readonly counts: Float64Array;
  /** Commit time of the newest transaction with events in it, µs since 1970. */
  readonly newestCommitMicros: bigint;
};

/**
 * What a COMMIT asks for: a barrier; none, since the transaction had no events; or none yet, since redelivery has not
 * passed the highest tail and a barrier could cut a transaction in half. A commit of the last kind is acknowledged with a later one, or by a keepalive.
 */
export type CommitKind = "barrier" | "empty" | "redelivered";

type RoundInFlight = {
  readonly endLsn: Lsn | null;
  durable: boolean;
  appended: boolean;
  /** What to write behind it when it completes a commit. */
  readonly barrier: Barrier | null;
};

export class Publisher {
  readonly #writer: LogWriter;
  readonly #prefix: string;
  readonly #epoch: number;
  readonly #events: PublisherEvents;
  readonly #signal: AbortSignal;
  readonly #buffers = new PartitionBuffers();
  readonly #rounds: RoundInFlight[] = [];
  #bytes = 0;
  #bytesInFlight = 0;
  #paused = false;
  #failed = false;
  #open = false;
  #pendingEnd: Lsn | null = null;
  #pendingCommit: { lsn: Lsn; micros: bigint } | null = null;
  /** The last transaction with a barrier, sent or not. */
  #lastCommit: { readonly lsn: Lsn; readonly micros: bigint } | null = null;
  #pendingEnds: readonly SnapshotEnd[] = [];
  #commitMicros = 0n;
  #counts: Float64Array;
  /** performance.now() of the last request of small rounds or barriers. */
  #sentAt = -Infinity;
  #draining = false;
  #barrierInFlight = false;
  #barrierTimer: NodeJS.Timeout | undefined;
  #barrierEnd: number;
  #keepalive: Lsn = ZERO_LSN;
  /** Everything before it is durable, barriers included. */
  #durable: Lsn;
  #published: Lsn;
  #sendScheduled = false;
  #idle: (() => void)[] = [];
  readonly #flushes = new FlushWaits();
  /** R-park: named in barriers. */
  parked: readonly TableName[] = [];

  constructor(options: {
    readonly writer: LogWriter;
    readonly prefix: string;
    readonly epoch: number;
    readonly acknowledged: Lsn;
    /** Commit LSN of the last published transaction. */
    readonly published: Lsn;
    /** Length of `counts`. */
    readonly counters: number;
    /** Offset that the next barrier gets. */
    readonly barrierEnd: number;
    readonly events: PublisherEvents;
    readonly signal: AbortSignal;
  }) {
    this.#writer = options.writer;
    this.#prefix = options.prefix;
    this.#epoch = options.epoch;
    this.#durable = options.acknowledged;
    this.#published = options.published;
    this.#counts = new Float64Array(options.counters);
    this.#barrierEnd = options.barrierEnd;
    this.#events = options.events;
    this.#signal = options.signal;
  }

  /** Adds a topic, `ends` being the offset that the next record of each partition gets. Barriers name data topics only. */
  addTopic(topic: Topic, ends: readonly number[], maxBytes: number, kind: "data" | "aside" = "data"): readonly PartitionBuffer[] {
    return this.#buffers.add(topic, ends, maxBytes, kind);
  }

  /** Nothing more goes to this topic, and no barrier names it from now on; what went there must be durable. */
  removeTopic(name: string): void {
    this.#buffers.remove(name);
  }

  /** Commit LSN of the last transaction whose barrier is durable. */
  get published(): Lsn {
    return this.#published;
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight + this.#bytes;
  }

  /** A transaction begins; `commitMicros`: its commit time, µs since 1970. */
  begin(commitMicros: bigint): void {
    this.#open = true;
    this.#commitMicros = commitMicros;
  }

  /** Must be called before a record of about `bytes` is appended to the buffer: cuts a round when it would grow too large. */
  reserve(buffer: PartitionBuffer, bytes: number): void {
    if (buffer.batch.count > 0 && buffer.batch.byteLength + bytes > buffer.maxBytes) this.#cut();
  }

  /** Notes that `bytes` were appended to the buffer. `counter`: which count of the round grows. */
  appended(buffer: PartitionBuffer, bytes: number, counter: number): void {
    if (!buffer.touched) this.#buffers.touch(buffer);
    this.#counts[counter] = (this.#counts[counter] ?? 0) + 1;
    this.#bytes += bytes;
    if (this.#bytes < ROUND_BYTES) this.#sendSoon();
    else if (this.#cut()) this.#sendBarrier();
  }

  /**
   * As appended(), of a record that belongs to no transaction of the stream: barriers leave the buffer's offset where it is until
   * settle() is called (R-park).
   */
  appendedAside(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes >= ROUND_BYTES) this.#cut();
    else this.#sendSoon();
  }

  /** Between two transactions: from now on barriers count what was drained into these buffers. */
  settle(buffers: readonly PartitionBuffer[]): void {
    for (const buffer of buffers) buffer.committed = buffer.begin + buffer.batch.count;
  }

  /** Resolves when everything received so far is durable, its barrier or not. Rejects when the publisher has failed. */
  async flushed(): Promise<void> {
    this.#cut();
    if (this.#failed) throw notPublished();
    const rounds = this.#rounds.filter(({ appended }) => !appended);
    if (rounds.length > 0) await this.#flushes.until(rounds);
  }

  /** The transaction is complete. */
  commit(commitLsn: Lsn, endLsn: Lsn, kind: CommitKind): void {
    this.#open = false;
    this.#buffers.commit();
    if (kind === "redelivered") return;
    this.#pendingEnd = endLsn;
    if (kind === "barrier") this.#lastCommit = this.#pendingCommit = { lsn: commitLsn, micros: this.#commitMicros };
    this.#sendSoon();
  }

  /** Says in the next barrier that these snapshots are complete (R-sweep): their rows are durable, and a transaction with a barrier has been published. */
  announce(ends: readonly SnapshotEnd[]): void {
    this.#pendingEnds = lastOfEach([...this.#pendingEnds, ...ends]);
    this.#sendSoon();
  }

  /** The server has sent everything before `walEnd`. */
  keepalive(walEnd: Lsn): void {
    if (this.#failed) return;
    if (walEnd > this.#keepalive) this.#keepalive = walEnd;
    this.#events.progress();
  }

  /** Nothing received may be published any more: what was read after an error must not stand in the log without it. */
  abandon(): void {
    this.#giveUp();
  }

  #giveUp(): void {
    this.#failed = true;
    for (const resolve of this.#idle.splice(0)) resolve();
    this.#flushes.reject(notPublished());
  }

  /** What may be acknowledged now. */
  ackable(): Lsn {
    return ackable({
      rounds: this.#rounds satisfies readonly Round[],
      open: this.#open,
      unsent: this.#bytes > 0 || this.#pendingEnd !== null,
      keepalive: this.#keepalive,
      acked: this.#durable,
    });
  }

  /** Resolves when everything received is durable with its barrier, or the publisher has failed. */
  async drained(): Promise<void> {
    this.#draining = true;
    this.#cut();
    this.#sendBarrier();
    if (this.#failed || this.#rounds.length === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #sendSoon(): void {
    if (this.#sendScheduled) return;
    this.#sendScheduled = true;
    const send = (): void => {
      this.#sendScheduled = false;
      try {
        // With events on their way, or a barrier that is waited for, the next round gathers more meanwhile.
        const cut = this.#rounds.every((round) => round.appended) && (!this.#barrierInFlight || this.#rounds.length < 2) && this.#cut();
        if (cut || this.#draining) this.#sendBarrier();
        else this.#sendBarrierSoon();
      } catch (cause) {
        this.#fail(cause); // in a timer nobody else would hear of it
      }
    };
    const waitMs = this.#draining ? 0 : this.#sentAt + GATHER_MS - performance.now();
    if (waitMs > 0) setTimeout(send, waitMs);
    else setImmediate(send); // after the socket's chunk has been read whole
  }

  /** Whether a request goes. */
  #cut(): boolean {
    if (this.#failed || (this.#bytes === 0 && this.#pendingEnd === null && !this.#announces)) return false;
    const { batches, writers, expected } = this.#bytes > 0 ? this.#buffers.take(Date.now()) : NOTHING;
    const round: RoundInFlight = { endLsn: this.#pendingEnd, durable: false, appended: batches.length === 0, barrier: this.#barrier() };
    const started = performance.now();
    const bytes = this.#bytes;
    const report = { counts: this.#counts, newestCommitMicros: this.#commitMicros };
    this.#rounds.push(round);
    this.#bytesInFlight += bytes;
    this.#bytes = 0;
    this.#counts = new Float64Array(this.#counts.length);
    this.#pendingEnd = null;
    this.#pendingCommit = null;
    if (batches.length === 0) {
      this.#sendSoon();
      return false;
    }
    this.#applyBackpressure();
    this.#sentAt = started;
    this.#writer
      .append(batches, this.#signal)
      .then((offsets) => {
        for (const [index, batch] of batches.entries()) refuseSecondWriter(batch, expected[index], offsets[index]);
        reach("source.after_append");
        for (const writer of writers) this.#buffers.release(writer);
        round.appended = true;
        this.#flushes.look();
        this.#bytesInFlight -= bytes;
        this.#events.published({ ...report, durationMs: performance.now() - started });
        this.#sendSoon();
      })
      .catch((cause: unknown) => this.#fail(cause));
    return true;
  }

  /** Ends wait, and no transaction is open whose events a barrier could cut in half. */
  get #announces(): boolean {
    return this.#pendingEnds.length > 0 && this.#lastCommit !== null;
  }

  #barrier(): Barrier | null {
    const commit = this.#pendingCommit ?? (this.#announces ? this.#lastCommit : null);
    if (commit === null) return null;
    const snapshots = this.#pendingEnds;
    this.#pendingEnds = [];
    const topics = this.#buffers.places();
    return { epoch: this.#epoch, commitLsn: commit.lsn, commitMicros: commit.micros, topics, parked: this.parked, snapshots };
  }

  /** With the next round; alone when none comes. */
  #sendBarrierSoon(): void {
    if (this.#barrierInFlight) return;
    const flying = this.#rounds.findIndex(({ appended }) => !appended);
    const appended = flying === -1 ? this.#rounds : this.#rounds.slice(0, flying);
    if (appended.every(({ barrier }) => barrier === null)) this.#sendBarrier();
    else
      this.#barrierTimer ??= setTimeout(() => {
        try {
          this.#sendBarrier();
        } catch (cause) {
          this.#fail(cause);
        }
      }, BARRIER_MS);
  }

  /** Marks rounds durable from the front; a run of appended rounds shares the last one's barrier. */
  #sendBarrier(): void {
    clearTimeout(this.#barrierTimer);
    this.#barrierTimer = undefined;
    if (this.#failed || this.#barrierInFlight) return;
    let last = -1;
    let barrier: Barrier | null = null;
    let ends: readonly SnapshotEnd[] = [];
    for (const [index, round] of this.#rounds.entries()) {
      if (!round.appended) break;
      last = index;
      if (round.barrier !== null) {
        if (round.barrier.snapshots.length > 0) ends = lastOfEach([...ends, ...round.barrier.snapshots]);
        barrier = round.barrier;
      }
    }
    if (last === -1) return;
    if (barrier === null) {
      this.#finish(last);
      return;
    }
    this.#barrierInFlight = true;
    const value = encodeBarrier({ ...barrier, snapshots: ends });
    const batch = this.#buffers.takeWriter();
    batch.append(null, 0, 0, value, 0, value.length);
    const encoded: EncodedBatch = { topic: barrierTopic(this.#prefix), partition: 0, bytes: batch.finish(Date.now()), count: 1 };
    const at = this.#barrierEnd++;
    this.#sentAt = performance.now();
    this.#writer
      .append([encoded], this.#signal)
      .then(([offset]) => {
        refuseSecondWriter(encoded, at, offset);
        reach("source.after_barrier");
        this.#barrierInFlight = false;
        this.#buffers.release(batch);
        this.#published = barrier.commitLsn;
        if (ends.length > 0) this.#events.announced(ends);
        this.#finish(last);
      })
      .catch((cause: unknown) => this.#fail(cause));
  }

  #finish(last: number): void {
    for (const round of this.#rounds.slice(0, last + 1)) round.durable = true;
    this.#durable = this.ackable();
    this.#rounds.splice(0, last + 1);
    this.#applyBackpressure();
    this.#events.progress();
    if (this.#rounds.length > 0 || this.#bytes > 0 || this.#pendingEnd !== null || this.#announces) this.#sendSoon();
    else for (const resolve of this.#idle.splice(0)) resolve();
  }

  #applyBackpressure(): void {
    const full = this.#rounds.length >= ROUNDS_IN_FLIGHT || this.#bytesInFlight >= BYTES_IN_FLIGHT;
    if (full === this.#paused) return;
    this.#paused = full;
    this.#events.backpressure(full);
  }

  #fail(cause: unknown): void {
    if (this.#failed) return;
    this.#giveUp();
    this.#events.failed(TailraceError.from(cause));
  }
}

/** R-sweep: the last end of each table, which has the latest opening: its sweep takes all that those of the others would. */
function lastOfEach(ends: readonly SnapshotEnd[]): readonly SnapshotEnd[] {
  return [...new Map(ends.map((end) => [tableLabel(end.table), end])).values()];
}

function notPublished(): TailraceError {
  return new TailraceError("STREAM_LOST", { reason: "nothing is published any more" });
}

/** R-writer: the source is a partition's only writer, so each append lands where the last one ended. */
function refuseSecondWriter({ topic, partition }: EncodedBatch, expected: number | undefined, seen: number | undefined): void {
  if (seen !== expected) throw new TailraceError("SECOND_WRITER", { topic, partition, expected: expected ?? -1, seen: seen ?? -1 });
}
