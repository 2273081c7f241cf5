// The snapshots of one stream session (design, section 8), as the stream meets them: marks come by, rows stand there,
// and what is durable goes into the state. Nothing here waits; what waits and reads is snapshot-work.ts.
import { randomUUID } from "node:crypto";
import type { SnapshotEnd } from "../core/barrier.ts";
import { Bell } from "../core/bell.ts";
import { TailraceError } from "../core/errors.ts";
import type { Lsn } from "../core/lsn.ts";
import { formatSequence } from "../core/sequence.ts";
import type { KeyRange, QueuedKey, SnapshotRecord } from "../core/snapshot-record.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { tupleState, type Tuple } from "../core/tuple.ts";
import type { Mark } from "../postgres/snapshot-mark.ts";
import type { ChunkRows } from "../postgres/snapshot-rows.ts";
import type { CapturedTable } from "./captured-table.ts";
import type { Hold } from "./chunk-pace.ts";
import type { MarkedChunk, SnapshotStream } from "./snapshot-stream.ts";
import { TableSnapshot } from "./snapshot-progress.ts";
import { SnapshotWindow, type Chunk } from "./window.ts";

/** Characters of keys queued for a re-read above which the table is read whole: the queue stands in each state record (core/source-state.ts). */
const QUEUE_CHARACTERS = 1024 * 1024;
/** Bytes of touched keys above which all are forgotten, and what is open is opened anew. */
const WINDOW_BYTES = 64 * 1024 * 1024;

/** What a chunk is to read; taken from the snapshot until it is given back or durable. */
export type ChunkJob = { readonly snapshot: TableSnapshot } & (
  | { readonly kind: "range"; readonly range: KeyRange }
  | { readonly kind: "keys"; readonly keys: readonly QueuedKey[] }
  /** R-keyless: blocks of the range, the last of them or not; `opening` as SnapshotEnd has it, `attempt` as TableSnapshot. */
  | { readonly kind: "blocks"; readonly range: KeyRange; readonly isLast: boolean; readonly opening: string; readonly attempt: number }
);

export type RangeJob = Extract<ChunkJob, { readonly kind: "range" }>;

/** A chunk that has been read and waits for its mark. */
export type AwaitedChunk = {
  readonly job: ChunkJob;
  readonly chunk: Chunk;
  readonly captured: CapturedTable;
  readonly rows: ChunkRows;
  /** The mark has come by; null: too late for the rows. */
  readonly passed: (hold: Hold | null) => void;
};

/** A chunk whose rows are in the stream's transaction at `commitLsn`. */
type EmittedChunk = {
  readonly job: ChunkJob;
  readonly chunk: Chunk;
  readonly commitLsn: Lsn;
  readonly opening: string;
  readonly rows: number;
};

export type SnapshotEvents = {
  /** Rows of a chunk are durable. */
  durable(table: string, rows: number): void;
  /** A snapshot is complete: to be said in a barrier, and done when announced() is called. */
  ended(end: SnapshotEnd): void;
  /** Nothing of it is left to do or to say. */
  completed(snapshot: TableSnapshot): void;
};

export class Snapshots implements SnapshotStream {
  readonly window = new SnapshotWindow<Tuple>(WINDOW_BYTES);
  /** Rings when something may be read that could not before. */
  readonly bell = new Bell();
  /** R-keyless: the one that is being read now: a new session would read it from its beginning. */
  keyless: TableSnapshot | null = null;
  readonly #source: string;
  readonly #epoch: number;
  readonly #events: SnapshotEvents;
  readonly #topicOf: (table: TableName) => string;
  readonly #tables = new Map<string, TableSnapshot>();
  readonly #awaited = new Map<string, AwaitedChunk>();
  #emitted: EmittedChunk[] = [];
  /** Whose opening mark has this nonce. */
  readonly #openings = new Map<string, readonly TableSnapshot[]>();
  /** Who waits for the mark of this nonce alone. */
  readonly #passings = new Map<string, () => void>();
  /** Text form of the sequence of the opening mark under which a table is read now. */
  readonly #opened = new Map<TableSnapshot, string>();

  constructor(options: {
    readonly source: string;
    readonly epoch: number;
    /** The unfinished ones. */
    readonly records: readonly SnapshotRecord[];
    readonly topicOf: (table: TableName) => string;
    readonly events: SnapshotEvents;
  }) {
    this.#source = options.source;
    this.#epoch = options.epoch;
    this.#events = options.events;
    this.#topicOf = options.topicOf;
    for (const record of options.records) this.#tables.set(tableLabel(record.table), TableSnapshot.of(record));
  }

  /** What the state keeps: the unfinished ones. */
  records(): readonly SnapshotRecord[] {
    return [...this.#tables.values()].map((table) => table.record());
  }

  /** The unfinished ones, those that only wait to be said in a barrier among them. */
  get all(): readonly TableSnapshot[] {
    return [...this.#tables.values()];
  }

  /** Begins a snapshot of the table; one that goes on is given up for it. */
  request(table: TableName, kind: "table" | "filtered" | "keyless", reason: string, where: string | null): void {
    const label = tableLabel(table);
    const before = this.#tables.get(label);
    const fresh = TableSnapshot.begin(table, kind, reason, where).record();
    this.#tables.set(label, TableSnapshot.of({ ...fresh, rereads: before?.record().rereads ?? [] }));
    this.bell.ring();
  }

  /** The table can't be read any more. */
  abandon(snapshot: TableSnapshot): void {
    if (this.isCurrent(snapshot)) this.#tables.delete(tableLabel(snapshot.table));
  }

  isCurrent(snapshot: TableSnapshot): boolean {
    return this.#tables.get(tableLabel(snapshot.table)) === snapshot;
  }

  /** An opening mark: chunks of these tables are read under it from now on. */
  openingMark(tables: readonly TableSnapshot[]): Mark {
    const mark: Mark = { source: this.#source, nonce: randomUUID(), kind: "opening" };
    this.#openings.set(mark.nonce, tables);
    return mark;
  }

  /** A mark that only tells, by `passed`, that the stream has come to it. */
  passingMark(passed: () => void): Mark {
    const mark: Mark = { source: this.#source, nonce: randomUUID(), kind: "opening" };
    this.#passings.set(mark.nonce, passed);
    return mark;
  }

  /** A chunk's mark; from now on the chunk waits for it. */
  chunkMark(awaited: AwaitedChunk): Mark {
    const mark: Mark = { source: this.#source, nonce: randomUUID(), kind: "chunk" };
    this.#awaited.set(mark.nonce, awaited);
    return mark;
  }

  /** The mark may come by: it means nothing any more. */
  forgetMark({ nonce }: Mark): void {
    this.#awaited.delete(nonce);
  }

  mark({ source, nonce }: Mark, commitLsn: Lsn): MarkedChunk | "opening" | null {
    if (source !== this.#source) return null;
    this.#passings.get(nonce)?.();
    this.#passings.delete(nonce);
    const openings = this.#openings.get(nonce);
    if (openings !== undefined) {
      for (const snapshot of openings) this.#opened.set(snapshot, formatSequence({ epoch: this.#epoch, commitLsn, ordinal: 0 }));
      this.#openings.delete(nonce);
      return "opening";
    }
    const awaited = this.#awaited.get(nonce);
    if (awaited === undefined) return null;
    this.#awaited.delete(nonce);
    const { job, chunk, captured, rows, passed } = awaited;
    const opening = job.kind === "blocks" ? job.opening : this.#opened.get(job.snapshot);
    const isUsable = job.kind === "blocks" ? job.attempt === job.snapshot.attempt : this.window.reached(chunk);
    const isElsewhere = captured.moves !== captured.reading.moves;
    if (!isUsable || isElsewhere || !this.isCurrent(job.snapshot) || opening === undefined) {
      passed(null);
      return null;
    }
    const begun = performance.now();
    return {
      captured,
      chunk,
      rows: rows.count,
      fill: (row, into) => rows.fillTuple(row, into),
      emitted: (others) => {
        this.window.close(chunk);
        this.#emitted.push({ job, chunk, commitLsn, opening, rows: rows.count });
        passed({ ms: performance.now() - begun, others });
      },
    };
  }

  reread(captured: CapturedTable, xid: number, row: Tuple, old: Tuple, reason: string): void {
    let table = this.#tables.get(captured.label);
    // One that is complete and not said to be stays: its end, and with it the sweep, waits until these keys are read.
    if (table === undefined) {
      table = TableSnapshot.begin(captured.table, "rereads", reason);
      this.#tables.set(captured.label, table);
    }
    table.queue(queuedKey(captured, row, old), xid);
    // Its chunks see these changes: none is read before every transaction that is open now has ended (R-window-start).
    if (table.queuedCharacters > QUEUE_CHARACTERS)
      this.#tables.set(captured.label, TableSnapshot.begin(captured.table, "table", `many rows to read again: ${reason}`));
    this.bell.ring();
  }

  /** Everything up to this commit LSN is durable, its barrier too. */
  published(lsn: Lsn): void {
    if (this.#emitted.length === 0 || this.#emitted[0]!.commitLsn > lsn) return;
    const durable = this.#emitted.filter(({ commitLsn }) => commitLsn <= lsn);
    this.#emitted = this.#emitted.filter(({ commitLsn }) => commitLsn > lsn);
    for (const { job, chunk, opening, rows } of durable) {
      const { snapshot } = job;
      if (job.kind === "blocks" && job.attempt !== snapshot.attempt) continue;
      if (job.kind === "keys") snapshot.reread(job.keys, chunk.visibility);
      else if (job.kind === "range" || job.isLast) snapshot.durable(job.range, opening, rows);
      else snapshot.counted(rows);
      this.#events.durable(tableLabel(snapshot.table), rows);
      this.endIfComplete(snapshot);
    }
    this.bell.ring();
  }

  /** Says a complete snapshot's end: again after a restart that came before it was said. */
  endIfComplete(snapshot: TableSnapshot): void {
    if (!snapshot.complete || !this.isCurrent(snapshot)) return;
    const { table, kind, opening } = snapshot;
    // Rows that a condition left out, or keys that were not asked for, are not gone.
    if ((kind === "table" || kind === "keyless") && opening !== null) this.#events.ended({ table, topic: this.#topicOf(table), opening });
    else this.#done(snapshot);
  }

  /** The barrier that says these ends is durable. */
  announced(ends: readonly SnapshotEnd[]): void {
    for (const { table } of ends) {
      const snapshot = this.#tables.get(tableLabel(table));
      if (snapshot?.complete === true) this.#done(snapshot);
    }
    this.bell.ring();
  }

  #done(snapshot: TableSnapshot): void {
    this.#tables.delete(tableLabel(snapshot.table));
    this.#events.completed(snapshot);
  }
}

/** The key's values as they came, in key order; those that `row` lacks are of `old`. */
function queuedKey(captured: CapturedTable, row: Tuple, old: Tuple): QueuedKey {
  return captured.keyIndexes.map((column) => {
    const from = row.state[column] === tupleState.unchanged ? old : row;
    const start = from.start[column] ?? 0;
    const value = from.bytes.toString("base64", start, start + (from.length[column] ?? 0));
    if (from.state[column] === tupleState.binary) return { form: "binary", value };
    if (from.state[column] === tupleState.text) return { form: "text", value };
    throw new TailraceError("STREAM_PROTOCOL", { reason: `a changed key of ${captured.label} without its value` });
  });
}
