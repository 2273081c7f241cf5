// A source of the snapshot model: the real window and the real progress, driven by a plain rendition of the runner. Each
// method is one step that the world lets happen, or not, at any time. `Rules` takes single rules of the runner out.
import type { KeyRange, QueuedKey } from "../../../src/core/snapshot-record.ts";
import type { TableSnapshot as RealTableSnapshot } from "../../../src/source/snapshot-progress.ts";
import type { Chunk, SnapshotWindow as RealWindow, Visibility } from "../../../src/source/window.ts";
import { COLUMNS, KEYS, TABLES, Transaction, type Change, type Database, type Row, type Values } from "./snapshot-model-database.ts";
import { partitionsOf, sequenceOf, type Event, type Log, type LogRecord, type State } from "./snapshot-model-log.ts";

export type Modules = {
  readonly SnapshotWindow: typeof RealWindow;
  readonly TableSnapshot: typeof RealTableSnapshot;
};

export type Rules = {
  /** R-window: by what a chunk's snapshot sees, not by where it was in the WAL. */
  readonly judgesByVisibility: boolean;
  /** R-window: a key change touches the key that the row had, and the one that it gets. */
  readonly touchesOldKey: boolean;
  readonly touchesNewKey: boolean;
  /** R-window: a mark's nonce is of this attempt; else it is the chunk's number in this session. */
  readonly uniqueNonces: boolean;
  /** R-window-start: what is in progress ends before the opening mark, and what came before that mark before a chunk. */
  readonly firstWait: boolean;
  readonly secondWait: boolean;
  /** R-window-toast. */
  readonly rereads: boolean;
  readonly queueIsInState: boolean;
  /** R-sweep. */
  readonly sweeps: boolean;
  readonly opensByMark: boolean;
  readonly publicationChangeDiscards: boolean;
  /** Not a rule: whether the window is told of snapshots that were taken for no chunk. */
  readonly advances: boolean;
};

export const allRules: Rules = {
  judgesByVisibility: true,
  touchesOldKey: true,
  touchesNewKey: true,
  uniqueNonces: true,
  firstWait: true,
  secondWait: true,
  rereads: true,
  queueIsInState: true,
  sweeps: true,
  opensByMark: true,
  publicationChangeDiscards: true,
  advances: true,
};

/** An update as the window keeps it. */
type Update = { readonly values: Values; readonly unsent: readonly number[] };

/** R-window-start of one table in one session. */
type Start = { phase: "ending" | "marking" | "passing" | "open"; waitFor: number; mark: Transaction | null; readonly nonce: string; opening: number | null };

type Reading = { readonly snapshot: RealTableSnapshot; readonly start: Start };

/** One attempt at a chunk. */
type Attempt = {
  readonly reading: Reading;
  readonly table: number;
  readonly range: KeyRange | null;
  readonly keys: readonly QueuedKey[];
  readonly nonce: string;
  readonly chunk: Chunk;
  stage: "begun" | "snapshot" | "marked" | "committed";
  moment: number;
  visibility: Visibility | null;
  known: boolean;
  readonly transaction: Transaction;
};

type Session = {
  readonly window: RealWindow<Update>;
  /** Tails when it began. */
  readonly tails: readonly number[];
  next: number;
  delivered: number;
  readonly pending: (LogRecord & { readonly lsn: number })[];
  readonly awaiting: Map<string, Attempt>;
  readonly emitted: { readonly attempt: Attempt; readonly lsn: number; readonly rows: number }[];
  readonly readers: (Attempt | null)[];
  checkpoint: State | null;
  /** Begun in it. */
  chunks: number;
};

const READERS = 2;

export class Source {
  readonly #database: Database;
  readonly #log: Log;
  readonly #modules: Modules;
  readonly #rules: Rules;
  /** Of this process; empty until it has read the state. */
  readonly #active = new Map<number, Reading>();
  #state: State | null = null;
  #session: Session | null = null;
  #nonce = 0;
  /** Transactions of readers that nobody waits for any more: some commit yet. */
  readonly orphans: Transaction[] = [];

  constructor(database: Database, log: Log, modules: Modules, rules: Rules) {
    this.#database = database;
    this.#log = log;
    this.#modules = modules;
    this.#rules = rules;
  }

  get connected(): boolean {
    return this.#session !== null;
  }

  /** A table waits by R-window-start. */
  get starting(): boolean {
    return [...this.#active.values()].some(({ start }) => start.phase !== "open");
  }

  /** Nothing is left to do, as long as nothing happens in the database. */
  get idle(): boolean {
    const session = this.#session;
    return session !== null && this.#active.size === 0 && session.next === this.#database.wal.length && session.pending.length === 0;
  }

  /** R-slot, R-publication, R-epoch: what a session begins with. */
  connect(): void {
    const database = this.#database;
    if (this.#session !== null) return;
    for (let table = 0; table < TABLES; table++) {
      if (database.entries[table] !== null) continue;
      const alter = database.alter(table);
      if (alter === null) return;
      database.commit(alter);
    }
    const before = this.#state ?? this.#log.state;
    const entries = [...database.entries];
    let state: State;
    if (before === null || database.slot === null || database.slot > before.acknowledged) {
      this.#active.clear();
      for (let table = 0; table < TABLES; table++) this.#beginTable(table);
      database.slot = database.lsn;
      state = { epoch: (before?.epoch ?? 0) + 1, acknowledged: database.slot, entries, snapshots: [] };
    } else {
      if (this.#state === null)
        for (const record of before.snapshots) this.#activate(this.#modules.TableSnapshot.of(record));
      for (let table = 0; table < TABLES; table++) {
        if (entries[table] === before.entries[table]) continue;
        if (this.#rules.publicationChangeDiscards || this.#active.get(table)?.snapshot.kind !== "table") this.#beginTable(table);
      }
      state = { ...before, entries };
    }
    this.#state = this.#log.state = { ...state, snapshots: this.#records() };
    const { slot } = database;
    const next = database.wal.findIndex(({ commitLsn }) => commitLsn > slot);
    this.#session = {
      window: new this.#modules.SnapshotWindow<Update>(),
      tails: Array.from({ length: partitionsOf(TABLES, 0)[0]! }, (_, partition) => this.#log.tail(partition)),
      next: next === -1 ? database.wal.length : next,
      delivered: slot,
      pending: [],
      awaiting: new Map(),
      emitted: [],
      readers: Array<Attempt | null>(READERS).fill(null),
      checkpoint: null,
      chunks: 0,
    };
    for (const [table, { snapshot }] of this.#active) {
      this.#session.window.watch(table);
      this.#active.set(table, { snapshot, start: this.#newStart() });
    }
  }

  /** The stream session ends; `crash`: the process with it. `written`: a state record in flight is durable nevertheless. */
  lose(crash: boolean, written: boolean): void {
    const session = this.#session;
    if (session === null) return;
    for (const attempt of session.readers) if (attempt !== null) this.orphans.push(attempt.transaction);
    for (const { start } of this.#active.values()) if (start.mark !== null && !start.mark.ended) this.orphans.push(start.mark);
    if (written && session.checkpoint !== null) this.#log.state = session.checkpoint;
    this.#session = null;
    if (crash) {
      this.#state = null;
      this.#active.clear();
      return;
    }
    this.#state = this.#log.state;
    session.window.forget();
    for (const { snapshot } of this.#active.values()) snapshot.giveAllBack();
  }

  /** R-publication: looks at it from time to time. */
  lookAtPublication(): void {
    if (this.#session !== null && this.#database.entries.some((entry, table) => entry !== this.#state?.entries[table])) this.lose(false, false);
  }

  /** Takes one transaction of the stream. */
  deliver(): void {
    const session = this.#session;
    const transaction = this.#database.wal[session?.next ?? Infinity];
    if (session === null || transaction === undefined) return;
    session.next += 1;
    session.delivered = transaction.commitLsn;
    const xid = transaction.xid ?? 0;
    session.window.begin(this.#rules.judgesByVisibility ? xid % 2 ** 32 : transaction.commitLsn);
    for (const [row, change] of transaction.changes.entries()) {
      this.#touch(session.window, change);
      this.#emitChange(session, change, transaction, row * 2);
    }
    if (transaction.mark?.kind === "opening") this.#opened(transaction.mark.nonce, transaction.commitLsn);
    if (transaction.mark?.kind === "chunk") this.#emitChunk(session, transaction.mark.nonce, transaction.commitLsn);
    this.#settle(session);
  }

  /** A partition's oldest `count` records become durable. */
  flush(partition: number, count: number): void {
    const session = this.#session;
    if (session === null) return;
    const { pending } = session;
    for (let index = 0, left = count; index < pending.length && left > 0; ) {
      const record = pending[index]!;
      if (record.partition !== partition) {
        index += 1;
        continue;
      }
      this.#log.append({ partition, sequence: record.sequence, event: record.event });
      pending.splice(index, 1);
      left -= 1;
    }
    this.#settle(session);
  }

  flushAll(): void {
    for (let partition = 0; partition < partitionsOf(TABLES, 0)[0]!; partition++) this.flush(partition, Infinity);
  }

  /** R-ack: the state record is sent. */
  writeState(): void {
    const session = this.#session;
    const state = this.#state;
    if (session === null || state === null || session.checkpoint !== null) return;
    const acknowledged = Math.max(state.acknowledged, Math.min(session.delivered, this.#firstPending(session) - 1));
    session.checkpoint = { ...state, acknowledged, snapshots: this.#records() };
  }

  /** It is durable. `told`: the acknowledgement reaches the slot. */
  stateWritten(told: boolean): void {
    const session = this.#session;
    if (session === null || session.checkpoint === null) return;
    this.#state = this.#log.state = session.checkpoint;
    session.checkpoint = null;
    if (told) this.#database.slot = Math.max(this.#database.slot ?? 0, this.#state.acknowledged);
  }

  /** A session looks whether those that are waited for have ended. */
  poll(): void {
    const session = this.#session;
    if (session === null) return;
    const { xmin } = this.#database.visibility();
    if (this.#rules.advances && this.#rules.judgesByVisibility) session.window.advance(xmin);
    for (const { start } of this.#active.values()) {
      const isWaiting = start.phase === "ending" || start.phase === "passing";
      if (isWaiting && xmin >= start.waitFor) start.phase = start.phase === "ending" ? "marking" : "open";
    }
  }

  /** Opening marks are written: they take an id first, and commit in another step. */
  markOpening(): void {
    if (this.#session === null) return;
    for (const { start } of this.#active.values()) {
      if (start.phase !== "marking") continue;
      if (start.mark === null) {
        start.mark = new Transaction();
        this.#database.emitMark(start.mark, { kind: "opening", nonce: start.nonce });
        continue;
      }
      this.#database.commit(start.mark);
      start.waitFor = this.#database.freshXid();
      start.phase = this.#rules.secondWait ? "passing" : "open";
    }
  }

  /** One step of a reading session; `size`: keys of a chunk, `late`: its snapshot's answer takes longer. false: it is idle. */
  read(reader: number, size: number, late: boolean): boolean {
    const session = this.#session;
    if (session === null) return false;
    const attempt = session.readers[reader] ?? null;
    if (attempt === null) {
      session.readers[reader] = this.#beginChunk(session, size);
      return session.readers[reader] !== null;
    }
    if (attempt.visibility !== null && !attempt.known && !late) {
      attempt.known = true;
      session.window.known(attempt.chunk, attempt.visibility);
    }
    switch (attempt.stage) {
      case "begun":
        attempt.moment = this.#database.now;
        attempt.visibility = this.#snapshot();
        attempt.stage = "snapshot";
        return true;
      case "snapshot":
        this.#database.emitMark(attempt.transaction, { kind: "chunk", nonce: attempt.nonce });
        attempt.stage = "marked";
        return true;
      case "marked":
        this.#database.commit(attempt.transaction);
        attempt.stage = "committed";
        return true;
      case "committed":
        if (attempt.known) session.readers[reader] = null;
        return !attempt.known;
    }
  }

  /** A reading session is lost: whether its COMMIT arrives nobody knows. */
  loseReader(reader: number): void {
    const session = this.#session;
    const attempt = session?.readers[reader];
    if (session === null || attempt === null || attempt === undefined) return;
    if (!attempt.transaction.ended) this.orphans.push(attempt.transaction);
    session.readers[reader] = null;
    this.#giveUp(session, attempt);
  }

  #beginTable(table: number): void {
    this.#activate(this.#modules.TableSnapshot.begin({ schema: "public", name: String(table) }, "table", ""));
  }

  #activate(snapshot: RealTableSnapshot): Reading {
    const reading = { snapshot, start: this.#newStart() };
    this.#active.set(Number(snapshot.table.name), reading);
    return reading;
  }

  #newStart(): Start {
    const phase = this.#rules.firstWait ? "ending" : "marking";
    return { phase, waitFor: this.#database.freshXid(), mark: null, nonce: String(++this.#nonce), opening: null };
  }

  #records(): State["snapshots"] {
    return [...this.#active.values()].map(({ snapshot }) => {
      const record = snapshot.record();
      return this.#rules.queueIsInState ? record : { ...record, rereads: [] };
    });
  }

  #firstPending(session: Session): number {
    return session.pending[0]?.lsn ?? Infinity;
  }

  #snapshot(): Visibility {
    if (this.#rules.judgesByVisibility) return this.#database.visibility();
    const { lsn } = this.#database;
    return { xmin: lsn + 1, xmax: lsn + 1, inProgress: new Set() };
  }

  #touch(window: RealWindow<Update>, change: Change): void {
    const { table } = change;
    if (change.op === "truncate") return window.truncate(table);
    const key = String(change.key);
    if (change.op === "insert") return window.whole(table, key);
    if (change.op === "delete") return window.gone(table, key);
    const moved = change.from !== change.key;
    if (moved && this.#rules.touchesOldKey) window.gone(table, String(change.from));
    if (moved && !this.#rules.touchesNewKey) return;
    if (change.unsent.length === 0) window.whole(table, key);
    else window.partial(table, key, change.unsent, change, 1);
  }

  #emitChange(session: Session, change: Change, transaction: Transaction, ordinal: number): void {
    const emit = (event: Event, at: number): void => this.#emit(session, event, transaction.commitLsn, at);
    if (change.op !== "insert" && change.op !== "update") return emit(change, ordinal);
    const { table, key, values } = change;
    const unsent = change.op === "update" ? change.unsent : [];
    const moved = change.op === "update" && change.from !== key;
    if (moved) emit({ op: "delete", table, key: change.from }, ordinal);
    emit({ op: "row", table, key, values, unsent, inherits: !moved }, moved ? ordinal + 1 : ordinal);
    if (!moved || unsent.length === 0 || !this.#rules.rereads) return;
    let reading = this.#active.get(table);
    if (reading === undefined) {
      reading = this.#activate(this.#modules.TableSnapshot.begin({ schema: "public", name: String(table) }, "rereads", ""));
      session.window.watch(table);
    }
    reading.snapshot.queue(queuedKey(key), (transaction.xid ?? 0) % 2 ** 32);
  }

  #emit(session: Session, event: Event, lsn: number, ordinal: number): void {
    const sequence = sequenceOf(this.#state?.epoch ?? 0, lsn, ordinal);
    for (const partition of partitionsOf(event.table, event.op === "truncate" ? null : event.key))
      if (sequence > session.tails[partition]!) session.pending.push({ partition, sequence, event, lsn }); // R-tail
  }

  #opened(nonce: string, lsn: number): void {
    for (const { start } of this.#active.values()) if (start.nonce === nonce) start.opening = sequenceOf(this.#state?.epoch ?? 0, lsn, 0);
  }

  #beginChunk(session: Session, size: number): Attempt | null {
    for (const [table, reading] of this.#active) {
      const { snapshot, start } = reading;
      if (start.phase !== "open") continue;
      const keys = snapshot.takeRereads(2);
      let range = keys.length > 0 ? null : snapshot.take();
      if (range === null && keys.length === 0) continue;
      const upTo = size + Number(range?.after?.[0] ?? -1);
      if (range !== null && isIn(upTo, range) && isIn(upTo + 1, range)) range = snapshot.carve(range, [String(upTo)]);
      const nonce = String(this.#rules.uniqueNonces ? ++this.#nonce : ++session.chunks);
      const attempt: Attempt = {
        reading,
        table,
        range,
        keys,
        nonce,
        chunk: session.window.beginChunk(table),
        stage: "begun",
        moment: 0,
        visibility: null,
        known: false,
        transaction: new Transaction(),
      };
      session.awaiting.set(nonce, attempt);
      return attempt;
    }
    return null;
  }

  #giveUp(session: Session, attempt: Attempt): void {
    const { snapshot } = attempt.reading;
    session.window.close(attempt.chunk);
    if (session.awaiting.get(attempt.nonce) !== attempt) return; // its mark has come by
    session.awaiting.delete(attempt.nonce);
    if (attempt.range !== null) snapshot.giveBack(attempt.range);
    else snapshot.reread(attempt.keys, null);
  }

  #emitChunk(session: Session, nonce: string, lsn: number): void {
    const attempt = session.awaiting.get(nonce);
    if (attempt === undefined) return;
    if (!session.window.reached(attempt.chunk)) return this.#giveUp(session, attempt);
    session.awaiting.delete(attempt.nonce);
    const { table, range, keys, chunk } = attempt;
    const read = this.#database.read(table, attempt.moment, (key) => (range === null ? keys.some((each) => keyOf(each) === key) : isIn(key, range)));
    let rows = 0;
    for (const row of read) {
      const values = chunk.touched ? valuesAtMark(session.window, chunk, row) : row.values;
      if (values !== null) this.#emit(session, { op: "row", table, key: row.key, values, unsent: [], inherits: false }, lsn, rows++);
    }
    session.window.close(chunk);
    session.emitted.push({ attempt, lsn, rows });
  }

  /** What has become durable is progress; what is complete is swept. */
  #settle(session: Session): void {
    const horizon = this.#firstPending(session);
    while ((session.emitted[0]?.lsn ?? Infinity) < horizon) {
      const { attempt, lsn, rows } = session.emitted.shift()!;
      const { snapshot, start } = attempt.reading;
      const opening = this.#rules.opensByMark ? start.opening : sequenceOf(this.#state?.epoch ?? 0, lsn, 0);
      if (attempt.range === null) snapshot.reread(attempt.keys, attempt.visibility);
      else snapshot.durable(attempt.range, String(opening), rows);
    }
    for (const [table, { snapshot }] of [...this.#active]) {
      if (!snapshot.complete) continue;
      if (snapshot.kind === "table" && this.#rules.sweeps) this.#log.records.push({ table, opening: Number(snapshot.opening) });
      this.#active.delete(table);
      session.window.unwatch(table);
    }
  }
}

/** R-window-toast: the row with what is newer folded over it; null when it is not true any more. */
function valuesAtMark(window: RealWindow<Update>, chunk: Chunk, row: Row): Values | null {
  const verdict = window.judge(chunk, String(row.key));
  if (verdict === "emit") return row.values;
  if (verdict === "drop") return null;
  const { columns, rows } = verdict;
  const newest = (column: number): number | undefined => rows.findLast(({ unsent }) => !unsent.includes(column))?.values[column];
  return COLUMNS.map((column) => (columns.includes(column) ? row.values[column]! : (newest(column) ?? 0)));
}

function isIn(key: number, { after, upTo }: KeyRange): boolean {
  return key < KEYS && (after === null || key > Number(after[0])) && (upTo === null || key <= Number(upTo[0]));
}

function queuedKey(key: number): QueuedKey {
  return [{ form: "text", value: String(key) }];
}

function keyOf(key: QueuedKey): number {
  return Number(key[0]?.value);
}
