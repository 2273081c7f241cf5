// A source of the snapshot model: the real window and the real progress, driven by a plain rendition of the runner. Each
// method is one step that the world lets happen, or not, at any time. `Rules` takes single rules of the runner out.
import type { SnapshotRecord } from "../../../src/core/snapshot-record.ts";
import type { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import {
  isIn,
  keyOf,
  queuedKey,
  step,
  touch,
  valuesAtMark,
  type Attempt,
  type Reading,
  type Session,
  type Start,
  type Update,
} from "./snapshot-model-chunks.ts";
import { TABLES, Transaction, type Change, type Database } from "./snapshot-model-database.ts";
import { PARTITIONS, Producer, sequenceOf, type Event, type Log, type State } from "./snapshot-model-log.ts";
import type { Modules, Rules } from "./snapshot-model-rules.ts";

const READERS = 2;

export class Source {
  readonly #database: Database;
  readonly #log: Log;
  readonly #modules: Modules;
  readonly #rules: Rules;
  readonly #advances: boolean;
  /** Of this process; empty until it has read the state. */
  readonly #active = new Map<number, Reading>();
  #state: State | null = null;
  #session: Session | null = null;
  #nonce = 0;
  /** Transactions of readers that nobody waits for any more: some commit yet. */
  readonly orphans: Transaction[] = [];

  /** `advances`: the window is told of snapshots that were taken for no chunk, too; it may be. */
  constructor(database: Database, log: Log, modules: Modules, rules: Rules, advances: boolean) {
    this.#database = database;
    this.#log = log;
    this.#modules = modules;
    this.#rules = rules;
    this.#advances = advances;
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
    return (
      session !== null && this.#active.size === 0 && session.next === this.#database.wal.length && session.producer.horizon === Infinity
    );
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
      for (let table = 0; table < TABLES; table++) this.#activate(this.#begin(table, "table"));
      database.slot = database.lsn;
      state = { epoch: (before?.epoch ?? 0) + 1, acknowledged: database.slot, entries, snapshots: [] };
    } else {
      if (this.#state === null) for (const record of before.snapshots) this.#activate(this.#modules.TableSnapshot.of(record));
      for (let table = 0; table < TABLES; table++) {
        if (entries[table] === before.entries[table]) continue;
        if (this.#rules.publicationChangeDiscards || this.#active.get(table)?.snapshot.kind !== "table")
          this.#activate(this.#begin(table, "table"));
      }
      state = { ...before, entries };
    }
    this.#state = this.#log.state = { ...state, snapshots: this.#records() };
    const { slot } = database;
    const next = database.wal.findIndex(({ commitLsn }) => commitLsn > slot);
    this.#session = {
      window: new this.#modules.SnapshotWindow<Update>(),
      producer: new Producer(this.#log),
      next: next === -1 ? database.wal.length : next,
      delivered: slot,
      awaiting: new Map(),
      emitted: [],
      readers: Array<Attempt | null>(READERS).fill(null),
      checkpoint: null,
      ends: new Set(),
      chunks: 0,
    };
    for (const [table, { snapshot }] of this.#active) this.#active.set(table, { snapshot, start: this.#newStart() });
  }

  /** The stream session ends; `crash`: the process with it. `written`: a state record in flight is durable nevertheless. */
  lose(crash: boolean, written: boolean): void {
    const session = this.#session;
    if (session === null) return;
    for (const attempt of session.readers) if (attempt !== null) this.orphans.push(attempt.transaction);
    for (const table of this.#active.keys()) this.#endStart(table);
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
    if (this.#session !== null && this.#database.entries.some((entry, table) => entry !== this.#state?.entries[table]))
      this.lose(false, false);
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
      touch(session.window, change, this.#rules);
      this.#emitChange(session, change, transaction, row * 2);
    }
    if (transaction.mark?.kind === "opening") this.#opened(transaction.mark.nonce, transaction.commitLsn);
    if (transaction.mark?.kind === "chunk") this.#emitChunk(session, transaction.mark.nonce, transaction.commitLsn);
    this.#settle(session);
  }

  /** A partition's oldest `count` records become durable. */
  flush(partition: number, count: number): void {
    if (this.#session === null) return;
    this.#session.producer.flush(partition, count);
    this.#settle(this.#session);
  }

  flushAll(): void {
    for (let partition = 0; partition < PARTITIONS; partition++) this.flush(partition, Infinity);
  }

  /** R-ack: the state record is sent. */
  writeState(): void {
    const session = this.#session;
    const state = this.#state;
    if (session === null || state === null || session.checkpoint !== null) return;
    const acknowledged = Math.max(state.acknowledged, Math.min(session.delivered, session.producer.horizon - 1));
    session.checkpoint = { ...state, acknowledged, snapshots: this.#records() };
  }

  /** It is durable. `told`: the acknowledgement reaches the slot. */
  stateWritten(told: boolean): void {
    const session = this.#session;
    const checkpoint = session?.checkpoint ?? null;
    if (session === null || checkpoint === null) return;
    this.#state = this.#log.state = checkpoint;
    session.checkpoint = null;
    if (told) this.#database.slot = Math.max(this.#database.slot ?? 0, checkpoint.acknowledged);
  }

  /** The barrier is durable that says which snapshots are complete. */
  sayEnds(): void {
    const session = this.#session;
    if (session === null) return;
    for (const reading of session.ends) {
      const { table: name, kind, opening, complete } = reading.snapshot;
      const table = Number(name.name);
      if (kind === "table" && this.#rules.sweeps) this.#log.records.push({ table, opening: Number(opening) });
      if (!complete || this.#active.get(table) !== reading) continue;
      this.#active.delete(table);
      session.window.unwatch(table);
    }
    session.ends.clear();
  }

  /** An operator asks for the table. */
  request(table: number): void {
    if (this.#session === null) return;
    const rereads = this.#active.get(table)?.snapshot.record().rereads ?? [];
    this.#endStart(table);
    this.#activate(this.#modules.TableSnapshot.of({ ...this.#begin(table, "table").record(), rereads }));
  }

  /** A session looks whether those that are waited for have ended. */
  poll(): void {
    const session = this.#session;
    if (session === null) return;
    const visibility = this.#database.visibility();
    const { xmin } = visibility;
    if (this.#advances && this.#rules.judgesByVisibility) session.window.advance(visibility);
    for (const { start } of this.#active.values()) {
      const isWaiting = start.phase === "ending" || start.phase === "passing";
      if (isWaiting && xmin >= start.waitFor) start.phase = start.phase === "ending" ? "marking" : "open";
    }
  }

  /** Opening marks are written: they take an id first, and commit in another step. */
  markOpening(): void {
    const session = this.#session;
    if (session === null) return;
    for (const [table, { start }] of this.#active) {
      if (start.phase !== "marking") continue;
      if (start.mark === null) {
        start.mark = new Transaction();
        this.#database.emitMark(start.mark, { kind: "opening", nonce: start.nonce });
        continue;
      }
      this.#database.commit(start.mark);
      session.window.watch(table); // at the latest: before the id is taken from which on somebody may be unseen
      start.waitFor = this.#waitFor();
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
    const isBusy = step(attempt, this.#database, session.window, this.#rules, late);
    if (!isBusy) session.readers[reader] = null;
    return isBusy;
  }

  /** A reading session is lost: whether its COMMIT arrives nobody knows. */
  loseReader(reader: number): void {
    const session = this.#session;
    const attempt = session?.readers[reader] ?? null;
    if (session === null || attempt === null) return;
    if (!attempt.transaction.ended) this.orphans.push(attempt.transaction);
    session.readers[reader] = null;
    this.#giveUp(session, attempt);
  }

  get #epoch(): number {
    return this.#state?.epoch ?? 0;
  }

  #begin(table: number, kind: "table" | "rereads"): TableSnapshot {
    return this.#modules.TableSnapshot.begin({ schema: "public", name: String(table) }, kind, "");
  }

  #activate(snapshot: TableSnapshot): Reading {
    const reading = { snapshot, start: this.#newStart() };
    this.#active.set(Number(snapshot.table.name), reading);
    return reading;
  }

  /** Nobody waits any more for the opening mark of what is read of the table. */
  #endStart(table: number): void {
    const mark = this.#active.get(table)?.start.mark ?? null;
    if (mark !== null && !mark.ended) this.orphans.push(mark);
  }

  #newStart(): Start {
    const phase = this.#rules.firstWait ? "ending" : "marking";
    return { phase, waitFor: this.#waitFor(), mark: null, nonce: String(++this.#nonce), opening: null };
  }

  /** An id that all transactions have ended below when those that may have written by now have. */
  #waitFor(): number {
    return this.#rules.waitsForFreshXid ? this.#database.freshXid() : this.#database.visibility().xmax;
  }

  #records(): readonly SnapshotRecord[] {
    return [...this.#active.values()].map(({ snapshot }) => {
      const record = snapshot.record();
      return this.#rules.queueIsInState ? record : { ...record, rereads: [] };
    });
  }

  #emitChange(session: Session, change: Change, transaction: Transaction, ordinal: number): void {
    const emit = (event: Event, at: number): void => session.producer.send(event, this.#epoch, transaction.commitLsn, at);
    if (change.op !== "insert" && change.op !== "update") return emit(change, ordinal);
    const { table, key, values } = change;
    const unsent = change.op === "update" ? change.unsent : [];
    const moved = change.op === "update" && change.from !== key;
    if (moved) emit({ op: "delete", table, key: change.from }, ordinal);
    emit({ op: "row", table, key, values, unsent, inherits: !moved }, moved ? ordinal + 1 : ordinal);
    if (!moved || unsent.length === 0 || !this.#rules.rereads) return;
    if (sequenceOf(this.#epoch, transaction.commitLsn, ordinal) <= session.producer.redelivered && !this.#rules.queuesRedelivered) return;
    let reading = this.#active.get(table);
    if (reading === undefined || (reading.snapshot.complete && !this.#rules.keepsUnsaid)) {
      reading = this.#activate(this.#begin(table, "rereads"));
    }
    reading.snapshot.queue(queuedKey(key), (transaction.xid ?? 0) % 2 ** 32);
  }

  #opened(nonce: string, lsn: number): void {
    for (const { start } of this.#active.values()) if (start.nonce === nonce) start.opening = sequenceOf(this.#epoch, lsn, 0);
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
    const isCurrent = this.#active.get(attempt.table) === attempt.reading;
    if (!session.window.reached(attempt.chunk) || !isCurrent) return this.#giveUp(session, attempt);
    session.awaiting.delete(attempt.nonce);
    const { table, range, keys, chunk } = attempt;
    const read = this.#database.read(table, attempt.moment, (key) =>
      range === null ? keys.some((each) => keyOf(each) === key) : isIn(key, range),
    );
    let rows = 0;
    for (const row of read) {
      const values = chunk.touched ? valuesAtMark(session.window, chunk, row) : row.values;
      if (values !== null)
        session.producer.send({ op: "row", table, key: row.key, values, unsent: [], inherits: false }, this.#epoch, lsn, rows++);
    }
    session.window.close(chunk);
    session.emitted.push({ attempt, lsn, rows });
  }

  /** What has become durable is progress. */
  #settle(session: Session): void {
    const { horizon } = session.producer;
    while ((session.emitted[0]?.lsn ?? Infinity) < horizon) {
      const { attempt, lsn, rows } = session.emitted.shift()!;
      const { snapshot, start } = attempt.reading;
      const opening = this.#rules.opensByMark ? start.opening : sequenceOf(this.#epoch, lsn, 0);
      if (attempt.range === null) snapshot.reread(attempt.keys, attempt.visibility);
      else snapshot.durable(attempt.range, String(opening), rows);
    }
    for (const reading of this.#active.values()) if (reading.snapshot.complete && reading.start.phase === "open") session.ends.add(reading);
  }
}
