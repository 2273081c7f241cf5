// Everything read since the last flush: folded rows by table, positions by partition, letters that must be set aside.
import type { EventDecoder } from "../avro/decoder.ts";
import { FRAME_BYTES } from "../avro/encoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { LogRecord } from "../core/event-log.ts";
import { SequenceFormat } from "../core/sequence.ts";
import { tableLabel } from "../core/table.ts";
import type { CheckpointMove, ClosedLetters, DeadLetter, LetterFloor } from "../core/warehouse.ts";
import { foldChange, truncateRow, type Change, type FoldedRow, type KeptColumns } from "./fold.ts";
import { KeyedRows } from "./keyed-rows.ts";
import { keyName, type OpenLetters } from "./open-letters.ts";
import { placeOf, type Progress } from "./positions.ts";
import type { Route } from "./routes.ts";
import type { EventColumn } from "./staging.ts";

export type PendingTable = {
  readonly route: Route;
  readonly columns: readonly EventColumn[];
  readonly decoder: EventDecoder;
  readonly kept: KeptColumns;
  readonly rows: KeyedRows;
  /** Text form of the highest TRUNCATE, null without one. */
  truncate: string | null;
};

/** What the source has yet to bring by snapshots: events with unsent columns then wait for it. */
export type Awaited = {
  /** Whether it reads a changed key's row again when columns were not sent. */
  readonly isRereadingKeys: () => boolean;
  /** Whether a snapshot brings all rows of the topic's table. */
  readonly isBringing: (route: Route) => boolean;
};

/** Where a partition is with what is pending. */
export type PendingPartition = { readonly from: Progress; nextOffset: number; sequence: string };

/** `schema_changed`: the record's value schema is not the one of the rows already folded; flush first, then offer it again. */
export type Offered = "taken" | "schema_changed";

export class Pending {
  readonly tables = new Map<string, PendingTable>();
  readonly deadLetters: DeadLetter[] = [];
  readonly closedLetters: ClosedLetters[] = [];
  events = 0;
  bytes = 0;
  firstSequence = "";
  lastSequence = "";
  readonly #commits = new Map<bigint, number>();
  /** The commit time that was counted last, and how often since; not in #commits yet. */
  #lastCommit = 0n;
  #ofLastCommit = 0;
  readonly #format = new SequenceFormat();
  readonly #partitions = new Map<string, PendingPartition>();
  readonly #letters: OpenLetters;
  readonly #awaited: Awaited;

  constructor(letters: OpenLetters, awaited: Awaited) {
    this.#letters = letters;
    this.#awaited = awaited;
  }

  /** Events per commit time (µs since 1970). */
  get commits(): ReadonlyMap<bigint, number> {
    this.#countCommit();
    return this.#commits;
  }

  get empty(): boolean {
    return this.#partitions.size === 0;
  }

  get rows(): number {
    let rows = 0;
    for (const table of this.tables.values()) rows += table.rows.size;
    return rows;
  }

  /** Whether a row may turn out to have no row in the target that its unsent columns could come from. */
  get inherits(): boolean {
    for (const { rows } of this.tables.values()) for (const row of rows) if (row.unchanged.length > 0 && !row.deleted) return true;
    return false;
  }

  /** The offset up to which a partition is merged with what is pending; null: nothing of it is. */
  nextOffset(topic: string, partition: number): number | null {
    return this.#partitions.get(placeOf({ topic, partition }))?.nextOffset ?? null;
  }

  /** Moves a partition's position past `next`. */
  advance(progress: Progress, next: number): void {
    this.partition(progress).nextOffset = next;
  }

  /**
   * Folds one event. R-checkpoint: what is at or below the partition's highest merged sequence is dropped first.
   * `position`: from partition(). `decoder` has just decoded the record and may be reused after the call.
   */
  offer(route: Route, position: PendingPartition, record: LogRecord, decoder: EventDecoder, columns: readonly EventColumn[]): Offered {
    const sequence = this.#format.text(decoder.epoch, decoder.commitLsn, decoder.ordinal);
    if (sequence <= position.sequence) return "taken";
    let table = this.tables.get(route.topic.name);
    if (table === undefined) {
      table = { route, columns, decoder, kept: keptColumns(route, columns), rows: new KeyedRows(), truncate: null };
      this.tables.set(route.topic.name, table);
    } else if (table.decoder !== decoder) {
      return "schema_changed";
    }
    position.sequence = sequence;
    const commitMicros = this.#count(decoder.commitMicros, sequence, record);
    const { partition } = position.from;
    if (decoder.op === "t") {
      truncatePartition(table, partition, sequence);
      this.#letters.closeBelow(route.topic.name, sequence);
      return "taken";
    }
    this.#fold(table, partition, record, toChange(decoder, record, sequence, commitMicros));
    return "taken";
  }

  /** The compare-and-set moves of every partition read, whether or not it held events. */
  checkpoints(): readonly CheckpointMove[] {
    return [...this.#partitions.values()].map(({ from, nextOffset, sequence }) => ({
      topic: from.topic,
      partition: from.partition,
      topicId: from.topicId,
      nextOffset,
      sequence,
      expected: from.stored,
    }));
  }

  /** Below a TRUNCATE no letter is open any more. */
  letterFloors(): readonly LetterFloor[] {
    return [...this.tables.values()].flatMap(({ route, truncate }) =>
      truncate === null ? [] : [{ topic: route.topic.name, sequence: truncate }],
    );
  }

  /** Why a row whose `unchanged` columns have no row in the target to come from is set aside. */
  withoutRow({ route, columns }: PendingTable, key: string, unchanged: readonly number[]): TailraceError {
    const [names, target] = [namesOf(columns, unchanged), tableLabel(route.target)];
    const awaits = this.#awaited.isBringing(route) || this.#letters.isAwaiting(route.topic.name, key);
    return awaits
      ? new TailraceError("AWAITS_SNAPSHOT", { columns: names, target })
      : new TailraceError("UNCHANGED_WITHOUT_ROW", { columns: names, target });
  }

  #fold(table: PendingTable, partition: number, record: LogRecord, change: Change & { movedFrom: Buffer | null }): void {
    const topic = table.route.topic.name;
    const { key } = record;
    if (key === null) throw new TailraceError("EVENT_UNREADABLE", { reason: "an event of a keyed table without a key" });
    const { sequence } = change;
    const row = table.rows.get(key, FRAME_BYTES);
    const refused = this.#refusal(table, key, row, change);
    if (refused !== null) {
      // What was folded before stays: it is true up to this event.
      const letter = deadLetter(topic, partition, record, Buffer.from(key.subarray(FRAME_BYTES)), sequence, refused);
      this.deadLetters.push(letter);
      this.#letters.open(letter);
      return;
    }
    if (this.#letters.areIn(topic) && this.#letters.close(topic, keyName(key, FRAME_BYTES)))
      this.closedLetters.push({ topic, keyBytes: Buffer.from(key.subarray(FRAME_BYTES)), sequence });
    if (row === undefined) table.rows.add(foldChange(undefined, change, key.subarray(FRAME_BYTES), partition, table.kept));
    else foldChange(row, change, row.keyBytes, partition, table.kept);
  }

  /** R-dead: why the change can't be merged, null when it can. */
  #refusal(
    table: PendingTable,
    framedKey: Buffer,
    row: FoldedRow | undefined,
    change: Change & { movedFrom: Buffer | null },
  ): TailraceError | null {
    if (change.unchanged.length === 0) return null;
    const columns = namesOf(table.columns, change.unchanged);
    if (change.movedFrom !== null) {
      return this.#awaited.isRereadingKeys()
        ? new TailraceError("AWAITS_SNAPSHOT", { columns, target: tableLabel(table.route.target) })
        : new TailraceError("KEY_CHANGE_UNSENT", { columns });
    }
    const key = keyName(framedKey, FRAME_BYTES);
    const joins = this.#letters.has(table.route.topic.name, key) || row?.deleted === true;
    return joins ? this.withoutRow(table, key, change.unchanged) : null;
  }

  /** The commit time, as one number object for all events of a transaction. */
  #count(commitMicros: bigint, sequence: string, record: LogRecord): bigint {
    this.events += 1;
    this.bytes += (record.value?.length ?? 0) + (record.key?.length ?? 0);
    if (commitMicros !== this.#lastCommit) {
      this.#countCommit();
      this.#lastCommit = commitMicros;
    }
    this.#ofLastCommit += 1;
    if (this.firstSequence === "" || sequence < this.firstSequence) this.firstSequence = sequence;
    if (sequence > this.lastSequence) this.lastSequence = sequence;
    return this.#lastCommit;
  }

  #countCommit(): void {
    if (this.#ofLastCommit > 0) this.#commits.set(this.#lastCommit, (this.#commits.get(this.#lastCommit) ?? 0) + this.#ofLastCommit);
    this.#ofLastCommit = 0;
  }

  /** Where the partition of `progress` is. Asked once for many records: until the next flush it is the same. */
  partition(progress: Progress): PendingPartition {
    const name = placeOf(progress);
    let partition = this.#partitions.get(name);
    if (partition === undefined) {
      partition = { from: progress, nextOffset: progress.nextOffset, sequence: progress.sequence };
      this.#partitions.set(name, partition);
    }
    return partition;
  }
}

/** The dead letter of one record, with its original bytes. */
export function deadLetter(
  topic: string,
  partition: number,
  record: Pick<LogRecord, "offset" | "key" | "value">,
  keyBytes: Buffer | null,
  sequence: string,
  error: TailraceError,
): DeadLetter {
  const { offset, key, value } = record;
  return { topic, partition, offset, keyBytes, sequence, code: error.code, message: error.message, key, value };
}

function namesOf(columns: readonly EventColumn[], indexes: readonly number[]): string {
  return indexes.map((index) => columns[index]?.name ?? "?").join(", ");
}

function keptColumns({ deletes }: Route, columns: readonly EventColumn[]): KeptColumns {
  if (deletes === "hard") return null;
  return columns.flatMap(({ keyPosition }, index) => (keyPosition === 0 ? [index] : []));
}

/** TRUNCATE cuts the fold: what this partition brought before it is gone, or deleted softly. */
function truncatePartition(table: PendingTable, partition: number, sequence: string): void {
  if (table.kept === null) table.rows.retain((row) => row.partition !== partition);
  else for (const row of table.rows) if (row.partition === partition) truncateRow(row, sequence);
  if (table.truncate === null || sequence > table.truncate) table.truncate = sequence;
}

function toChange(decoder: EventDecoder, record: LogRecord, sequence: string, commitMicros: bigint): Change & { movedFrom: Buffer | null } {
  const { op, unchanged, movedFrom } = decoder;
  const values = op === "d" ? decoder.before : decoder.after;
  if (op === "t" || values === null) throw new TailraceError("EVENT_UNREADABLE", { reason: `an event of op ${op} without a row` });
  return { op, sequence, commitMicros, values, unchanged, movedFrom, record };
}
