// One sink: from the warehouse's own checkpoint through the log to the warehouse. A run ends only when asked to or by
// an error; whoever supervises it starts another, which begins again at the checkpoint.
import { schemaIdOf } from "../avro/decoder.ts";
import { isUnreadable, unreadableAt } from "../avro/shape.ts";
import { barrierTopic } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, FetchedRecords, LogReader, Position } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { SourceState } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { Checkpoint, DeadLetter, Warehouse } from "../core/warehouse.ts";
import { Barriers, sweepsOf, type AwaitedSweep } from "./barriers.ts";
import { Decoders, type Decoding } from "./decoders.ts";
import { Expiries } from "./expiries.ts";
import { flushPending, type Flushed } from "./flush.ts";
import { watchLag, type SinkLag } from "./lag.ts";
import { OpenLetters } from "./open-letters.ts";
import { Pending, type Awaited } from "./pending.ts";
import { findGaps, placeOf, startPositions, toPosition, type Gap, type Progress } from "./positions.ts";
import { routesOf, type Route, type TableRule } from "./routes.ts";
import { readTopics, SourceWatch } from "./source-watch.ts";

export type SinkOptions = {
  readonly name: string;
  /** topics.prefix of the source. */
  readonly prefix: string;
  readonly rule: TableRule;
  /** Rows (one per key) or ms since the first event after which a flush begins. */
  readonly flush: { readonly everyMs: number; readonly rows: number };
};

/** What a sink tells while it runs: for metrics and status. */
export type SinkObserver = {
  state(state: SinkRunState): void;
  flushed(report: FlushReport): void;
  /** Records of the log that are not merged, when last seen. */
  lag(records: number): void;
  /** R-epoch: barriers, or ends of snapshots in them, that are of a dead process or of a topic that is gone. */
  barriersSkipped(count: number): void;
  /** R-routing: the log began behind what was merged, in so many partitions; a snapshot is to mend it. */
  gaps(partitions: number): void;
};

export type SinkRunState = "waiting for the source" | "waiting for the warehouse" | "reading";

export type FlushReport = {
  readonly events: number;
  readonly durationMs: number;
  /** The part of it until the warehouse was open, waits for another holder included. */
  readonly openMs: number;
  readonly merged: readonly { readonly table: TableName; readonly rows: number }[];
  /** Less those that only wait for a snapshot. */
  readonly deadLetters: readonly DeadLetter[];
  /** Keys with an open dead letter. */
  readonly openLetters: number;
  /** Keys whose events wait for a snapshot to bring their row. */
  readonly awaitingSnapshot: number;
  /** Events by commit time, µs since 1970. */
  readonly commits: ReadonlyMap<bigint, number>;
  readonly lastSequence: string;
};

export type SinkParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly warehouse: Warehouse;
  readonly logger: Log;
  readonly observer: SinkObserver;
  /** The same in every run. */
  readonly lag: SinkLag;
  /** Labels of the tables that an operator holds: their events stay in the log. Asked when a run begins. */
  readonly pausedTables: () => ReadonlySet<string>;
  /** Asks the source for snapshots; true once the request is durable there, false when the source makes none. */
  readonly requestSnapshot: (tables: readonly TableName[], reason: string) => Promise<boolean>;
};

/** Bytes of events kept between two flushes; a flush begins early when they are reached. */
const PENDING_BYTES = 64 * 1024 * 1024;
const POLL_BYTES = 8 * 1024 * 1024;
/** Barriers read since the last flush that make one worth its while by themselves: after a restart they are read again. */
const FLUSH_BARRIERS = 50_000;
/** A poll that finds nothing returns after this, ms. */
const IDLE_POLL_MS = 500;

/**
 * Runs until `stop` is aborted (what was read is flushed first) or an error; both leave the checkpoint true. `force`
 * ends it without that flush.
 */
export async function runSink(options: SinkOptions, parts: SinkParts, stop: AbortSignal, force: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const watching = watchLag(parts.log, parts.lag, () => sayLag(parts), ended.signal);
  try {
    await readAll(options, parts, stop, force);
  } finally {
    ended.abort();
    await watching;
  }
}

async function readAll(options: SinkOptions, parts: SinkParts, stop: AbortSignal, force: AbortSignal): Promise<void> {
  parts.observer.state("waiting for the source");
  const source = new SourceWatch(parts.log, options.prefix);
  let state = await source.next(null, stop);
  if (state === null) return;
  try {
    await using run = await unlessAborted(SinkRun.start(options, parts, source, stop), stop);
    if (run === null) return;
    while (state !== null) state = await run.readUntilTopicsChange(state, stop, force);
  } catch (cause) {
    // A topic that is gone, or another one that is shorter, is the source's to replace: in a new epoch, which is waited for.
    const isLost = cause instanceof TailraceError && (cause.code === "TOPIC_LOST" || cause.code === "LOG_GAP");
    if (!isLost || !source.makesSnapshots) throw cause;
    throw new TailraceError("GAP_FOUND", { reason: cause.message }, { cause });
  }
}

/** An event of a later epoch than the state's that is read by. */
class NewEpoch extends Error {
  readonly epoch: number;

  constructor(epoch: number) {
    super(`epoch ${epoch}`);
    this.epoch = epoch;
  }
}

function sayLag({ lag, observer }: SinkParts): void {
  if (lag.records !== null) observer.lag(lag.records);
}

class SinkRun implements AsyncDisposable {
  readonly #options: SinkOptions;
  readonly #parts: SinkParts;
  readonly #source: SourceWatch;
  readonly #fence: number;
  /** Of what is durable, and what is pending has opened and closed. */
  #letters: OpenLetters;
  readonly #awaited: Awaited;
  readonly #decoders: Decoders;
  readonly #expiries: Expiries;
  /** What the warehouse has, by place. */
  readonly #stored: Map<string, Checkpoint>;
  readonly #progress = new Map<string, Progress>();
  /** By topic: sweeps said before this offset of the barriers are of snapshots whose rows may be in a gap of the log. */
  readonly #sweepsFrom = new Map<string, number>();
  /** Topics of tables without a key, said once. */
  readonly #keyless = new Set<string>();
  #routes: ReadonlyMap<string, Route> = new Map();
  #barriers: Barriers | null = null;
  /** Of the state that the routes are of. */
  #epoch = 0;
  #pending: Pending;
  /** performance.now() of the first event that is not flushed. */
  #pendingSince: number | null = null;

  constructor(
    options: SinkOptions,
    parts: SinkParts,
    source: SourceWatch,
    worker: { readonly fence: number; readonly checkpoints: readonly Checkpoint[] },
    letters: OpenLetters,
  ) {
    this.#options = options;
    this.#parts = parts;
    this.#source = source;
    this.#decoders = new Decoders(parts.registry);
    this.#expiries = new Expiries(parts.log, new Decoders(parts.registry));
    this.#fence = worker.fence;
    this.#stored = new Map(worker.checkpoints.map((checkpoint) => [placeOf(checkpoint), checkpoint]));
    this.#letters = letters;
    this.#awaited = {
      isRereadingKeys: () => source.makesSnapshots,
      isBringing: ({ topic }) => source.isSnapshotting(topic.table) || this.#barriers?.isAwaited(topic.name) === true,
    };
    this.#pending = new Pending(letters, this.#awaited);
  }

  static async start(options: SinkOptions, parts: SinkParts, source: SourceWatch, signal: AbortSignal): Promise<SinkRun> {
    parts.observer.state("waiting for the warehouse");
    await using session = await parts.warehouse.open(signal);
    await session.prepare();
    const worker = await session.acquire(options.name);
    return new SinkRun(options, parts, source, worker, new OpenLetters(await session.openKeys(options.name)));
  }

  /** Reads and flushes; the newer state when the source has other topics or has begun an epoch, null when `stop` aborted. */
  async readUntilTopicsChange(state: SourceState, stop: AbortSignal, force: AbortSignal): Promise<SourceState | null> {
    const changed = new AbortController();
    const ended = new AbortController();
    const newer = this.#source.next(state, AbortSignal.any([stop, ended.signal])).finally(() => changed.abort());
    newer.catch(() => undefined); // awaited below, after the reader is closed
    try {
      this.#route(state);
      if (this.#routes.size === 0) this.#sayNothingMatches(state);
      else while (!changed.signal.aborted) await this.#readOrCross(changed.signal, force);
      return await newer;
    } catch (cause) {
      if (!(cause instanceof NewEpoch)) throw cause;
      return await this.#stateOf(cause, stop);
    } finally {
      ended.abort(); // a run that failed must not go on asking for the state
    }
  }

  /** The state of an epoch that was met in the log: what is not flushed is read again under it. Throws GAP_FOUND where there is none. */
  async #stateOf({ epoch }: NewEpoch, stop: AbortSignal): Promise<SourceState | null> {
    const state = await unlessAborted(this.#source.refresh(performance.now(), stop), stop);
    if (state === null || state.epoch < epoch) {
      if (stop.aborted) return null;
      throw new TailraceError("GAP_FOUND", { reason: `the source has begun epoch ${epoch}` });
    }
    this.#parts.logger.info({ epoch }, "the source has begun an epoch; going on with its state");
    // What was folded has closed letters that are open in the warehouse still: the next flush would not close them there.
    await using session = await unlessAborted(this.#parts.warehouse.open(stop), stop);
    if (session === null) return null;
    this.#letters = new OpenLetters(await session.openKeys(this.#options.name));
    this.#pending = new Pending(this.#letters, this.#awaited);
    this.#pendingSince = null;
    return state;
  }

  #route(state: SourceState): void {
    const { name, prefix, rule } = this.#options;
    this.#progress.clear();
    this.#epoch = state.epoch;
    const read = { epoch: state.epoch, topics: readTopics(state, prefix) };
    for (const progress of startPositions(name, read, [...this.#stored.values()])) this.#progress.set(placeOf(progress), progress);
    const paused = this.#parts.pausedTables();
    const all = routesOf(state.topics, rule);
    this.#expiries.route(all, performance.now());
    const routes = all.filter(({ topic }) => !paused.has(tableLabel(topic.table)));
    this.#routes = new Map(routes.map((route) => [route.topic.name, route]));
    for (const progress of this.#progress.values())
      if (this.#routes.has(progress.topic)) this.#parts.lag.merged(progress, progress.nextOffset);
  }

  /** Reads until `until` aborts, or until what is next is no longer in the log and the gap has been crossed. */
  async #readOrCross(until: AbortSignal, force: AbortSignal): Promise<void> {
    const barriers = this.#progress.get(placeOf({ topic: this.#barrierTopic, partition: 0 }));
    this.#barriers = barriers === undefined ? null : new Barriers(barriers);
    const read = [...this.#progress.values()].filter(({ topic }) => this.#routes.has(topic) || topic === this.#barrierTopic);
    try {
      await this.#read(read.map(toPosition), until, force);
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.code !== "LOG_GAP") throw cause;
      await this.#flush(force, null);
      const gaps: Gap[] = [];
      for (const topic of new Set(read.map(({ topic }) => topic)))
        gaps.push(...findGaps([...this.#progress.values()], await this.#parts.log.offsets(topic, until)));
      if (gaps.length === 0) throw cause; // the log ends before what was merged
      await this.#cross(gaps, cause, until, force);
    }
  }

  /** R-routing: goes on where the log begins once a snapshot of the tables is sure to come. Throws `cause` when none does. */
  async #cross(gaps: readonly Gap[], cause: TailraceError, until: AbortSignal, force: AbortSignal): Promise<void> {
    const { log, logger, observer, requestSnapshot } = this.#parts;
    const topics = new Set(gaps.map(({ progress }) => progress.topic));
    const tables = [...topics].flatMap((topic) => this.#routes.get(topic)?.topic.table ?? []);
    if (tables.length > 0) {
      const [said] = this.#barriers === null ? [] : await log.offsets(this.#barrierTopic, until);
      if (!(await orAborted(requestSnapshot(tables, cause.message), until))) {
        if (until.aborted) return;
        throw cause;
      }
      for (const topic of topics) this.#sweepsFrom.set(topic, said?.end ?? 0);
    }
    for (const { progress, start } of gaps) {
      const { topic, partition, nextOffset } = progress;
      this.#progress.set(placeOf(progress), { ...progress, nextOffset: start });
      const place = { topic, partition, needed: nextOffset, start };
      if (topic === this.#barrierTopic) {
        logger.warn(place, "barriers are gone from the log; going on with the first that is left, ends of snapshots between are not known");
      } else {
        logger.warn(place, `events of ${topic} are gone from the log; going on with the first that is left, a snapshot mends the target`);
        this.#pending.advance(progress, progress, start);
      }
    }
    if (tables.length > 0) observer.gaps(gaps.length);
    await this.#flush(force, null);
  }

  get #barrierTopic(): string {
    return barrierTopic(this.#options.prefix);
  }

  async #read(positions: readonly Position[], until: AbortSignal, force: AbortSignal): Promise<void> {
    await using reader = await unlessAborted(this.#parts.log.openReader(`tailrace.${this.#options.name}`, positions, until), until);
    if (reader === null) return;
    while (!until.aborted) {
      const polled = await unlessAborted(reader.poll({ maxBytes: POLL_BYTES, waitMs: this.#untilFlushMs() }, until), until);
      for (const fetched of polled ?? []) this.#parts.lag.seen(fetched, fetched.end);
      sayLag(this.#parts);
      for (const fetched of polled ?? [])
        await (fetched.topic === this.#barrierTopic ? this.#takeBarriers(fetched, force) : this.#take(fetched, force));
      if (this.#dueSweeps().length > 0 || this.#manyBarriers) this.#pendingSince ??= performance.now();
      if (this.#flushIsDue()) await this.#flush(force, reader);
      // Not sooner: a sink that reads and can't merge is not running.
      if (this.#pendingSince === null) this.#parts.observer.state("reading");
    }
    await this.#flush(force, reader);
  }

  /** R-sweep: what the barriers' ends of snapshots ask for waits until their offsets are merged. */
  async #takeBarriers(fetched: FetchedRecords, force: AbortSignal): Promise<void> {
    const barriers = this.#barriers;
    if (barriers === null) return;
    const { ends, skipped } = barriers.read(fetched);
    let passed = skipped;
    if (ends.length > 0) {
      // Of after the barriers: a topic that is not in it is gone, not new.
      const topics = (await this.#source.refresh(performance.now(), force))?.topics ?? [];
      for (const barrier of ends) {
        const asked = sweepsOf(barrier, topics, this.#options.rule);
        const kept = asked.sweeps.filter(({ topic, barrierOffset }) => barrierOffset >= (this.#sweepsFrom.get(topic) ?? 0));
        barriers.await(kept);
        passed += asked.skipped + asked.sweeps.length - kept.length;
      }
    }
    if (passed > 0) this.#parts.observer.barriersSkipped(passed);
  }

  /** Those whose offsets are merged when what is pending is. */
  #dueSweeps(): readonly AwaitedSweep[] {
    return (
      this.#barriers?.due((topic, partition) => {
        const place = { topic, partition };
        return this.#pending.nextOffset(topic, partition) ?? this.#progress.get(placeOf(place))?.nextOffset ?? null;
      }) ?? []
    );
  }

  /** Tables that are quiet bring no flush that would take the barriers' checkpoint along, and others of the source are busy. */
  get #manyBarriers(): boolean {
    return (this.#barriers?.unstored ?? 0) >= FLUSH_BARRIERS;
  }

  #untilFlushMs(): number {
    if (this.#pendingSince === null) return IDLE_POLL_MS;
    return Math.max(0, Math.min(IDLE_POLL_MS, this.#pendingSince + this.#options.flush.everyMs - performance.now()));
  }

  #flushIsDue(): boolean {
    if (this.#pendingSince === null) return false;
    const { everyMs, rows } = this.#options.flush;
    return this.#pending.rows >= rows || this.#pending.bytes >= PENDING_BYTES || performance.now() - this.#pendingSince >= everyMs;
  }

  async #take(fetched: FetchedRecords, force: AbortSignal): Promise<void> {
    const place = placeOf(fetched);
    const route = this.#routes.get(fetched.topic);
    if (route === undefined) return;
    let progress = this.#progressOf(place);
    for (const record of fetched.records) {
      // A tombstone repeats the delete before it for foreign readers of a compacted copy.
      if (record.value === null) continue;
      let decoding: Decoding;
      try {
        const id = schemaIdOf(record.value);
        decoding = this.#decoders.known(id) ?? (await this.#decoders.learn(id, force));
        decoding.decoder.decode(record.value);
      } catch (cause) {
        if (isUnreadable(cause)) {
          this.#pending.advance(progress, fetched, record.offset); // the checkpoint then says where it stands
          await this.#flush(force, null);
        }
        throw unreadableAt(cause, fetched, record.offset);
      }
      const { decoder, columns, keyed } = decoding;
      // R-routing: the topic may be another one of the same name, whose offsets and id are not those of the checkpoint.
      if (decoder.epoch > this.#epoch) throw new NewEpoch(decoder.epoch);
      if (!keyed) this.#skipKeyless(route);
      else if (this.#pending.offer(route, progress, fetched.partition, record, decoder, columns) === "schema_changed") {
        this.#pending.advance(progress, fetched, record.offset); // this record belongs to the next flush
        await this.#flush(force, null);
        progress = this.#progressOf(place);
        decoder.decode(record.value);
        this.#pending.offer(route, progress, fetched.partition, record, decoder, columns);
      }
    }
    this.#pending.advance(progress, fetched, fetched.next);
    this.#pendingSince ??= performance.now();
  }

  /** No table of the source is one of ours yet: that is no error, but hardly what was meant. */
  #sayNothingMatches(state: SourceState): void {
    const tables = state.topics.map(({ table }) => tableLabel(table));
    this.#parts.logger.warn({ tables }, "the sink's tables match none of the source's, or are paused; waiting for one");
    this.#parts.observer.state("reading");
  }

  /** Events without a key have nothing to be merged by: the table is left out, and named once. */
  #skipKeyless({ topic }: Route): void {
    if (this.#keyless.has(topic.name)) return;
    this.#keyless.add(topic.name);
    this.#parts.logger.warn(
      { table: tableLabel(topic.table), topic: topic.name },
      `not merged: table ${tableLabel(topic.table)} has no key, and upsert needs one; give it a primary key or take it out of the sink's tables`,
    );
  }

  #progressOf(place: string): Progress {
    const progress = this.#progress.get(place);
    if (progress === undefined) throw new TailraceError("UNEXPECTED", { reason: `records of ${place}, which was not asked for` });
    return progress;
  }

  async #flush(force: AbortSignal, reader: LogReader | null): Promise<void> {
    const pending = this.#pending;
    const sweeps = this.#dueSweeps();
    if (pending.empty && sweeps.length === 0 && !this.#manyBarriers) return;
    const move = this.#barriers?.moveAfter(sweeps) ?? null;
    // Who lacks a row is then told by a state of after the events; without it, it may be called a dead letter for a while.
    if (pending.inherits && this.#source.makesSnapshots) await this.#source.refresh(performance.now(), force).catch(() => null);
    const expiries = this.#expiries.due(performance.now());
    const startedMs = Date.now();
    const started = performance.now();
    await using session = await this.#parts.warehouse.open(force);
    const openMs = performance.now() - started;
    const worker = { sink: this.#options.name, fence: this.#fence, startedMs };
    const flushed = await flushPending(session, pending, { sweeps, expiries, move }, worker, force);
    for (const letter of flushed.newLetters) this.#letters.open(letter);
    for (const { topic, sequence } of flushed.letterFloors) this.#letters.closeBelow(topic, sequence);
    const moves = [...pending.checkpoints(), ...(move === null ? [] : [move])];
    for (const { expected: _, ...checkpoint } of moves) {
      const { topicId, nextOffset } = checkpoint;
      this.#stored.set(placeOf(checkpoint), checkpoint);
      this.#progress.set(placeOf(checkpoint), { ...checkpoint, stored: { topicId, nextOffset } });
      if (checkpoint.topic !== this.#barrierTopic) this.#parts.lag.merged(checkpoint, nextOffset);
    }
    this.#barriers?.done(sweeps, move);
    this.#expiries.done(expiries, flushed.expired);
    for (const { table, target, opening } of sweeps) {
      this.#source.ended({ table, opening });
      this.#parts.logger.info({ target: tableLabel(target), opening }, "snapshot complete; rows older than it are swept");
    }
    this.#pending = new Pending(this.#letters, this.#awaited);
    this.#pendingSince = null;
    this.#report(pending, flushed, performance.now() - started, openMs);
    await reader?.commit(moves.map(({ topic, partition, nextOffset }) => ({ topic, partition, offset: nextOffset })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#expiries[Symbol.asyncDispose]();
  }

  #report(pending: Pending, flushed: Flushed, durationMs: number, openMs: number): void {
    const { observer, logger } = this.#parts;
    const deadLetters = flushed.deadLetters.filter(({ code }) => code !== "AWAITS_SNAPSHOT");
    for (const { code, message, topic, partition, offset, sequence } of deadLetters) {
      logger.warn({ code, topic, partition, offset, sequence }, `dead letter: ${message}`);
    }
    sayLag(this.#parts);
    observer.flushed({
      merged: flushed.merged,
      deadLetters,
      events: pending.events,
      durationMs,
      openMs,
      openLetters: this.#letters.size,
      awaitingSnapshot: this.#letters.awaiting,
      commits: pending.commits,
      lastSequence: pending.lastSequence,
    });
  }
}

/** null when the signal has ended the wait: what follows a wait, a flush above all, is still to be done then. */
async function unlessAborted<T>(wait: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return wait.catch((cause: unknown) => {
    if (signal.aborted) return null;
    throw cause;
  });
}

/** null when the signal aborts first; what `wait` then becomes is nobody's. */
async function orAborted<T>(wait: Promise<T>, signal: AbortSignal): Promise<T | null> {
  wait.catch(() => undefined);
  const aborted = new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null), { once: true }));
  return signal.aborted ? null : Promise.race([wait, aborted]);
}
