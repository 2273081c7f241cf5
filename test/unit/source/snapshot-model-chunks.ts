// What a source of the snapshot model knows of its chunks, and what it does with a row and with a change of the stream.
import type { KeyRange, QueuedKey } from "../../../src/core/snapshot-record.ts";
import type { TableSnapshot } from "../../../src/source/snapshot-progress.ts";
import type { Visibility } from "../../../src/postgres/visibility.ts";
import type { Chunk, SnapshotWindow } from "../../../src/source/window.ts";
import { COLUMNS, KEYS, type Change, type Database, type Row, type Transaction, type Values } from "./snapshot-model-database.ts";
import type { Producer, State } from "./snapshot-model-log.ts";
import type { Rules } from "./snapshot-model-rules.ts";

/** An update as the window keeps it. */
export type Update = { readonly values: Values; readonly unsent: readonly number[] };

/** R-window-start of one table in one session. */
export type Start = {
  phase: "ending" | "marking" | "passing" | "open";
  waitFor: number;
  mark: Transaction | null;
  readonly nonce: string;
  opening: number | null;
};

export type Reading = { readonly snapshot: TableSnapshot; readonly start: Start };

/** One attempt at a chunk. */
export type Attempt = {
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

/** One session of the stream. */
export type Session = {
  readonly window: SnapshotWindow<Update>;
  readonly producer: Producer;
  next: number;
  delivered: number;
  readonly awaiting: Map<string, Attempt>;
  readonly emitted: { readonly attempt: Attempt; readonly lsn: number; readonly rows: number }[];
  readonly readers: (Attempt | null)[];
  checkpoint: State | null;
  /** Snapshots that are complete; their ends are to be said. */
  readonly ends: Set<Reading>;
  /** Begun in it. */
  chunks: number;
};

/** The next step of its reading session; `late`: the answer with its snapshot takes longer. false: it is over. */
export function step(attempt: Attempt, database: Database, window: SnapshotWindow<Update>, rules: Rules, late: boolean): boolean {
  if (attempt.visibility !== null && !attempt.known && !late) {
    attempt.known = true;
    window.known(attempt.chunk, attempt.visibility);
  }
  switch (attempt.stage) {
    case "begun":
      attempt.moment = database.now;
      attempt.visibility = rules.judgesByVisibility ? database.visibility() : upToNow(database);
      attempt.stage = "snapshot";
      return true;
    case "snapshot":
      database.emitMark(attempt.transaction, { kind: "chunk", nonce: attempt.nonce });
      attempt.stage = "marked";
      return true;
    case "marked":
      database.commit(attempt.transaction);
      attempt.stage = "committed";
      return true;
    case "committed":
      return !attempt.known;
  }
}

/** Of commit LSNs instead of ids: what stands in the WAL is seen. */
function upToNow({ lsn }: Database): Visibility {
  return { xmin: lsn + 1, xmax: lsn + 1, inProgress: new Set() };
}

/** What the window is told of a change. */
export function touch(window: SnapshotWindow<Update>, change: Change, rules: Rules): void {
  const { table } = change;
  if (change.op === "truncate") return window.truncate(table);
  const key = String(change.key);
  if (change.op === "insert") return window.whole(table, key);
  if (change.op === "delete") return window.gone(table, key);
  const moved = change.from !== change.key;
  if (moved && rules.touchesOldKey) window.gone(table, String(change.from));
  if (moved && !rules.touchesNewKey) return;
  if (moved || change.unsent.length === 0) window.whole(table, key);
  else window.partial(table, key, change.unsent, change, 1);
}

/** R-window-toast: the row with what is newer folded over it; null when it is not true any more. */
export function valuesAtMark(window: SnapshotWindow<Update>, chunk: Chunk, row: Row): Values | null {
  const verdict = window.judge(chunk, String(row.key));
  if (verdict === "emit") return row.values;
  if (verdict === "drop") return null;
  const { columns, rows } = verdict;
  const newest = (column: number): number | undefined => rows.findLast(({ unsent }) => !unsent.includes(column))?.values[column];
  return COLUMNS.map((column) => (columns.includes(column) ? row.values[column]! : (newest(column) ?? 0)));
}

export function isIn(key: number, { after, upTo }: KeyRange): boolean {
  return key < KEYS && (after === null || key > Number(after[0])) && (upTo === null || key <= Number(upTo[0]));
}

export function queuedKey(key: number): QueuedKey {
  return [{ form: "text", value: String(key) }];
}

export function keyOf(key: QueuedKey): number {
  return Number(key[0]?.value);
}
