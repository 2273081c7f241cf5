// Everything read since the last flush: folded rows by table, positions by partition, letters that must be set aside.
import type { EventDecoder } from "../avro/decoder.ts";
import { FRAME_BYTES } from "../avro/encoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { LogRecord } from "../core/event-log.ts";
import { copyParts, isBelow, partsOf, partsText, type SequenceParts } from "../core/sequence.ts";
import { tableLabel } from "../core/table.ts";
import type { CheckpointMove, ClosedLetters, DeadLetter, LetterFloor } from "../core/warehouse.ts";
import { Fold, truncatePartition, type ChangeRecord, type KeptColumns } from "./fold.ts";
import { keyName, type OpenLetters } from "./open-letters.ts";
import { placeOf, type Progress } from "./positions.ts";
import type { Route } from "./routes.ts";
import type { EventColumn } from "./staging.ts";

export type PendingTable = {
  readonly route: Route;
  readonly columns: readonly EventColumn[];
  readonly decoder: EventDecoder;
  readonly fold: Fold;
  /** Text form of the highest TRUNCATE, null without one. */
  truncate: string | null;
};

/** What the source has yet to bring by snapshots: events with unsent columns then wait for it. */
export type Awaited = {
  /** Whether it reads a changed key's row again when columns were not sent. */
  readonly isRereadingKeys: (route: Route) => boolean;
  /** Whether a snapshot brings all rows of the topic's table. */
  readonly isBringing: (route: Route) => boolean;
};

/** Where a partition is with what is pending. */
export type PendingPartition = { readonly from: Progress; nextOffset: number; readonly sequence: SequenceParts };

/**
 * `schema_changed`: the record's value schema is not the one of the rows already folded; flush first, then offer it again. `unsettled`: what
 * the flush under way makes of its row decides what becomes of it; offer it again when that is known.
 */
export type Offered = "taken" | "schema_changed" | "unsettled";

export class Pending {
  readonly tables = new Map<string, PendingTable>();
  readonly deadLetters: DeadLetter[] = [];
  readonly closedLetters: ClosedLetters[] = [];
  events = 0;
  bytes = 0;
  readonly #first = partsOf("");
  readonly #last = partsOf("");
  readonly #commits = new Map<bigint, number>();
  /** The commit time that was counted last, in its halves, and how often since; not in #commits yet. */
  #lastHigh = 0;
  #lastLow = 0;
  #ofLastCommit = 0;
  readonly #partitions = new Map<string, PendingPartition>();
  readonly #letters: OpenLetters;
  readonly #awaited: Awaited;
  readonly #isUnsettled: () => boolean;

  /** `isUnsettled`: whether a flush of what was read before is under way, which may open letters. */
  constructor(letters: OpenLetters, awaited: Awaited, isUnsettled: () => boolean) {
    this.#letters = letters;
    this.#awaited = awaited;
    this.#isUnsettled = isUnsettled;
  }

  /** Events per commit time (µs since 1970). */
  get commits(): ReadonlyMap<bigint, number> {
    this.#countCommit();
    return this.#commits;
  }

  /** Text forms of the lowest and the highest sequence; "" without events. */
  get firstSequence(): string {
    return partsText(this.#first);
  }

  get lastSequence(): string {
    return partsText(this.#last);
  }

  get empty(): boolean {
    return this.#partitions.size === 0;
  }

  get rows(): number {
    let rows = 0;
    for (const { fold } of this.tables.values()) rows += fold.rows;
    return rows;
  }

  /** Whether a row may turn out to have no row in the target that its unsent columns could come from. */
  get inherits(): boolean {
    for (const { fold } of this.tables.values()) if (fold.inherits) return true;
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
    if (!isBelow(position.sequence, decoder)) return "taken";
    let table = this.tables.get(route.topic.name);
    if (table === undefined) {
      table = { route, columns, decoder, fold: new Fold(columns.length, keptColumns(route, columns)), truncate: null };
      this.tables.set(route.topic.name, table);
    } else if (table.decoder !== decoder) {
      return "schema_changed";
    }
    if (this.#isUnsettled() && (decoder.unchanged.length > 0 || decoder.op === "t" || this.#letters.areIn(route.topic.name)))
      return "unsettled";
    copyParts(decoder, position.sequence);
    this.#count(decoder, record);
    const { partition } = position.from;
    if (decoder.op === "t") this.#truncate(table, partition, decoder);
    else this.#fold(table, partition, record, decoder);
    return "taken";
  }

  /** A letter of the flush before, of a key that was read again meanwhile: what was read was complete, else it had waited, and closes it. */
  supersede({ topic, key, keyBytes }: DeadLetter): void {
    const fold = this.tables.get(topic)?.fold;
    const row = fold === undefined || key === null ? -1 : fold.find(key);
    if (fold === undefined || keyBytes === null || row < 0) return;
    this.#letters.close(topic, keyName(keyBytes));
    this.closedLetters.push({ topic, keyBytes, sequence: partsText(fold.events.event(fold.first(row))) });
  }

  /** The compare-and-set moves of every partition read, whether or not it held events. */
  checkpoints(): readonly CheckpointMove[] {
    return [...this.#partitions.values()].map(({ from, nextOffset, sequence }) => ({
      topic: from.topic,
      partition: from.partition,
      topicId: from.topicId,
      nextOffset,
      sequence: partsText(sequence),
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

  #truncate(table: PendingTable, partition: number, decoder: EventDecoder): void {
    truncatePartition(table.fold, partition, decoder);
    const sequence = partsText(decoder);
    if (table.truncate === null || sequence > table.truncate) table.truncate = sequence;
    this.#letters.closeBelow(table.route.topic.name, sequence);
  }

  #fold(table: PendingTable, partition: number, record: LogRecord, decoder: EventDecoder): void {
    const topic = table.route.topic.name;
    if (!hasKey(record)) throw new TailraceError("EVENT_UNREADABLE", { reason: "an event of a keyed table without a key" });
    const row = table.fold.find(record.key);
    const refused = decoder.unchanged.length === 0 ? null : this.#refusal(table, record.key, row, decoder);
    if (refused !== null) {
      // What was folded before stays: it is true up to this event.
      const letter = deadLetter(topic, partition, record, Buffer.from(bodyOf(record)), partsText(decoder), refused);
      this.deadLetters.push(letter);
      this.#letters.open(letter);
      return;
    }
    if (this.#letters.areIn(topic) && this.#letters.close(topic, keyName(record.key, FRAME_BYTES)))
      this.closedLetters.push({ topic, keyBytes: Buffer.from(bodyOf(record)), sequence: partsText(decoder) });
    table.fold.fold(row, decoder, record, partition);
  }

  /** R-dead: why a change with unsent columns can't be merged, null when it can. */
  #refusal(table: PendingTable, framedKey: Buffer, row: number, { unchanged, movedFrom }: EventDecoder): TailraceError | null {
    const columns = namesOf(table.columns, unchanged);
    if (movedFrom !== null) {
      return this.#awaited.isRereadingKeys(table.route)
        ? new TailraceError("AWAITS_SNAPSHOT", { columns, target: tableLabel(table.route.target) })
        : new TailraceError("KEY_CHANGE_UNSENT", { columns });
    }
    const key = keyName(framedKey, FRAME_BYTES);
    const joins = this.#letters.has(table.route.topic.name, key) || (row >= 0 && table.fold.isDeleted(row));
    return joins ? this.withoutRow(table, key, unchanged) : null;
  }

  #count(decoder: EventDecoder, { key, value }: LogRecord): void {
    this.events += 1;
    this.bytes += (value?.length ?? 0) + (key?.length ?? 0);
    if (decoder.microsHigh !== this.#lastHigh || decoder.microsLow !== this.#lastLow) {
      this.#countCommit();
      this.#lastHigh = decoder.microsHigh;
      this.#lastLow = decoder.microsLow;
    }
    this.#ofLastCommit += 1;
    if (this.#first.epoch === 0 || isBelow(decoder, this.#first)) copyParts(decoder, this.#first);
    if (isBelow(this.#last, decoder)) copyParts(decoder, this.#last);
  }

  #countCommit(): void {
    if (this.#ofLastCommit === 0) return;
    const micros = (BigInt(this.#lastHigh) << 32n) | BigInt(this.#lastLow);
    this.#commits.set(micros, (this.#commits.get(micros) ?? 0) + this.#ofLastCommit);
    this.#ofLastCommit = 0;
  }

  /** Where the partition of `progress` is. Asked once for many records: until the next flush it is the same. */
  partition(progress: Progress): PendingPartition {
    const name = placeOf(progress);
    let partition = this.#partitions.get(name);
    if (partition === undefined) {
      partition = { from: progress, nextOffset: progress.nextOffset, sequence: partsOf(progress.sequence) };
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

/** The Avro body of a record's key. */
export function bodyOf({ key }: Pick<ChangeRecord, "key">): Buffer {
  return key.subarray(FRAME_BYTES);
}

/** Tombstones are not offered: every record has a value. */
function hasKey(record: LogRecord): record is LogRecord & ChangeRecord {
  return record.key !== null && record.value !== null;
}
