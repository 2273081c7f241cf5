// The work of a session's snapshots: an opener, which lets tables be read once R-window-start allows it, and readers,
// each with a session of its own, chunk after chunk. What fails is named and tried again; nothing of it ends the stream.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { backoffMs, pause } from "../core/pause.ts";
import type { QueuedKey } from "../core/snapshot-record.ts";
import { formatSequence } from "../core/sequence.ts";
import { tableLabel } from "../core/table.ts";
import type { ConnectionSettings, Session } from "../postgres/session.ts";
import { readChunk, type ChunkOutcome, type ChunkPart } from "../postgres/snapshot-chunk.ts";
import { exportSnapshot, type ExportedSnapshot } from "../postgres/snapshot-export.ts";
import { describeHolder, type Holder } from "../postgres/snapshot-holders.ts";
import { writeMark, type Mark } from "../postgres/snapshot-mark.ts";
import { blockCount, estimateRows, keyTexts, nextBoundary, type WireKey } from "../postgres/snapshot-plan.ts";
import { ChunkMemory } from "../postgres/snapshot-rows.ts";
import { openSnapshotSession, type SnapshotLimits } from "../postgres/snapshot-session.ts";
import { seeTable, type SnapshotTable } from "../postgres/snapshot-table.ts";
import { freshXid, waitForXmin } from "../postgres/snapshot-waits.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { CapturedTable } from "./captured-table.ts";
import { ChunkPace, restAfter, RowLimit, type Hold } from "./chunk-pace.ts";
import type { SnapshotOptions } from "./parts.ts";
import type { TableSnapshot } from "./snapshot-progress.ts";
import type { ChunkJob, Snapshots } from "./snapshots.ts";
import { parseVisibility } from "./window.ts";

/** Bytes of one chunk's rows. With `parallel` chunks, and as many in the log's rounds, it bounds the memory. */
const CHUNK_BYTES = 16 * 1024 * 1024;
/** Bytes of touched keys above which the window is given up and opened anew: a bulk change of a table must not fill the memory. */
const WINDOW_BYTES = 64 * 1024 * 1024;
/** Keys of one re-read. */
const REREAD_KEYS = 500;
/** How long keys are gathered before they are read again, ms: each time transactions are waited for. */
const GATHER_MS = 100;
/** Nothing rings when a table is paused or the stream catches up: looked at this often, ms. */
const LOOK_MS = 500;
/** A session that has nothing to do is closed after this, ms. */
const IDLE_MS = 5_000;
/** A wait shorter than this is not worth a word, ms. */
const PATIENCE_MS = 1_000;
const LIMITS: SnapshotLimits = { lockMs: 3_000, statementMs: 300_000, idleMs: 60_000 };
/** Blocks of a keyless table's first chunk. */
const BLOCKS = 200;
/** How long a keyless table's snapshot may wait for older transactions, ms: the stream is held meanwhile. */
const KEYLESS_WAIT_MS = 2_000;
/** Above every LSN: what a keyless table's snapshot will hold is passed over until its place is known. */
export const FOREVER = 0xffff_ffff_ffff_ffffn;
const NO_HOLD: Hold = { ms: 0, others: 0 };
const RETRY = { firstMs: 200, maxMs: 10_000 };

export type SnapshotWorkOptions = {
  readonly settings: ConnectionSettings;
  readonly publication: string;
  readonly snapshot: SnapshotOptions;
  readonly snapshots: Snapshots;
  readonly logger: Log;
  readonly tables: {
    /** null: not captured any more. */
    find(label: string): CapturedTable | null;
    /** The table in this shape, its schemas registered. Throws SCHEMA_CHANGED. */
    inShape(table: CatalogTable): Promise<CapturedTable>;
  };
  readonly epoch: number;
  /** Stops the stream for a moment, or lets it go on. */
  readonly hold: (on: boolean) => void;
  /** Bytes of WAL that the stream is behind. */
  readonly lagBytes: () => number;
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
  /** Those that may be read: everything that their chunks may not see is in the window. */
  readonly #open = new Set<TableSnapshot>();
  /** The tables as their chunks are planned. */
  readonly #seen = new Map<string, SnapshotTable>();
  #chunkBytes = 0;

  constructor(options: SnapshotWorkOptions) {
    this.#options = options;
    this.#snapshots = options.snapshots;
    this.#pace = new ChunkPace(options.snapshot.chunkRows);
    this.#limit = new RowLimit(options.snapshot.maxRowsPerSecond);
  }

  /** Bytes of the chunks that are read or wait for their mark. */
  get chunkBytes(): number {
    return this.#chunkBytes;
  }

  /** Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    // Each worker's session listens to it, and what the worker waits for. Beyond ten Node warns of a leak.
    setMaxListeners(4 * (this.#options.snapshot.parallel + 2), signal);
    const readers = Array.from({ length: this.#options.snapshot.parallel }, async () =>
      this.#repeat(async (session) => this.#readNext(session, signal), signal),
    );
    await Promise.all([this.#repeat(async (session) => this.#openNext(session, signal), signal), ...readers]);
  }

  /** Repeats a step, whose session is opened when it asks for it; a step that gives false had nothing to do. */
  async #repeat(step: (session: SessionKeeper) => Promise<boolean>, signal: AbortSignal): Promise<void> {
    await using keeper = new SessionKeeper(this.#options.settings, signal);
    const isOver = (): boolean => signal.aborted;
    for (let failures = 0; !isOver();) {
      try {
        if (await step(keeper)) {
          failures = 0;
          continue;
        }
        await keeper.closeWhenIdle();
        await this.#snapshots.bell.wait(LOOK_MS, signal);
      } catch (cause) {
        if (isOver()) return;
        this.#say(TailraceError.from(cause), failures);
        await keeper.close();
        await pause(backoffMs(failures++, RETRY, Math.random()), signal);
      }
    }
  }

  #say(error: TailraceError, failures: number): void {
    for (const snapshot of this.#due()) this.#options.waiting(tableLabel(snapshot.table), error.message);
    if (failures === 0) this.#options.logger.warn(error.toJSON(), `a snapshot waits: ${error.message}`);
  }

  #due(): readonly TableSnapshot[] {
    const { tables, paused } = this.#options;
    return this.#snapshots.all.filter((snapshot) => {
      const label = tableLabel(snapshot.table);
      if (tables.find(label) === null) this.#snapshots.abandon(snapshot);
      return this.#snapshots.isCurrent(snapshot) && !paused().has(label);
    });
  }

  /**
   * R-window-start. From here on the window is told of the tables' keys; every transaction that may have written before
   * that has ended before a chunk is read. Both waits are needed: a transaction may be published by half when its table
   * enters the publication, and one may have taken its id after the mark and stand before it in the WAL.
   */
  async #openNext(keeper: SessionKeeper, signal: AbortSignal): Promise<boolean> {
    this.#closeDone();
    const due = this.#due().filter((snapshot) => !this.#open.has(snapshot));
    if (due.length === 0) return false;
    const { logger, waiting } = this.#options;
    const labels = due.map(({ table }) => tableLabel(table));
    if (due.every(({ kind }) => kind === "rereads")) await pause(GATHER_MS, signal);
    else logger.info({ tables: labels }, "snapshot: begins, or goes on");
    const session = await keeper.session();
    const patience = new Patience((holders) => {
      if (holders !== null) logger.warn({ tables: labels, holders }, "snapshot: waits until open transactions end");
      for (const label of labels) waiting(label, holders === null ? null : `open transactions: ${holders}`);
    });
    await waitForXmin(session, await freshXid(session), (holders) => patience.look(holders), signal);
    // Not before: the first wait may take hours, and what is watched can't be forgotten while it lasts.
    for (const label of labels) this.#watch(label, true);
    await writeMark(session, this.#snapshots.openingMark(due));
    const xmin = await waitForXmin(session, await freshXid(session), (holders) => patience.look(holders), signal);
    patience.over();
    this.#snapshots.window.advance(xmin);
    for (const snapshot of due) {
      this.#open.add(snapshot);
      this.#snapshots.endIfComplete(snapshot); // said again, should the last process have ended before it was
    }
    this.#snapshots.bell.ring();
    return true;
  }

  /** What is complete, or given up, is not watched any longer. A window that has grown too large is closed for all. */
  #closeDone(): void {
    const { window } = this.#snapshots;
    if (window.bytes > WINDOW_BYTES) {
      const fields = { bytes: window.bytes, keys: window.touches };
      this.#options.logger.warn(fields, "snapshot: too many changed rows to keep; the chunks that are open are read again");
      window.forget();
      this.#open.clear();
    }
    for (const snapshot of this.#open) {
      if (this.#snapshots.isCurrent(snapshot) && !snapshot.complete) continue;
      this.#open.delete(snapshot);
      const label = tableLabel(snapshot.table);
      this.#seen.delete(label);
      if (!this.#snapshots.all.some((other) => other !== snapshot && tableLabel(other.table) === label)) this.#watch(label, false);
    }
  }

  #watch(label: string, on: boolean): void {
    const captured = this.#options.tables.find(label);
    if (captured === null) return;
    captured.watched = on;
    if (on) this.#snapshots.window.watch(captured.table.oid);
    else this.#snapshots.window.unwatch(captured.table.oid);
  }

  async #readNext(keeper: SessionKeeper, signal: AbortSignal): Promise<boolean> {
    if (this.#open.size === 0 || this.#yields()) return false;
    const job = this.#take();
    if (job === null) return false;
    const held = { job };
    try {
      if (job.snapshot.kind === "keyless" && job.kind === "range") await this.#readKeyless(keeper, job, signal);
      else await this.#read(keeper, held, signal);
      return true;
    } catch (cause) {
      giveBack(held.job);
      throw cause;
    }
  }

  #yields(): boolean {
    const { lagBytes, snapshot, waiting } = this.#options;
    const lag = lagBytes();
    if (lag <= snapshot.maxLagBytes) return false;
    for (const { table } of this.#open) waiting(tableLabel(table), `the stream, which is ${lag} bytes behind`);
    return true;
  }

  #take(): ChunkJob | null {
    for (const snapshot of this.#due()) {
      if (!this.#open.has(snapshot)) continue;
      const keys = snapshot.takeRereads(REREAD_KEYS);
      if (keys.length > 0) return { kind: "keys", snapshot, keys };
      const range = snapshot.take();
      if (range !== null) return { kind: "range", snapshot, range };
    }
    return null;
  }

  /** `held`: the job that the caller gives back when this throws. */
  async #read(keeper: SessionKeeper, held: { job: ChunkJob }, signal: AbortSignal): Promise<void> {
    const { waiting } = this.#options;
    const taken = held.job;
    const { snapshot } = taken;
    const label = tableLabel(snapshot.table);
    const session = await keeper.session();
    const table = await this.#see(session, label);
    if (table === null) return giveBack(taken);
    const job = (held.job = taken.kind === "range" ? await this.#carve(session, taken, table) : taken);
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
    this.#pace.took(label, { rows: count, ms, hold, bytes: length, maxBytes: CHUNK_BYTES });
    const wait = job.kind === "keys" ? GATHER_MS : this.#limit.waitAfter(count, performance.now());
    await pause(Math.max(wait, restAfter(ms, hold)), signal);
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
    const { tables, publication } = this.#options;
    const captured = await tables.inShape(table.table);
    const { window } = this.#snapshots;
    const chunk = window.beginChunk(table.table.oid);
    const passed = settable<Hold | null>();
    const written: { mark: Mark | null } = { mark: null };
    let bytes = 0;
    try {
      const outcome = await readChunk(
        await keeper.session(),
        { table, publication, part, where: job.snapshot.where, limitBytes: CHUNK_BYTES, under, memory: keeper.memory },
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

  /**
   * R-keyless: rows have no key by which a change could be told from what was read. So all of them are read as one
   * snapshot saw them, which also says at which commit: the table's transactions before it are not published. Whatever
   * fails begins the table again.
   */
  async #readKeyless(keeper: SessionKeeper, job: Extract<ChunkJob, { readonly kind: "range" }>, signal: AbortSignal): Promise<void> {
    const { settings, tables, hold, epoch, waiting } = this.#options;
    const { snapshot, range } = job;
    const label = tableLabel(snapshot.table);
    const pass = (below: bigint): void => {
      const captured = tables.find(label);
      if (captured !== null) captured.passedBelow = below;
    };
    snapshot.recount();
    let exported: ExportedSnapshot | null = null;
    try {
      // What has come by so far was committed before the snapshot is taken; what comes meanwhile waits for its word.
      pass(FOREVER);
      hold(true);
      exported = await exportSnapshot(
        settings,
        { slot: `tailrace_${randomUUID().replaceAll("-", "_")}`, waitMs: KEYLESS_WAIT_MS, limits: LIMITS },
        signal,
      );
      pass(exported.consistentPoint);
      hold(false);
      const table = await this.#see(await keeper.session(), label);
      if (table === null) return giveBack(job);
      snapshot.estimatedRows ??= await estimateRows(await keeper.session(), table, null);
      const opening = formatSequence({ epoch, commitLsn: exported.consistentPoint, ordinal: 0 });
      const blocks = await blockCount(await keeper.session(), table);
      const pace = new ChunkPace(BLOCKS); // in blocks
      for (let from = 0; ;) {
        const step = pace.rows(label);
        const begun = performance.now();
        const to = from + step < blocks ? from + step : null;
        const part: ChunkPart = { kind: "blocks", from, to };
        const one: ChunkJob = { kind: "blocks", snapshot, range, isLast: to === null, opening };
        const { outcome, hold: held } = await this.#chunk(keeper, one, table, part, exported.name, signal);
        if (outcome.kind === "changed") throw new TailraceError("SNAPSHOT_LOST", { table: label, reason: "the table has changed" });
        if (outcome.kind === "tooLarge") {
          if (step === 1)
            throw new TailraceError("SNAPSHOT_ROW_WIDE", { table: label, reason: `a block's rows have more than ${CHUNK_BYTES} bytes` });
          pace.tooLarge(label, step);
          continue;
        }
        waiting(label, null);
        if (to === null) return;
        from = to;
        const { count, length } = outcome.rows;
        const ms = performance.now() - begun;
        pace.took(label, { rows: step, ms, hold: held, bytes: length, maxBytes: CHUNK_BYTES });
        await pause(Math.max(this.#limit.waitAfter(count, performance.now()), restAfter(ms, held)), signal);
      }
    } finally {
      hold(false);
      await exported?.[Symbol.asyncDispose]();
    }
  }

  /** The table as the next chunk is planned; null when it is not there as it is captured. */
  async #see(session: Session, label: string): Promise<SnapshotTable | null> {
    const known = this.#seen.get(label);
    if (known !== undefined) return known;
    const oid = this.#options.tables.find(label)?.table.oid;
    const { table } = oid === undefined ? { table: null } : await seeTable(session, oid, this.#options.publication);
    if (table === null) throw new TailraceError("TABLE_MISSING", { table: label });
    this.#seen.set(label, table);
    return table;
  }

  /** Cuts the next chunk off a taken range. Meanwhile nobody else takes it. */
  async #carve(session: Session, taken: Extract<ChunkJob, { readonly kind: "range" }>, table: SnapshotTable): Promise<ChunkJob> {
    const { snapshot, range } = taken;
    const label = tableLabel(snapshot.table);
    snapshot.estimatedRows ??= await estimateRows(session, table, snapshot.where);
    const boundary = await nextBoundary(session, table, range, this.#pace.rows(label));
    if (boundary === null) return taken;
    const front = snapshot.carve(range, boundary);
    this.#snapshots.bell.ring(); // the rest is for others
    return { kind: "range", snapshot, range: front };
  }
}

/** A session that is opened when it is first asked for, and anew after close(); with the memory of its chunks, of which one is read at a time. */
class SessionKeeper implements AsyncDisposable {
  memory = new ChunkMemory();
  readonly #settings: ConnectionSettings;
  readonly #signal: AbortSignal;
  #session: Session | null = null;
  #usedAt = 0;

  constructor(settings: ConnectionSettings, signal: AbortSignal) {
    this.#settings = settings;
    this.#signal = signal;
  }

  async session(): Promise<Session> {
    this.#session ??= await openSnapshotSession(this.#settings, LIMITS, this.#signal);
    this.#usedAt = performance.now();
    return this.#session;
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.memory = new ChunkMemory();
    await session?.[Symbol.asyncDispose]();
  }

  async closeWhenIdle(): Promise<void> {
    if (this.#session !== null && performance.now() - this.#usedAt > IDLE_MS) await this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Tells who is waited for once it has lasted, whenever that changes, and (null) when it is over. */
class Patience {
  readonly #tell: (holders: string | null) => void;
  readonly #begun = performance.now();
  #said: string | null = null;

  constructor(tell: (holders: string | null) => void) {
    this.#tell = tell;
  }

  look(holders: readonly Holder[]): void {
    if (performance.now() - this.#begun < PATIENCE_MS || holders.length === 0) return;
    const described = holders.slice(0, 3).map(describeHolder).join("; ");
    if (described === this.#said) return;
    this.#said = described;
    this.#tell(described);
  }

  over(): void {
    if (this.#said !== null) this.#tell(null);
    this.#said = null;
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
