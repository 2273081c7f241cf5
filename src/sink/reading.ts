// What a sink reads and where: the source's topics by its newest state, records into the fold, barriers, epochs that begin,
// and gaps of the log.
import { schemaIdOf } from "../avro/decoder.ts";
import { isUnreadable, unreadableAt } from "../avro/shape.ts";
import { barrierTopic } from "../core/barrier.ts";
import { TailraceError } from "../core/errors.ts";
import type { FetchedRecords, LogReader, Position, TopicPartition } from "../core/event-log.ts";
import type { SourceState } from "../core/source-state.ts";
import { tableLabel } from "../core/table.ts";
import { sweepsOf } from "./barriers.ts";
import { Decoders, type Decoding } from "./decoders.ts";
import type { Merging } from "./merging.ts";
import { sayLag, type SinkOptions, type SinkParts } from "./parts.ts";
import { findGaps, placeOf, toPosition, type Gap, type Progress } from "./positions.ts";
import { routesOf, type Route } from "./routes.ts";
import { tableTopics, type SourceWatch } from "./source-watch.ts";
import { orAborted, unlessAborted } from "./waits.ts";

/** Of more at once the garbage collector finds the records still in use and copies them: of 8 MiB that was a seventh of a sink's CPU. */
const POLL_BYTES = 1024 * 1024;

/** An event of a later epoch than the state's that is read by. */
class NewEpoch extends Error {
  readonly epoch: number;

  constructor(epoch: number) {
    super(`epoch ${epoch}`);
    this.epoch = epoch;
  }
}

export class Reading {
  readonly #options: SinkOptions;
  readonly #parts: SinkParts;
  readonly #source: SourceWatch;
  readonly #merging: Merging;
  readonly #decoders: Decoders;
  /** By topic: sweeps said before this offset of the barriers are of snapshots whose rows may be in a gap of the log. */
  readonly #sweepsFrom = new Map<string, number>();
  /** Topics of tables without a key, said once. */
  readonly #keyless = new Set<string>();
  #routes: ReadonlyMap<string, Route> = new Map();
  /** Of the state that the routes are of. */
  #epoch = 0;

  constructor(options: SinkOptions, parts: SinkParts, source: SourceWatch, merging: Merging) {
    this.#options = options;
    this.#parts = parts;
    this.#source = source;
    this.#merging = merging;
    this.#decoders = new Decoders(parts.registry);
  }

  /** Reads and flushes; the newer state when the source has other topics or has begun an epoch, null when `stop` aborted. */
  async untilTopicsChange(state: SourceState, stop: AbortSignal, force: AbortSignal): Promise<SourceState | null> {
    const changed = new AbortController();
    const ended = new AbortController();
    const newer = this.#source.next(state, AbortSignal.any([stop, ended.signal])).finally(() => changed.abort());
    newer.catch(() => undefined); // awaited below, after the reader is closed
    try {
      this.#route(await this.#withoutDeleted(state, stop));
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
    await unlessAborted(this.#merging.discard(stop), stop);
    return stop.aborted ? null : state;
  }

  /** R-version: a topic of a version before that an operator has deleted has nothing more to read. */
  async #withoutDeleted(state: SourceState, signal: AbortSignal): Promise<SourceState> {
    if (state.retired.length === 0) return state;
    const names = state.retired.map(({ name }) => name);
    const found = await unlessAborted(this.#parts.log.topics(names, signal), signal);
    return found === null ? state : { ...state, retired: state.retired.filter(({ id }) => found.some((topic) => topic.id === id)) };
  }

  #route(state: SourceState): void {
    const all = routesOf(tableTopics(state), this.#options.rule);
    this.#merging.route(state, all);
    this.#epoch = state.epoch;
    const paused = this.#parts.pausedTables();
    const routes = all.filter(({ topic }) => !paused.has(tableLabel(topic.table)));
    this.#routes = new Map(routes.map((route) => [route.topic.name, route]));
    for (const progress of this.#merging.progress.values())
      if (this.#routes.has(progress.topic)) this.#parts.lag.merged(progress, progress.nextOffset);
  }

  /** Reads until `until` aborts, or until what is next is no longer in the log and the gap has been crossed. */
  async #readOrCross(until: AbortSignal, force: AbortSignal): Promise<void> {
    this.#merging.beginBarriers();
    const read = [...this.#merging.progress.values()].filter(({ topic }) => this.#routes.has(topic) || topic === this.#barrierTopic);
    try {
      await this.#read(read.map(toPosition), until, force);
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.code !== "LOG_GAP") throw cause;
      await this.#merging.flush(force, null);
      const gaps: Gap[] = [];
      for (const topic of new Set(read.map(({ topic }) => topic)))
        gaps.push(...findGaps([...this.#merging.progress.values()], await this.#parts.log.offsets(topic, until)));
      if (gaps.length === 0) throw cause; // the log ends before what was merged
      await this.#cross(gaps, cause, until, force);
    }
  }

  /** R-routing: goes on where the log begins once a snapshot of the tables is sure to come. Throws `cause` when none does. */
  async #cross(gaps: readonly Gap[], cause: TailraceError, until: AbortSignal, force: AbortSignal): Promise<void> {
    const { log, logger, observer, requestSnapshot } = this.#parts;
    const topics = new Set(gaps.map(({ progress }) => progress.topic));
    // R-version: no snapshot comes to a topic of a version before.
    const tables = [...topics].flatMap((topic) => (this.#source.isRetired(topic) ? [] : (this.#routes.get(topic)?.topic.table ?? [])));
    if (tables.length > 0) {
      const [said] = this.#merging.barriers === null ? [] : await log.offsets(this.#barrierTopic, until);
      if (!(await orAborted(requestSnapshot(tables, cause.message), until))) {
        if (until.aborted) return;
        throw cause;
      }
      for (const topic of topics) this.#sweepsFrom.set(topic, said?.end ?? 0);
    }
    for (const { progress, start } of gaps) {
      const { topic, partition, nextOffset } = progress;
      this.#merging.progress.set(placeOf(progress), { ...progress, nextOffset: start });
      const place = { topic, partition, needed: nextOffset, start };
      if (topic === this.#barrierTopic) {
        logger.warn(place, "barriers are gone from the log; going on with the first that is left, ends of snapshots between are not known");
      } else if (this.#source.isRetired(topic)) {
        logger.warn(place, `events of ${topic}, of a version before, are gone from the log; its target lacks them`);
        this.#merging.pending.advance(progress, start);
      } else {
        logger.warn(place, `events of ${topic} are gone from the log; going on with the first that is left, a snapshot mends the target`);
        this.#merging.pending.advance(progress, start);
      }
    }
    if (tables.length > 0) observer.gaps(gaps.length);
    await this.#merging.flush(force, null);
  }

  get #barrierTopic(): string {
    return barrierTopic(this.#options.prefix);
  }

  async #read(positions: readonly Position[], until: AbortSignal, force: AbortSignal): Promise<void> {
    await using reader = await unlessAborted(this.#parts.log.openReader(`tailrace.${this.#options.name}`, positions, until), until);
    if (reader === null) return;
    try {
      await this.#readOn(reader, until, force);
    } finally {
      await this.#merging.settle(); // it gives the reader its positions
    }
  }

  async #readOn(reader: LogReader, until: AbortSignal, force: AbortSignal): Promise<void> {
    while (!until.aborted) {
      const polled = await unlessAborted(reader.poll({ maxBytes: POLL_BYTES, waitMs: this.#merging.untilFlushMs }, until), until);
      for (const fetched of polled ?? []) this.#parts.lag.seen(fetched, fetched.end);
      sayLag(this.#parts);
      for (const fetched of polled ?? [])
        await (fetched.topic === this.#barrierTopic ? this.#takeBarriers(fetched, force) : this.#take(fetched, force));
      if (this.#merging.flushIsDue()) await this.#merging.begin(force, reader);
      // Not sooner: a sink that reads and can't merge is not running. One that has merged says so itself.
      if (this.#merging.isIdle) this.#parts.observer.state("reading");
    }
    await this.#merging.flush(force, reader);
  }

  /** R-sweep: what the barriers' ends of snapshots ask for waits until their offsets are merged. */
  async #takeBarriers(fetched: FetchedRecords, force: AbortSignal): Promise<void> {
    const barriers = this.#merging.barriers;
    if (barriers === null) return;
    const { ends, skipped } = barriers.read(fetched);
    let passed = skipped;
    if (ends.length > 0) {
      // Of after the barriers: a topic that is not in it is gone, not new.
      const state = await this.#source.refresh(performance.now(), force);
      const topics = state === null ? [] : tableTopics(state);
      for (const barrier of ends) {
        const asked = sweepsOf(barrier, topics, this.#options.rule);
        const kept = asked.sweeps.filter(({ topic, barrierOffset }) => barrierOffset >= (this.#sweepsFrom.get(topic) ?? 0));
        barriers.await(kept);
        passed += asked.skipped + asked.sweeps.length - kept.length;
      }
    }
    if (passed > 0) this.#parts.observer.barriersSkipped(passed);
  }

  async #take(fetched: FetchedRecords, force: AbortSignal): Promise<void> {
    const route = this.#routes.get(fetched.topic);
    if (route === undefined) return;
    let progress = this.#progressOf(fetched);
    let position = this.#merging.pending.partition(progress);
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
          this.#merging.pending.advance(progress, record.offset); // the checkpoint then says where it stands
          await this.#merging.flush(force, null);
        }
        throw unreadableAt(cause, fetched, record.offset);
      }
      const { decoder, columns, keyed } = decoding;
      // R-routing: the topic may be another one of the same name, whose offsets and id are not those of the checkpoint.
      if (decoder.epoch > this.#epoch) throw new NewEpoch(decoder.epoch);
      if (!keyed) {
        this.#skipKeyless(route);
        continue;
      }
      let offered = this.#merging.pending.offer(route, position, record, decoder, columns);
      if (offered === "unsettled") {
        await this.#merging.settle();
        offered = this.#merging.pending.offer(route, position, record, decoder, columns);
      }
      if (offered === "schema_changed") {
        this.#merging.pending.advance(progress, record.offset); // this record belongs to the next flush
        await this.#merging.flush(force, null);
        progress = this.#progressOf(fetched);
        position = this.#merging.pending.partition(progress);
        decoder.decode(record.value);
        this.#merging.pending.offer(route, position, record, decoder, columns);
      }
    }
    this.#merging.pending.advance(progress, fetched.next);
    this.#merging.touch();
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

  #progressOf(of: TopicPartition): Progress {
    const place = placeOf(of);
    const progress = this.#merging.progress.get(place);
    if (progress === undefined) throw new TailraceError("UNEXPECTED", { reason: `records of ${place}, which was not asked for` });
    return progress;
  }
}
