// R-window, R-window-toast: which rows of a chunk are still true where its mark stands in the stream. A chunk is read
// beside the stream; what the stream brought of its keys meanwhile, by transactions that the chunk's snapshot does not
// see, is newer than the chunk's rows. Judged by visibility and never by LSN: a transaction that waits for its standby
// is delivered with its COMMIT while every session still reads the old row. Pure: no I/O, no clock.

import { sees, type Visibility } from "../postgres/visibility.ts";

/**
 * Whether `a` was taken after `b`. Of two snapshots of a primary the later one sees whatever the earlier one sees: commits only add, and
 * xmax grows with them, or they take an id out of the list.
 */
function isNewer(a: Visibility, b: Visibility): boolean {
  return a.xmax === b.xmax ? a.inProgress.size < b.inProgress.size : a.xmax > b.xmax;
}

/** One read of some of a table's rows, from before its transaction begins until its mark has come by or it is given up. */
export type Chunk = {
  readonly table: number;
  /** null until the reading session has told. */
  readonly visibility: Visibility | null;
  /** Something was kept of its table: rows have to be judged one by one. */
  readonly touched: boolean;
};

/** What a chunk's row is at the mark. An object: true with other values, `columns` being those that are still the chunk's; the others come from `rows`, oldest first. */
export type Verdict<Row> = "emit" | "drop" | { readonly columns: readonly number[]; readonly rows: readonly Row[] };

type Touch<Row> = {
  readonly table: number;
  /** null: every key of the table (TRUNCATE). */
  readonly key: string | null;
  readonly xid: number;
  /** null: nothing of the row before shows any more. */
  readonly unsent: { readonly columns: readonly number[]; readonly row: Row } | null;
  readonly bytes: number;
  /** The next one of the same key. */
  next: Touch<Row> | null;
};

/** The touches of one key, oldest first. They go in the order in which they came: from the front. */
type Touches<Row> = { first: Touch<Row>; last: Touch<Row> };

type WatchedTable<Row> = { readonly byKey: Map<string, Touches<Row>>; truncates: Touch<Row>[] };

type OpenChunk = { table: number; visibility: Visibility | null; touched: boolean; newestAtBegin: Visibility | null };

/** What an entry takes beside its key's characters and its row, measured. */
const TOUCH_BYTES = 190;

/**
 * The touched keys of the tables that are being read. `Row` is what is kept of an update with unsent columns; it belongs
 * to the window. Calls come in the order of the stream; those about chunks come as the reading sessions go on.
 */
export class SnapshotWindow<Row> {
  readonly #tables = new Map<number, WatchedTable<Row>>();
  readonly #chunks = new Set<OpenChunk>();
  /** Oldest first; those before #head are gone. */
  #order: Touch<Row>[] = [];
  #head = 0;
  #bytes = 0;
  #xid = 0;
  /** The newest snapshot known: what begins later sees everything that it sees. null: none is known. */
  #newest: Visibility | null = null;
  #generation = 0;
  readonly #limitBytes: number;

  /** `limitBytes`: when the touched keys take more, all are forgotten: a bulk change of a table must not fill the memory. */
  constructor(limitBytes = Infinity) {
    this.#limitBytes = limitBytes;
  }

  /** Grows whenever everything is forgotten: what was opened before by R-window-start is not open any more. */
  get generation(): number {
    return this.#generation;
  }

  /** Bytes that the touched keys take, about. */
  get bytes(): number {
    return this.#bytes;
  }

  get touches(): number {
    return this.#order.length - this.#head;
  }

  /** Keeps the table's touched keys from now on. */
  watch(table: number): void {
    if (!this.#tables.has(table)) this.#tables.set(table, { byKey: new Map(), truncates: [] });
  }

  /** Forgets the table, and gives its chunks up: nobody keeps what their rows would be judged by. */
  unwatch(table: number): void {
    this.#tables.delete(table);
    for (const chunk of this.#chunks) if (chunk.table === table) this.#chunks.delete(chunk);
    this.#order = this.#order.slice(this.#head).filter((touch) => touch.table !== table);
    this.#head = 0;
    this.#bytes = this.#order.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#prune();
  }

  /** A transaction of the stream begins; `xid` has 32 bits. */
  begin(xid: number): void {
    this.#xid = xid;
  }

  /** The row went: a delete, or the old half of a changed key. */
  gone(table: number, key: string): void {
    this.#touch(table, key, null, 0);
  }

  /** The row came with every column. */
  whole(table: number, key: string): void {
    this.#touch(table, key, null, 0);
  }

  /** The row came without the TOASTed values of `columns`; `row`, of about `bytes`, has the others. */
  partial(table: number, key: string, columns: readonly number[], row: Row, bytes: number): void {
    this.#touch(table, key, { columns, row }, bytes);
  }

  truncate(table: number): void {
    this.#touch(table, null, null, 0);
  }

  /** Before the chunk's transaction begins. `generation`: in which its table was opened; of another one the chunk is given up at once. */
  beginChunk(table: number, generation = this.#generation): Chunk {
    const chunk: OpenChunk = { table, visibility: null, touched: false, newestAtBegin: this.#newest };
    if (generation === this.#generation) this.#chunks.add(chunk);
    return chunk;
  }

  /** The snapshot that the chunk is read under. */
  known(chunk: Chunk, visibility: Visibility): void {
    const open = this.#open(chunk);
    if (open === null) return;
    open.visibility = visibility;
    this.advance(visibility);
  }

  /** A snapshot was taken, for a chunk or for none: what begins from now on sees everything that it sees. */
  advance(visibility: Visibility): void {
    if (this.#newest !== null && !isNewer(visibility, this.#newest)) return;
    this.#newest = visibility;
    this.#prune();
  }

  /**
   * The chunk's mark has come: judge() is asked next, before anything else of the stream. false: its rows can't be used,
   * since it was given up, or since its snapshot is not known.
   */
  reached(chunk: Chunk): boolean {
    const open = this.#open(chunk);
    const watched = this.#tables.get(chunk.table);
    if (open === null || watched === undefined) return false;
    open.touched = watched.byKey.size > 0 || watched.truncates.length > 0;
    return open.visibility !== null;
  }

  /** What the chunk's row of this key is at the mark. */
  judge(chunk: Chunk, key: string): Verdict<Row> {
    const { visibility } = chunk;
    const watched = this.#tables.get(chunk.table);
    if (visibility === null || watched === undefined || this.#open(chunk) === null) return "drop"; // given up meanwhile
    for (const { xid } of watched.truncates) if (!sees(visibility, xid)) return "drop";
    let kept: readonly number[] | null = null;
    const rows: Row[] = [];
    for (let touch = watched.byKey.get(key)?.first ?? null; touch !== null; touch = touch.next) {
      const { xid, unsent } = touch;
      if (sees(visibility, xid)) continue;
      if (unsent === null) return "drop";
      kept = kept === null ? unsent.columns : kept.filter((column) => unsent.columns.includes(column));
      if (kept.length === 0) return "drop";
      rows.push(unsent.row);
    }
    return kept === null ? "emit" : { columns: kept, rows };
  }

  /** The chunk is over: its rows were handed on, or it is given up. */
  close(chunk: Chunk): void {
    const open = this.#open(chunk);
    if (open === null) return;
    this.#chunks.delete(open);
    this.#prune();
  }

  /** Gives every chunk up and forgets every key: what is read from now on has to wait by R-window-start. */
  forget(): void {
    this.#generation += 1;
    this.#chunks.clear();
    for (const watched of this.#tables.values()) {
      watched.byKey.clear();
      watched.truncates = [];
    }
    this.#order = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#newest = null;
  }

  #open(chunk: Chunk): OpenChunk | null {
    return this.#chunks.has(chunk as OpenChunk) ? (chunk as OpenChunk) : null;
  }

  #touch(table: number, key: string | null, unsent: Touch<Row>["unsent"], rowBytes: number): void {
    const watched = this.#tables.get(table);
    if (watched === undefined) return;
    const touch: Touch<Row> = { table, key, xid: this.#xid, unsent, bytes: TOUCH_BYTES + (key?.length ?? 0) + rowBytes, next: null };
    if (this.#bytes + touch.bytes > this.#limitBytes) {
      this.#prune(); // a backlog that every snapshot sees already is no reason to begin anew
      if (this.#bytes + touch.bytes > this.#limitBytes) this.forget();
    }
    this.#order.push(touch);
    this.#bytes += touch.bytes;
    if (key === null) {
      watched.truncates.push(touch);
      return;
    }
    const touches = watched.byKey.get(key);
    if (touches === undefined) {
      watched.byKey.set(key, { first: touch, last: touch });
    } else {
      touches.last.next = touch;
      touches.last = touch;
    }
  }

  /**
   * R-window-start: keys are kept until the oldest snapshot of the chunks that are being read or wait for their mark sees who touched
   * them, and the newest one known, which stands for those to come. A chunk whose snapshot is not known counts with the newest known at
   * its begin. One long transaction keeps nothing: a key that others have touched meanwhile is seen by whoever begins.
   */
  #prune(): void {
    let oldest = this.#newest;
    for (const { visibility, newestAtBegin } of this.#chunks) {
      const sight = visibility ?? newestAtBegin;
      if (sight === null) return; // begun before any snapshot was known: everything is kept
      if (oldest === null || isNewer(oldest, sight)) oldest = sight;
    }
    if (oldest === null) return;
    while (this.#head < this.#order.length) {
      const touch = this.#order[this.#head]!;
      if (!sees(oldest, touch.xid)) break; // those behind wait: a key's touches go in the order in which they came
      this.#drop(touch);
      this.#head += 1;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#head);
      this.#head = 0;
    }
  }

  #drop(touch: Touch<Row>): void {
    this.#bytes -= touch.bytes;
    const watched = this.#tables.get(touch.table);
    if (watched === undefined) return;
    if (touch.key === null) {
      watched.truncates.shift();
      return;
    }
    const touches = watched.byKey.get(touch.key);
    if (touches === undefined) return;
    if (touch.next === null) watched.byKey.delete(touch.key);
    else touches.first = touch.next;
  }
}
