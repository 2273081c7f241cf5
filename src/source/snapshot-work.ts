// The work of a session's snapshots: an opener, which lets tables be read once R-window-start allows it, and readers,
// each with a session of its own, chunk after chunk. What fails is named and tried again; nothing of it ends the stream.
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { backoffMs, pause } from "../core/pause.ts";
import type { AskedTypes } from "../core/read-as.ts";
import type { QueuedKey } from "../core/snapshot-record.ts";
import { tableLabel } from "../core/table.ts";
import { relationExists } from "../postgres/catalog.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import { readChunk, type ChunkOutcome, type ChunkPart } from "../postgres/snapshot-chunk.ts";
import type { Mark } from "../postgres/snapshot-mark.ts";
import { estimateRows, keyTexts, nextBoundary, type WireKey } from "../postgres/snapshot-plan.ts";
import { seeTable, type SnapshotTable } from "../postgres/snapshot-table.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { parseVisibility } from "../postgres/visibility.ts";
import type { CapturedTable } from "./captured-table.ts";
import { ChunkOrder, GATHER_MS } from "./chunk-order.ts";
import { ChunkPace, restAfter, RowLimit, type Hold } from "./chunk-pace.ts";
import type { SnapshotOptions } from "./parts.ts";
import { allowListeners, SessionKeeper } from "./session-keeper.ts";
import { readKeyless, Turns } from "./snapshot-keyless.ts";
import { SnapshotOpener } from "./snapshot-opener.ts";
import type { TableSnapshot } from "./snapshot-progress.ts";
import type { ChunkJob, RangeJob, Snapshots } from "./snapshots.ts";
import { TableTroubles } from "./table-troubles.ts";
import type { Chunk } from "./window.ts";

/** Bytes of one chunk's rows. With `parallel` chunks, and as many in the log's rounds, it bounds the memory. */
const CHUNK_BYTES = 16 * 1024 * 1024;
/** Nothing rings when a table is paused or the stream catches up: looked at this often, ms; nor when keys have been gathered. */
const LOOK_MS = 500;
/** SnapshotOptions.keylessHeldMs. */
const HELD_MS = 60_000;
const NO_HOLD: Hold = { ms: 0, others: 0 };
const RETRY = { firstMs: 200, maxMs: 10_000 };

export type SnapshotWorkOptions = {
  readonly settings: ConnectionSettings;
  readonly publication: string;
  readonly asked: AskedTypes;
  readonly snapshot: SnapshotOptions;
  readonly snapshots: Snapshots;
  readonly logger: Log;
  readonly tables: {
    /** null: not captured any more. */
    find(label: string): CapturedTable | null;
    /** The table in this shape, its schemas registered. Throws SCHEMA_REFUSED, TABLE_VERSIONED. */
    inShape(table: CatalogTable, signal: AbortSignal): Promise<CapturedTable>;
  };
  readonly epoch: number;
  /** Stops the stream for a moment, or lets it go on. */
  readonly hold: (on: boolean) => void;
  /** Bytes of WAL: that the stream is behind, and that the server keeps for the slot. Of now. */
  readonly lag: { readonly bytes: number; readonly retained: number };
  /** Labels of tables whose snapshot an operator holds. */
  readonly paused: () => ReadonlySet<string>;
  /** Whom or what a table's snapshot waits for; null: nothing. */
  readonly waiting: (label: string, reason: string | null) => void;
};

export class SnapshotWork {
  readonly #options: SnapshotWorkOptions;
  readonly #snapshots: Snapshots;
  readonly #pace: ChunkPace;
  readonly #limit: RowLimit;
  readonly #order = new ChunkOrder();
  readonly #opener: SnapshotOpener;
  readonly #troubles = new TableTroubles(RETRY);
  readonly #turns = new Turns();
  /** The tables as their chunks are planned. */
  readonly #seen = new Map<string, SnapshotTable>();
  #chunkBytes = 0;

  constructor(options: SnapshotWorkOptions) {
    this.#options = options;
    this.#snapshots = options.snapshots;
    const { snapshots, logger, tables, waiting } = options;
    const closed = (label: string): void => void this.#seen.delete(label);
    this.#opener = new SnapshotOpener({ snapshots, logger, tables, due: () => this.#due(), waiting, closed });
    this.#pace = new ChunkPace(options.snapshot.chunkRows);
    this.#limit = new RowLimit(options.snapshot.maxRowsPerSecond);
  }

  /** Bytes of the chunks that are read or wait for their mark. */
  get chunkBytes(): number {
    return this.#chunkBytes;
  }

  /** Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    allowListeners(this.#options.snapshot.parallel + 2, signal);
    const readers = Array.from({ length: this.#options.snapshot.parallel }, async () =>
      this.#repeat(async (session) => this.#readNext(session, signal), signal),
    );
    await Promise.all([this.#repeat(async (session) => this.#opener.openNext(session, signal), signal), ...readers]);
  }

  /** Repeats a step, whose session is opened when it asks for it; a step that gives false had nothing to do. */
  async #repeat(step: (session: SessionKeeper) => Promise<boolean>, signal: AbortSignal): Promise<void> {
    await using keeper = new SessionKeeper(this.#options.settings, signal);
    const isOver = (): boolean => signal.aborted;
    let said: string | null = null;
    for (let failures = 0; !isOver();) {
      try {
        if (await step(keeper)) {
          failures = 0;
          said = null;
          continue;
        }
        await keeper.closeWhenIdle();
        await this.#snapshots.bell.wait(this.#snapshots.all.some(({ queued }) => queued > 0) ? GATHER_MS : LOOK_MS, signal);
      } catch (cause) {
        if (isOver()) return;
        const error = TailraceError.from(cause);
        for (const snapshot of this.#due()) this.#options.waiting(tableLabel(snapshot.table), error.message);
        if (said !== error.code) this.#options.logger.warn(error.toJSON(), `snapshots wait: ${error.message}`);
        said = error.code;
        await keeper.close();
        await pause(backoffMs(failures++, RETRY, Math.random()), signal);
      }
    }
  }

  #due(): readonly TableSnapshot[] {
    const { tables, paused } = this.#options;
    return this.#snapshots.all.filter((snapshot) => {
      const label = tableLabel(snapshot.table);
      if (tables.find(label) === null) this.#snapshots.abandon(snapshot);
      return this.#snapshots.isCurrent(snapshot) && !paused().has(label);
    });
  }

  async #readNext(keeper: SessionKeeper, signal: AbortSignal): Promise<boolean> {
    if (this.#opener.open.length === 0 || this.#yields()) return false;
    const job = this.#take();
    if (job === null) return false;
    const { snapshot } = job;
    const label = tableLabel(snapshot.table);
    const held = { job };
    try {
      if (snapshot.kind === "keyless" && job.kind === "range") {
        if (!(await this.#readKeyless(keeper, job, signal))) giveBack(job);
      } else await this.#read(keeper, held, signal);
      if (this.#troubles.over(label)) this.#options.logger.info({ table: label }, "snapshot: goes on");
    } catch (cause) {
      giveBack(held.job);
      const error = TailraceError.from(cause, { table: label });
      if (signal.aborted || TableTroubles.isOfConnection(error)) throw error;
      await keeper.close();
      await this.#failed(keeper, snapshot, error);
    }
    return true;
  }

  /** A bad table costs that table: it rests, the others are read. */
  async #failed(keeper: SessionKeeper, snapshot: TableSnapshot, error: TailraceError): Promise<void> {
    const { logger, tables, waiting } = this.#options;
    const label = tableLabel(snapshot.table);
    this.#seen.delete(label);
    if (error.code === "SNAPSHOT_SLOW") this.#pace.tooLarge(label, this.#pace.rows(label));
    const oid = tables.find(label)?.table.oid;
    if (error.code === "TABLE_MISSING" && oid !== undefined && !(await relationExists(await keeper.session(), oid))) {
      logger.warn({ table: label }, "snapshot: the table was dropped; it is not read any more");
      this.#snapshots.abandon(snapshot);
      this.#troubles.over(label);
      return;
    }
    waiting(label, error.message);
    const isNew = this.#troubles.failed(label, error.code, performance.now(), Math.random());
    if (isNew) logger.warn(error.toJSON(), `a snapshot waits: ${error.message}`);
  }

  #yields(): boolean {
    const { lag, snapshot, waiting } = this.#options;
    const reason =
      lag.bytes > snapshot.maxLagBytes
        ? `the stream, which is ${lag.bytes} bytes behind (snapshot.max_lag)`
        : lag.retained > snapshot.maxRetainedBytes
          ? `the slot, for which the server keeps ${lag.retained} bytes of WAL (snapshot.max_retained_wal)`
          : null;
    if (reason !== null) for (const { table } of this.#opener.open) waiting(tableLabel(table), reason);
    return reason !== null;
  }

  #take(): ChunkJob | null {
    const now = performance.now();
    const ready = this.#due().filter((snapshot) => this.#opener.isOpen(snapshot) && !this.#troubles.rests(tableLabel(snapshot.table), now));
    return this.#order.next(ready, now);
  }

  /** `held`: the job that the caller gives back when this throws. */
  async #read(keeper: SessionKeeper, held: { job: ChunkJob }, signal: AbortSignal): Promise<void> {
    const { waiting } = this.#options;
    const taken = held.job;
    const { snapshot } = taken;
    const label = tableLabel(snapshot.table);
    const session = await keeper.session();
    const table = await this.#see(session, label);
    const planned = this.#pace.rows(label);
    const job = (held.job = taken.kind === "range" ? await this.#carve(session, taken, table, planned) : taken);
    const part: ChunkPart =
      job.kind === "keys"
        ? { kind: "keys", keys: await keyTexts(session, table, job.keys.map(wireKey)) }
        : { kind: "range", range: job.range };
    const begun = performance.now();
    const { outcome, hold } = await this.#chunk(keeper, job, table, part, null, signal);
    if (outcome.kind === "changed") this.#seen.delete(label);
    if (outcome.kind === "tooLarge") this.#pace.tooLarge(label, outcome.rows);
    if (outcome.kind !== "read") return giveBack(job);
    waiting(label, null);
    const { count, length } = outcome.rows;
    const ms = performance.now() - begun;
    // A range's end says nothing of the size; of a condition's rows those count that were looked at.
    if (job !== taken) this.#pace.took(label, { rows: planned, ms, hold, bytes: length, maxBytes: CHUNK_BYTES });
    await pause(Math.max(this.#limit.waitAfter(count, performance.now()), restAfter(ms, hold)), signal);
  }

  /** Reads one chunk and waits until its mark has come by. Throws SNAPSHOT_LOST when the chunk was given up meanwhile. */
  async #chunk(
    keeper: SessionKeeper,
    job: ChunkJob,
    table: SnapshotTable,
    part: ChunkPart,
    under: string | null,
    signal: AbortSignal,
  ): Promise<{ readonly outcome: ChunkOutcome; readonly hold: Hold }> {
    const { tables, publication, asked } = this.#options;
    const captured = await tables.inShape(table.table, signal);
    const { window } = this.#snapshots;
    // R-keyless: no event can be told to be of one of its rows, so none is judged.
    const chunk: Chunk =
      job.kind === "blocks"
        ? { table: table.table.oid, visibility: null, touched: false }
        : window.beginChunk(table.table.oid, this.#opener.generationOf(job.snapshot));
    const passed = settable<Hold | null>();
    const written: { mark: Mark | null } = { mark: null };
    let bytes = 0;
    try {
      const outcome = await readChunk(
        await keeper.session(),
        { table, publication, asked, part, where: job.snapshot.where, limitBytes: CHUNK_BYTES, under, memory: keeper.memory },
        {
          seen: (visible) => window.known(chunk, parseVisibility(visible)),
          read: (rows) => {
            bytes = rows.memoryBytes;
            this.#chunkBytes += bytes;
            return (written.mark = this.#snapshots.chunkMark({ job, chunk, captured, rows, passed: passed.set }));
          },
        },
      );
      if (outcome.kind === "tooLarge") await keeper.close();
      const hold = outcome.kind === "read" ? await unlessAborted(passed.value, signal) : NO_HOLD;
      if (hold === null)
        throw new TailraceError("SNAPSHOT_LOST", {
          table: tableLabel(job.snapshot.table),
          reason: "its window was closed before its mark came by",
        });
      return { outcome, hold };
    } finally {
      this.#chunkBytes -= bytes;
      if (written.mark !== null) this.#snapshots.forgetMark(written.mark);
      window.close(chunk);
    }
  }

  /** false: it was given up, for another snapshot of the table or since it was held too long. */
  async #readKeyless(keeper: SessionKeeper, job: RangeJob, signal: AbortSignal): Promise<boolean> {
    const { settings, tables, hold, epoch, waiting } = this.#options;
    const label = tableLabel(job.snapshot.table);
    const reading = {
      settings,
      epoch,
      pass: (below: bigint) => {
        const captured = this.#snapshots.isCurrent(job.snapshot) ? tables.find(label) : null;
        if (captured !== null) captured.reading.passedBelow = below;
      },
      hold,
      see: async () => this.#see(await keeper.session(), label),
      chunk: async (one: ChunkJob, table: SnapshotTable, part: ChunkPart, under: string) =>
        this.#chunk(keeper, one, table, part, under, signal),
      read: () => waiting(label, null),
      mayGoOn: async () => this.#mayGoOn(job.snapshot, signal),
      rest: async (rows: number, ms: number) => pause(Math.max(this.#limit.waitAfter(rows, performance.now()), ms), signal),
      maxBytes: CHUNK_BYTES,
    };
    this.#snapshots.keyless = job.snapshot;
    try {
      return await readKeyless(reading, keeper, job, this.#turns, signal);
    } finally {
      if (this.#snapshots.keyless === job.snapshot) this.#snapshots.keyless = null;
    }
  }

  /** Between two chunks of one snapshot: false when it is to be given up. */
  async #mayGoOn(snapshot: TableSnapshot, signal: AbortSignal): Promise<boolean> {
    const { keylessHeldMs = HELD_MS } = this.#options.snapshot;
    const heldSince = performance.now();
    while (this.#snapshots.isCurrent(snapshot)) {
      if (this.#due().includes(snapshot) && !this.#yields()) return true;
      if (performance.now() - heldSince > keylessHeldMs) break;
      await pause(LOOK_MS, signal);
      signal.throwIfAborted();
    }
    return false;
  }

  /** The table as the next chunk is planned. Throws TABLE_MISSING when it is not there as it is captured. */
  async #see(session: Session, label: string): Promise<SnapshotTable> {
    const known = this.#seen.get(label);
    if (known !== undefined) return known;
    const oid = this.#options.tables.find(label)?.table.oid;
    const { table } = oid === undefined ? { table: null } : await seeTable(session, oid, this.#options.publication, this.#options.asked);
    if (table === null) throw new TailraceError("TABLE_MISSING", { table: label });
    this.#seen.set(label, table);
    return table;
  }

  /** Cuts the next chunk off a taken range. Meanwhile nobody else takes it. */
  async #carve(session: Session, taken: RangeJob, table: SnapshotTable, rows: number): Promise<ChunkJob> {
    const { snapshot, range } = taken;
    snapshot.estimatedRows ??= await estimateRows(session, table, snapshot.where);
    const boundary = await nextBoundary(session, table, range, rows);
    if (boundary === null) return taken;
    const front = snapshot.carve(range, boundary);
    this.#snapshots.bell.ring(); // the rest is for others
    return { kind: "range", snapshot, range: front };
  }
}

function giveBack(job: ChunkJob): void {
  if (job.kind === "keys") job.snapshot.reread(job.keys, null);
  else job.snapshot.giveBack(job.range);
}

function wireKey(key: QueuedKey): WireKey {
  return key.map(({ form, value }) => ({ form, bytes: Buffer.from(value, "base64") }));
}

function settable<T>(): { readonly value: Promise<T>; readonly set: (value: T) => void } {
  let set: (value: T) => void = () => undefined;
  const value = new Promise<T>((resolve) => (set = resolve));
  return { value, set };
}

/** The promise's value; throws the signal's reason when it aborts first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
