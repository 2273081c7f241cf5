// How far the snapshot of one table is: kept in the source's state, so that a restart goes on at the next chunk. Ranges
// are never compared here (only the database knows its collations): a chunk is carved off the front of a range.
import type { KeyRange, KeyText, QueuedKey, SnapshotKind, SnapshotRecord } from "../core/snapshot-record.ts";
import type { TableName } from "../core/table.ts";
import { sees, type Visibility } from "../postgres/visibility.ts";

const WHOLE: KeyRange = { after: null, upTo: null };

type QueuedReread = { readonly key: QueuedKey; xids: number[]; taken: boolean };

export class TableSnapshot {
  readonly table: TableName;
  readonly kind: SnapshotKind;
  readonly reason: string;
  readonly where: string | null;
  estimatedRows: number | null;
  #opening: string | null;
  #todo: KeyRange[];
  readonly #taken = new Set<KeyRange>();
  /** By the key's values. */
  readonly #rereads = new Map<string, QueuedReread>();
  #queuedCharacters = 0;
  #rows: number;
  #chunks: number;
  #attempt = 0;

  private constructor(record: SnapshotRecord) {
    this.table = record.table;
    this.kind = record.kind;
    this.reason = record.reason;
    this.where = record.where;
    this.estimatedRows = record.estimatedRows;
    this.#opening = record.opening;
    this.#todo = [...record.todo];
    this.#rows = record.rows;
    this.#chunks = record.chunks;
    // Whoever changed these keys has ended before this process reads anything (R-window-start).
    for (const key of record.rereads) this.#queued(JSON.stringify(key), key, []);
  }

  static begin(table: TableName, kind: SnapshotKind, reason: string, where: string | null = null): TableSnapshot {
    const todo = kind === "rereads" ? [] : [WHOLE];
    const { schema, name } = table;
    return new TableSnapshot({
      table: { schema, name },
      kind,
      reason,
      where,
      opening: null,
      todo,
      rereads: [],
      rows: 0,
      chunks: 0,
      estimatedRows: null,
    });
  }

  static of(record: SnapshotRecord): TableSnapshot {
    return new TableSnapshot(record.kind === "keyless" ? { ...record, todo: [WHOLE], opening: null, rows: 0, chunks: 0 } : record);
  }

  get rows(): number {
    return this.#rows;
  }

  get chunks(): number {
    return this.#chunks;
  }

  get opening(): string | null {
    return this.#opening;
  }

  /** Every range and every queued key is durable. */
  get complete(): boolean {
    return this.#todo.length === 0 && this.#rereads.size === 0;
  }

  /** A range that nobody reads; it is the caller's until carve() and durable(), or giveBack(). null: there is none now. */
  take(): KeyRange | null {
    const range = this.#todo.find((each) => !this.#taken.has(each));
    if (range !== undefined) this.#taken.add(range);
    return range ?? null;
  }

  /** Cuts a taken range behind `upTo`: the front is the caller's, the rest is left for others. Throws RangeError for one that is durable or cut. */
  carve(range: KeyRange, upTo: KeyText): KeyRange {
    const at = this.#todo.indexOf(range);
    if (at === -1) throw new RangeError("a range that is not to be read any more can't be cut");
    const front: KeyRange = { after: range.after, upTo };
    this.#todo.splice(at, 1, front, { after: upTo, upTo: range.upTo });
    this.#taken.delete(range);
    this.#taken.add(front);
    return front;
  }

  /** The range was not read. */
  giveBack(range: KeyRange): void {
    this.#taken.delete(range);
  }

  /** The range's rows are in the log. `opening`: text form of the sequence of the mark under which they were read. */
  durable(range: KeyRange, opening: string, rows: number): void {
    this.#taken.delete(range);
    const at = this.#todo.indexOf(range);
    if (at === -1) return;
    this.#todo.splice(at, 1);
    this.#opening ??= opening;
    this.#rows += rows;
    this.#chunks += 1;
  }

  /** Rows of a chunk that counts only together with those that follow it (R-keyless). */
  counted(rows: number): void {
    this.#rows += rows;
    this.#chunks += 1;
  }

  /**
   * R-keyless: all is read again, under another snapshot; gives the number of this attempt. Chunks of the one before count for
   * nothing any more: the last of them may have become durable though its reader never heard that it was committed.
   */
  beginAnew(): number {
    this.#rows = 0;
    this.#chunks = 0;
    return ++this.#attempt;
  }

  get attempt(): number {
    return this.#attempt;
  }

  /** The transaction `xid` (32 bits) gave a row this key and did not send all of it. */
  queue(key: QueuedKey, xid: number): void {
    const name = JSON.stringify(key);
    const queued = this.#rereads.get(name);
    if (queued === undefined) this.#queued(name, key, [xid]);
    else queued.xids.push(xid);
  }

  #queued(name: string, key: QueuedKey, xids: number[]): void {
    this.#rereads.set(name, { key, xids, taken: false });
    this.#queuedCharacters += name.length;
  }

  /** What the queue takes in a state record. */
  get queuedCharacters(): number {
    return this.#queuedCharacters;
  }

  /** Queued keys that nobody reads, at most `limit`; they are the caller's until reread(). */
  takeRereads(limit: number): readonly QueuedKey[] {
    const keys: QueuedKey[] = [];
    for (const queued of this.#rereads.values()) {
      if (keys.length >= limit) break;
      if (queued.taken) continue;
      queued.taken = true;
      keys.push(queued.key);
    }
    return keys;
  }

  get queued(): number {
    return this.#rereads.size;
  }

  /**
   * These keys have been read: durable under a snapshot, or in vain (null). A key stays queued until its reader's
   * snapshot saw every transaction that queued it.
   */
  reread(keys: readonly QueuedKey[], visibility: Visibility | null): void {
    for (const key of keys) {
      const name = JSON.stringify(key);
      const queued = this.#rereads.get(name);
      if (queued === undefined) continue;
      queued.taken = false;
      if (visibility === null) continue;
      queued.xids = queued.xids.filter((xid) => !sees(visibility, xid));
      if (queued.xids.length > 0) continue;
      this.#rereads.delete(name);
      this.#queuedCharacters -= name.length;
    }
  }

  /** The stream session is lost: what was under way is read again. */
  giveAllBack(): void {
    this.#taken.clear();
    for (const queued of this.#rereads.values()) queued.taken = false;
  }

  record(): SnapshotRecord {
    return {
      table: this.table,
      kind: this.kind,
      reason: this.reason,
      where: this.where,
      opening: this.#opening,
      todo: joined(this.#todo),
      rereads: [...this.#rereads.values()].map(({ key }) => key),
      rows: this.#rows,
      chunks: this.#chunks,
      estimatedRows: this.estimatedRows,
    };
  }
}

/** Neighbours as one range: what was carved is read again under other bounds after a restart. */
function joined(ranges: readonly KeyRange[]): readonly KeyRange[] {
  const result: KeyRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    const adjoins = range.after !== null && JSON.stringify(last?.upTo) === JSON.stringify(range.after);
    if (last !== undefined && adjoins) result[result.length - 1] = { after: last.after, upTo: range.upTo };
    else result.push(range);
  }
  return result;
}
