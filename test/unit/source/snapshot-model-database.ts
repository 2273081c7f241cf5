// The truth of the snapshot model: a small PostgreSQL with MVCC tables, row locks, transactions whose commit stands in the
// WAL before sessions see it, ids of 64 bits of which the stream brings 32, a publication, a slot. What cannot happen
// there is refused by returning false or null; nothing here knows how a snapshot is made.
import type { Visibility } from "../../../src/postgres/visibility.ts";

export const TABLES = 2;
/** Keys are 0 to KEYS − 1. */
export const KEYS = 5;
/** A row's values: a plain column and two whose values are TOASTed; each value is written once in a history. */
export const COLUMNS = [0, 1, 2] as const;
export type Values = readonly number[];

export type Change =
  | { readonly op: "insert"; readonly table: number; readonly key: number; readonly values: Values }
  /** `unsent`: TOASTed columns that the statement left alone. */
  | {
      readonly op: "update";
      readonly table: number;
      readonly key: number;
      readonly from: number;
      readonly values: Values;
      readonly unsent: readonly number[];
    }
  | { readonly op: "delete"; readonly table: number; readonly key: number }
  | { readonly op: "truncate"; readonly table: number };

/** A mark's content. */
export type Mark = { readonly kind: "opening" | "chunk"; readonly nonce: string };

export class Transaction {
  xid: number | null = null;
  /** 0: not in the WAL yet. */
  commitLsn = 0;
  /** When sessions began to see it; Infinity: not yet, or never. */
  visibleAt = Infinity;
  ended = false;
  /** Those of published tables, in WAL order. */
  readonly changes: Change[] = [];
  mark: Mark | null = null;
  /** An ALTER PUBLICATION: the table's new entry, null when it left. */
  alter: { readonly table: number; readonly entry: number | null } | null = null;
}

type Version = { readonly key: number; readonly values: Values; readonly by: Transaction; removedBy: Transaction | null };

export type Row = { readonly key: number; readonly values: Values };

export class Database {
  readonly wal: Transaction[] = [];
  /** null: there is no slot. */
  slot: number | null = null;
  lsn = 0;
  /** Entries of the publication as sessions see them; null: the table is not in it. */
  readonly entries: (number | null)[] = Array<null>(TABLES).fill(null);
  /** As decoding sees it: from the commit record on. */
  readonly #published: boolean[] = Array<boolean>(TABLES).fill(false);
  readonly #versions: Version[][] = Array.from({ length: TABLES }, () => []);
  /** Holders of rows, by table × KEYS + key, and of whole tables. */
  readonly #rowLocks = new Map<number, Transaction>();
  readonly #tableLocks = new Map<number, Transaction>();
  #altering: Transaction | null = null;
  /** In progress, with an id. */
  readonly #running = new Set<Transaction>();
  #nextXid: number;
  #lastCompleted: number;
  #clock = 0;
  #value = 0;
  #entry = 0;

  constructor(firstXid: number) {
    this.#nextXid = firstXid;
    this.#lastCompleted = firstXid - 1;
  }

  /** The moment now: what read() shows later of now. */
  get now(): number {
    return this.#clock;
  }

  get running(): Iterable<Transaction> {
    return this.#running;
  }

  /** pg_current_snapshot(), by PostgreSQL's rule: its end is behind the last that ended, not before the next to begin. */
  visibility(): Visibility {
    const xmax = this.#lastCompleted + 1;
    const inProgress = new Set<number>();
    let xmin = xmax;
    for (const { xid } of this.#running) {
      if (xid === null || xid >= xmax) continue;
      inProgress.add(xid);
      xmin = Math.min(xmin, xid);
    }
    return { xmin, xmax, inProgress };
  }

  /** The rows that a session whose snapshot was taken at `moment` reads. */
  read(table: number, moment: number, wanted: (key: number) => boolean): readonly Row[] {
    const sees = (transaction: Transaction | null): boolean => transaction !== null && transaction.visibleAt <= moment;
    return this.#versions[table]!.filter(({ key, by, removedBy }) => wanted(key) && sees(by) && !sees(removedBy));
  }

  assign(transaction: Transaction): number {
    if (transaction.xid === null) {
      transaction.xid = this.#nextXid++;
      this.#running.add(transaction);
    }
    return transaction.xid;
  }

  /** The next id, of a transaction that has ended when this returns. */
  freshXid(): number {
    const transaction = new Transaction();
    const xid = this.assign(transaction);
    this.#end(transaction);
    return xid;
  }

  /** Whether the row is there for this transaction, null when another one holds it. */
  has(transaction: Transaction, table: number, key: number): boolean | null {
    const holder = this.#tableLocks.get(table) ?? this.#rowLocks.get(table * KEYS + key);
    if (holder !== undefined && holder !== transaction) return null;
    return this.#live(table, key) !== undefined;
  }

  insert(transaction: Transaction, table: number, key: number): void {
    this.#lock(transaction, table, key);
    const values = COLUMNS.map(() => ++this.#value);
    this.#versions[table]!.push({ key, values, by: transaction, removedBy: null });
    this.#write(transaction, { op: "insert", table, key, values });
  }

  /** `to`: its key afterwards. `leaves`: TOASTed columns that are left alone. */
  update(transaction: Transaction, table: number, key: number, to: number, leaves: readonly number[]): void {
    this.#lock(transaction, table, key);
    this.#lock(transaction, table, to);
    const row = this.#live(table, key)!;
    row.removedBy = transaction;
    const values = row.values.map((value, column) => (leaves.includes(column) ? value : ++this.#value));
    this.#versions[table]!.push({ key: to, values, by: transaction, removedBy: null });
    this.#write(transaction, { op: "update", table, key: to, from: key, values, unsent: leaves });
  }

  delete(transaction: Transaction, table: number, key: number): void {
    this.#lock(transaction, table, key);
    this.#live(table, key)!.removedBy = transaction;
    this.#write(transaction, { op: "delete", table, key });
  }

  /** Chunks don't keep it waiting, though their lock does so in PostgreSQL: the window has to stand that too. */
  truncate(transaction: Transaction, table: number): boolean {
    for (let key = 0; key < KEYS; key++) if (this.has(transaction, table, key) === null) return false;
    this.#tableLocks.set(table, transaction);
    for (const version of this.#versions[table]!) version.removedBy ??= transaction;
    this.#write(transaction, { op: "truncate", table });
    return true;
  }

  emitMark(transaction: Transaction, mark: Mark): void {
    this.assign(transaction);
    transaction.mark = mark;
  }

  /** ALTER PUBLICATION … ADD or DROP TABLE; the transaction is to be committed at once. null: another one is under way. */
  alter(table: number): Transaction | null {
    if (this.#altering !== null) return null;
    const transaction = new Transaction();
    this.assign(transaction);
    transaction.alter = { table, entry: this.#published[table] === true ? null : ++this.#entry };
    this.#altering = transaction;
    return transaction;
  }

  /** The commit record stands in the WAL and is delivered; nobody sees what the transaction did. */
  writeCommit(transaction: Transaction): void {
    if (transaction.xid === null) return this.#end(transaction);
    transaction.commitLsn = ++this.lsn;
    this.wal.push(transaction);
    if (transaction.alter !== null) this.#published[transaction.alter.table] = transaction.alter.entry !== null;
  }

  /** The standby has answered: everybody sees it, its locks are gone. */
  show(transaction: Transaction): void {
    transaction.visibleAt = ++this.#clock;
    if (transaction.alter !== null) this.entries[transaction.alter.table] = transaction.alter.entry;
    this.#end(transaction);
  }

  commit(transaction: Transaction): void {
    this.writeCommit(transaction);
    if (!transaction.ended) this.show(transaction);
  }

  abort(transaction: Transaction): void {
    for (const [table, versions] of this.#versions.entries()) {
      this.#versions[table] = versions.filter(({ by }) => by !== transaction);
      for (const version of versions) if (version.removedBy === transaction) version.removedBy = null;
    }
    this.#end(transaction);
  }

  #end(transaction: Transaction): void {
    transaction.ended = true;
    this.#running.delete(transaction);
    if (transaction.xid !== null) this.#lastCompleted = Math.max(this.#lastCompleted, transaction.xid);
    for (const locks of [this.#rowLocks, this.#tableLocks])
      for (const [what, holder] of locks) if (holder === transaction) locks.delete(what);
    if (this.#altering === transaction) this.#altering = null;
  }

  #live(table: number, key: number): Version | undefined {
    return this.#versions[table]!.find((version) => version.key === key && version.removedBy === null);
  }

  #lock(transaction: Transaction, table: number, key: number): void {
    this.#rowLocks.set(table * KEYS + key, transaction);
  }

  #write(transaction: Transaction, change: Change): void {
    this.assign(transaction);
    this.lsn += 1;
    if (this.#published[change.table] === true) transaction.changes.push(change);
  }
}
