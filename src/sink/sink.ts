// One sink: from the warehouse's own checkpoint through the log to the warehouse. A run ends only when asked to or by
// an error; whoever supervises it starts another, which begins again at the checkpoint.
import { EventDecoder, schemaIdOf } from "../avro/decoder.ts";
import { isUnreadable, readValueSchema, unreadableAt } from "../avro/shape.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, FetchedRecords, LogReader, Position, TopicPartition } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import { pause } from "../core/pause.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { readState, type SourceState } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import type { DeadLetter, Warehouse } from "../core/warehouse.ts";
import { flushPending, type Flushed } from "./flush.ts";
import { watchLag, type SinkLag } from "./lag.ts";
import { OpenLetters } from "./open-letters.ts";
import { Pending } from "./pending.ts";
import { startPositions, toPosition, type Progress } from "./positions.ts";
import { routesOf, type Route, type TableRule } from "./routes.ts";
import type { EventColumn } from "./staging.ts";

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
};

export type SinkRunState = "waiting for the source" | "waiting for the warehouse" | "reading";

export type FlushReport = {
  readonly events: number;
  readonly durationMs: number;
  /** The part of it until the warehouse was open, waits for another holder included. */
  readonly openMs: number;
  readonly merged: readonly { readonly table: TableName; readonly rows: number }[];
  readonly deadLetters: readonly DeadLetter[];
  /** Keys with an open dead letter. */
  readonly openLetters: number;
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
};

/** Bytes of events kept between two flushes; a flush begins early when they are reached. */
const PENDING_BYTES = 64 * 1024 * 1024;
const POLL_BYTES = 8 * 1024 * 1024;
/** How often the source's state is read for topics that are new, ms. */
const STATE_EVERY_MS = 2_000;
/** A poll that finds nothing returns after this, ms. */
const IDLE_POLL_MS = 500;
/** How long a source that has no state yet is left alone between two looks, ms. */
const WAIT_FOR_SOURCE_MS = 500;

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
  let state = await nextState(options, parts, null, stop);
  if (state === null) return;
  const run = await unlessAborted(SinkRun.start(options, parts, state, stop), stop);
  if (run === null) return;
  while (state !== null) state = await run.readUntilTopicsChange(state, stop, force);
}

function sayLag({ lag, observer }: SinkParts): void {
  if (lag.records !== null) observer.lag(lag.records);
}

/** The source's state, once it has other topics than `known`; null when `stop` aborts first. */
async function nextState(
  options: SinkOptions,
  { log }: SinkParts,
  known: SourceState | null,
  stop: AbortSignal,
): Promise<SourceState | null> {
  while (!stop.aborted) {
    const state = await readState(log, options.prefix, stop);
    const isNew = (id: string): boolean => known?.topics.some((topic) => topic.id === id) !== true;
    if (state?.topics.some(({ id }) => isNew(id)) === true) return state;
    await pause(known === null ? WAIT_FOR_SOURCE_MS : STATE_EVERY_MS, stop);
  }
  return null;
}

/** What one value schema's records are decoded with. `keyed`: its table has a key to merge by. */
type Decoding = { readonly decoder: EventDecoder; readonly columns: readonly EventColumn[]; readonly keyed: boolean };

class SinkRun {
  readonly #options: SinkOptions;
  readonly #parts: SinkParts;
  readonly #fence: number;
  readonly #letters: OpenLetters;
  readonly #decoders = new Map<number, Decoding>();
  readonly #progress = new Map<string, Progress>();
  /** Topics of tables without a key, said once. */
  readonly #keyless = new Set<string>();
  #routes: ReadonlyMap<string, Route> = new Map();
  #pending: Pending;
  /** performance.now() of the first event that is not flushed. */
  #pendingSince: number | null = null;

  constructor(options: SinkOptions, parts: SinkParts, fence: number, letters: OpenLetters) {
    this.#options = options;
    this.#parts = parts;
    this.#fence = fence;
    this.#letters = letters;
    this.#pending = new Pending(letters);
  }

  static async start(options: SinkOptions, parts: SinkParts, state: SourceState, signal: AbortSignal): Promise<SinkRun> {
    parts.observer.state("waiting for the warehouse");
    await using session = await parts.warehouse.open(signal);
    await session.prepare();
    const { fence, checkpoints } = await session.acquire(options.name);
    const run = new SinkRun(options, parts, fence, new OpenLetters(await session.openDeadLetters(options.name)));
    for (const progress of startPositions(options.name, state, checkpoints)) run.#progress.set(placeOf(progress), progress);
    return run;
  }

  /** Reads and flushes; the newer state when the source has more topics, null when `stop` aborted. */
  async readUntilTopicsChange(state: SourceState, stop: AbortSignal, force: AbortSignal): Promise<SourceState | null> {
    for (const progress of startPositions(
      this.#options.name,
      state,
      [...this.#progress.values()].filter(({ stored }) => stored),
    )) {
      this.#progress.set(placeOf(progress), progress);
    }
    this.#routes = new Map(routesOf(state.topics, this.#options.rule).map((route) => [route.topic.name, route]));
    const routed = [...this.#progress.values()].filter(({ topic }) => this.#routes.has(topic));
    const positions = routed.map(toPosition);
    for (const progress of routed) this.#parts.lag.merged(progress, progress.nextOffset);
    const changed = new AbortController();
    const ended = new AbortController();
    const newer = nextState(this.#options, this.#parts, state, AbortSignal.any([stop, ended.signal])).finally(() => changed.abort());
    newer.catch(() => undefined); // awaited below, after the reader is closed
    try {
      if (positions.length > 0) await this.#read(positions, changed.signal, force);
      else this.#sayNothingMatches(state);
      return await newer;
    } finally {
      ended.abort(); // a run that failed must not go on asking for the state
    }
  }

  async #read(positions: readonly Position[], until: AbortSignal, force: AbortSignal): Promise<void> {
    await using reader = await unlessAborted(this.#parts.log.openReader(`tailrace.${this.#options.name}`, positions, until), until);
    if (reader === null) return;
    while (!until.aborted) {
      const polled = await unlessAborted(reader.poll({ maxBytes: POLL_BYTES, waitMs: this.#untilFlushMs() }, until), until);
      for (const fetched of polled ?? []) this.#parts.lag.seen(fetched, fetched.end);
      sayLag(this.#parts);
      for (const fetched of polled ?? []) await this.#take(fetched, force);
      if (this.#flushIsDue()) await this.#flush(force, reader);
      // Not sooner: a sink that reads and can't merge is not running.
      if (this.#pendingSince === null) this.#parts.observer.state("reading");
    }
    await this.#flush(force, reader);
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
        decoding = this.#decoders.get(id) ?? (await this.#learn(id, force));
        decoding.decoder.decode(record.value);
      } catch (cause) {
        if (isUnreadable(cause)) {
          this.#pending.advance(progress, fetched, record.offset); // the checkpoint then says where it stands
          await this.#flush(force, null);
        }
        throw unreadableAt(cause, fetched, record.offset);
      }
      const { decoder, columns, keyed } = decoding;
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
    this.#parts.logger.warn({ tables }, "the sink's tables match none of the source's; waiting for one that they match");
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

  async #learn(id: number, signal: AbortSignal): Promise<Decoding> {
    const schema = await this.#parts.registry.schema(id, signal);
    const { columns } = readValueSchema(schema);
    const decoding = { decoder: new EventDecoder(schema), columns, keyed: columns.some(({ keyPosition }) => keyPosition > 0) };
    this.#decoders.set(id, decoding);
    return decoding;
  }

  async #flush(force: AbortSignal, reader: LogReader | null): Promise<void> {
    const pending = this.#pending;
    if (pending.empty) return;
    const startedMs = Date.now();
    const started = performance.now();
    await using session = await this.#parts.warehouse.open(force);
    const openMs = performance.now() - started;
    const flushed = await flushPending(session, pending, { sink: this.#options.name, fence: this.#fence, startedMs }, force);
    for (const letter of flushed.newLetters) {
      if (letter.keyBytes !== null) this.#letters.open(letter.topic, letter.keyBytes.toString("latin1"));
    }
    const moves = pending.checkpoints();
    for (const { expectedOffset: _, ...checkpoint } of moves) {
      this.#progress.set(placeOf(checkpoint), { ...checkpoint, stored: true });
      this.#parts.lag.merged(checkpoint, checkpoint.nextOffset);
    }
    this.#pending = new Pending(this.#letters);
    this.#pendingSince = null;
    this.#report(pending, flushed, performance.now() - started, openMs);
    await reader?.commit(moves.map(({ topic, partition, nextOffset }) => ({ topic, partition, offset: nextOffset })));
  }

  #report(pending: Pending, flushed: Flushed, durationMs: number, openMs: number): void {
    const { observer, logger } = this.#parts;
    for (const { code, message, topic, partition, offset, sequence } of flushed.deadLetters) {
      logger.warn({ code, topic, partition, offset, sequence }, `dead letter: ${message}`);
    }
    sayLag(this.#parts);
    observer.flushed({
      ...flushed,
      events: pending.events,
      durationMs,
      openMs,
      openLetters: this.#letters.size,
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

function placeOf(of: TopicPartition): string {
  return `${of.topic}/${of.partition}`;
}
