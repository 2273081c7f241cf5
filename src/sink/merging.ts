// What is read and not merged yet, and the flush that merges it: how far each partition is, when a flush is due, and what
// is known afterwards.
import { barrierTopic } from "../core/barrier.ts";
import type { LogReader } from "../core/event-log.ts";
import { pause } from "../core/pause.ts";
import type { SourceState } from "../core/source-state.ts";
import { tableLabel } from "../core/table.ts";
import type { Checkpoint, CheckpointMove } from "../core/warehouse.ts";
import { Barriers, type AwaitedSweep } from "./barriers.ts";
import { Decoders } from "./decoders.ts";
import { Expiries } from "./expiries.ts";
import { flushPending, type Flushed } from "./flush.ts";
import { OpenLetters } from "./open-letters.ts";
import { sayLag, type SinkOptions, type SinkParts } from "./parts.ts";
import { Pending, type Awaited } from "./pending.ts";
import { placeOf, startPositions, type Progress } from "./positions.ts";
import type { Route } from "./routes.ts";
import { readTopics, type SourceWatch } from "./source-watch.ts";
import { VersionViews } from "./version-views.ts";

/** Bytes of events kept between two flushes; a flush begins early when they are reached. While it is under way as many are read again. */
const PENDING_BYTES = 32 * 1024 * 1024;
/** Barriers read since the last flush that make one worth its while by themselves: after a restart they are read again. */
const FLUSH_BARRIERS = 50_000;
/** A flush of 100,000 rows has them staged in 100 ms. One that waits for its warehouse, or sweeps a target, keeps nobody from reading for longer. */
const STAGING_MS = 250;
/** How long a sink to whom nothing is due waits for records, ms. */
const IDLE_POLL_MS = 500;

/** What goes with what is pending. */
type Begun = {
  readonly sweeps: readonly AwaitedSweep[];
  readonly move: CheckpointMove | null;
  readonly reader: LogReader | null;
  readonly onStaged: () => void;
};

/** What acquire() gave. */
type Worker = { readonly fence: number; readonly checkpoints: readonly Checkpoint[] };

export class Merging implements AsyncDisposable {
  /** How far each partition of the source is, by place. */
  readonly progress = new Map<string, Progress>();
  readonly #options: SinkOptions;
  readonly #parts: SinkParts;
  readonly #source: SourceWatch;
  readonly #fence: number;
  readonly #awaited: Awaited;
  readonly #expiries: Expiries;
  readonly #views: VersionViews;
  /** What the warehouse has, by place. */
  readonly #stored: Map<string, Checkpoint>;
  /** Of what is durable, and what is pending has opened and closed. */
  #letters: OpenLetters;
  #barriers: Barriers | null = null;
  #pending: Pending;
  /** performance.now() of the first event that is not flushed. */
  #since: number | null = null;
  /** Of the flush before what is pending; never rejects. */
  #underWay: Promise<void> | null = null;
  #failure: { readonly cause: unknown } | null = null;

  constructor(options: SinkOptions, parts: SinkParts, source: SourceWatch, worker: Worker, letters: OpenLetters) {
    this.#options = options;
    this.#parts = parts;
    this.#source = source;
    this.#views = new VersionViews(parts.logger);
    this.#expiries = new Expiries(parts.log, new Decoders(parts.registry));
    this.#fence = worker.fence;
    this.#stored = new Map(worker.checkpoints.map((checkpoint) => [placeOf(checkpoint), checkpoint]));
    this.#letters = letters;
    this.#awaited = {
      isRereadingKeys: ({ topic }) => source.makesSnapshots && !source.isRetired(topic.name),
      isBringing: ({ topic }) =>
        (source.isSnapshotting(topic.table) && !source.isRetired(topic.name)) || this.#barriers?.isAwaited(topic.name) === true,
    };
    this.#pending = this.#newPending();
  }

  /** Takes the sink over in the warehouse. */
  static async start(options: SinkOptions, parts: SinkParts, source: SourceWatch, signal: AbortSignal): Promise<Merging> {
    parts.observer.state("waiting for the warehouse");
    await using session = await parts.warehouse.open(signal);
    await session.prepare();
    const worker = await session.acquire(options.name);
    return new Merging(options, parts, source, worker, new OpenLetters(await session.openKeys(options.name)));
  }

  get pending(): Pending {
    return this.#pending;
  }

  /** null: the source's state names none. */
  get barriers(): Barriers | null {
    return this.#barriers;
  }

  /** Nothing that was read waits for a flush, or for its end. */
  get isIdle(): boolean {
    return this.#since === null && this.#underWay === null;
  }

  /** How long a poll may wait so that the flush that is due next is not late, ms. */
  get untilFlushMs(): number {
    if (this.#since === null) return IDLE_POLL_MS;
    return Math.max(0, Math.min(IDLE_POLL_MS, this.#since + this.#options.flush.everyMs - performance.now()));
  }

  /** Also when the one before has failed, which the next begin() throws. */
  flushIsDue(): boolean {
    if (this.#failure !== null) return true;
    if (this.#dueSweeps().length > 0 || this.#manyBarriers || this.#views.isDue) this.#since ??= performance.now();
    if (this.#since === null) return false;
    const { everyMs, rows } = this.#options.flush;
    return this.#pending.rows >= rows || this.#pending.bytes >= PENDING_BYTES || performance.now() - this.#since >= everyMs;
  }

  /** Goes on from the checkpoints under another state of the source, of which `routes` are all that concern the sink, paused tables too. Throws what startPositions() throws. */
  route(state: SourceState, routes: readonly Route[]): void {
    const { name, prefix } = this.#options;
    this.progress.clear();
    const read = { epoch: state.epoch, topics: readTopics(state, prefix) };
    for (const progress of startPositions(name, read, [...this.#stored.values()])) this.progress.set(placeOf(progress), progress);
    this.#expiries.route(routes, performance.now());
    this.#views.route(routes);
  }

  /** Reads the barriers from where they are merged. */
  beginBarriers(): void {
    const from = this.progress.get(placeOf({ topic: this.#barrierTopic, partition: 0 }));
    this.#barriers = from === undefined ? null : new Barriers(from);
  }

  /** Records were read: the clock of the next flush begins. */
  touch(): void {
    this.#since ??= performance.now();
  }

  /** Forgets what is pending, which will be read again. */
  async discard(signal: AbortSignal): Promise<void> {
    await this.settle();
    // What was folded has closed letters that are open in the warehouse still: the next flush would not close them there.
    await using session = await this.#parts.warehouse.open(signal);
    this.#letters = new OpenLetters(await session.openKeys(this.#options.name));
    this.#pending = this.#newPending();
    this.#since = null;
  }

  /** Merges what is pending, where there is anything, and waits for it. As begin(). */
  async flush(force: AbortSignal, reader: LogReader | null): Promise<void> {
    await this.begin(force, reader, false);
    await this.settle();
  }

  /**
   * Begins to merge what is pending, where there is anything, once the flush before it is done, and returns when the warehouse has the first
   * rows, or is slow to take them. What is read from then on is of the next one, which goes on from this one's positions: a failure, thrown by whoever settles next, has to end the run. `reader`: gets the
   * positions for its group; null: nobody reads now. `isReading`: views may be tended though nothing is pending; false: nothing more is to wait for.
   */
  async begin(force: AbortSignal, reader: LogReader | null, isReading = true): Promise<void> {
    await this.settle();
    const pending = this.#pending;
    const sweeps = this.#dueSweeps();
    if (pending.empty && sweeps.length === 0 && !this.#manyBarriers) {
      this.#since = null; // what was due was of the flush before: else polls would not wait any more, and nothing else would run
      if (isReading && this.#views.isDue) await this.#keepViews(force);
      return;
    }
    const move = this.#barriers?.moveAfter(sweeps) ?? null;
    for (const { expected: _, ...checkpoint } of pending.checkpoints()) {
      const { topicId, nextOffset } = checkpoint;
      this.progress.set(placeOf(checkpoint), { ...checkpoint, stored: { topicId, nextOffset } });
    }
    this.#pending = this.#newPending();
    this.#since = null;
    let onStaged = (): void => undefined;
    const staged = new Promise<void>((resolve) => (onStaged = resolve));
    this.#underWay = this.#merge(pending, { sweeps, move, reader, onStaged }, force)
      .catch((cause: unknown) => void (this.#failure = { cause }))
      .finally(() => (this.#underWay = null));
    // Else each of the flush's first statements, which are short, waits in this thread for a poll's events: a tenth of a large flush.
    const over = new AbortController();
    await Promise.race([staged, this.#underWay, pause(STAGING_MS, over.signal)]);
    over.abort();
  }

  /** Until no flush is under way. Throws what the last one met, once. */
  async settle(): Promise<void> {
    await this.#underWay;
    if (this.#failure === null) return;
    const { cause } = this.#failure;
    this.#failure = null;
    throw cause;
  }

  /** A process that died behind a flush, or a session that was refused, may have left them as they were. */
  async #keepViews(force: AbortSignal): Promise<void> {
    await using session = await this.#parts.warehouse.open(force);
    await this.#views.keep(session);
  }

  async #merge(pending: Pending, { sweeps, move, reader, onStaged }: Begun, force: AbortSignal): Promise<void> {
    // Who lacks a row is then told by a state of after the events; without it, it may be called a dead letter for a while.
    if (pending.inherits && this.#source.makesSnapshots) await this.#source.refresh(performance.now(), force).catch(() => null);
    const expiries = this.#expiries.due(performance.now());
    const startedMs = Date.now();
    const started = performance.now();
    await using session = await this.#parts.warehouse.open(force);
    const openMs = performance.now() - started;
    const worker = { sink: this.#options.name, fence: this.#fence, startedMs, onStaged };
    const flushed = await flushPending(session, pending, { sweeps, expiries, move }, worker, force);
    this.#parts.observer.state("reading"); // under load there is always something that waits
    for (const letter of flushed.newLetters) {
      this.#letters.open(letter);
      this.#pending.supersede(letter);
    }
    for (const { topic, sequence } of flushed.letterFloors) this.#letters.closeBelow(topic, sequence);
    const moves = [...pending.checkpoints(), ...(move === null ? [] : [move])];
    for (const { expected: _, ...checkpoint } of moves) {
      this.#stored.set(placeOf(checkpoint), checkpoint);
      if (checkpoint.topic !== this.#barrierTopic) this.#parts.lag.merged(checkpoint, checkpoint.nextOffset);
    }
    this.#barriers?.done(sweeps, move);
    this.#expiries.done(expiries, flushed.expired);
    for (const { table, target, opening } of sweeps) {
      this.#source.ended({ table, opening });
      this.#parts.logger.info({ target: tableLabel(target), opening }, "snapshot complete; rows older than it are swept");
    }
    for (const { target } of sweeps) this.#views.changed(target);
    for (const { route, columns } of pending.tables.values()) this.#views.merged(route.target, columns);
    await this.#views.keep(session);
    this.#report(pending, flushed, performance.now() - started, openMs);
    await reader?.commit(moves.map(({ topic, partition, nextOffset }) => ({ topic, partition, offset: nextOffset })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#underWay;
    await this.#expiries[Symbol.asyncDispose]();
  }

  #newPending(): Pending {
    return new Pending(this.#letters, this.#awaited, () => this.#underWay !== null);
  }

  /** Those whose offsets are merged when what is pending is. */
  #dueSweeps(): readonly AwaitedSweep[] {
    return (
      this.#barriers?.due((topic, partition) => {
        const place = { topic, partition };
        return this.#pending.nextOffset(topic, partition) ?? this.progress.get(placeOf(place))?.nextOffset ?? null;
      }) ?? []
    );
  }

  /** Tables that are quiet bring no flush that would take the barriers' checkpoint along, and others of the source are busy. */
  get #manyBarriers(): boolean {
    return (this.#barriers?.unstored ?? 0) >= FLUSH_BARRIERS;
  }

  get #barrierTopic(): string {
    return barrierTopic(this.#options.prefix);
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
