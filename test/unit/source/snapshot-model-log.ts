// What a source of the snapshot model makes durable, and what a sink of `consistency: partition` merges from it.
import type { SnapshotRecord } from "../../../src/core/snapshot-record.ts";
import { KEYS, TABLES, type Row, type Values } from "./snapshot-model-database.ts";

const TABLE_PARTITIONS = 2;
/** Those of table 0, then those of table 1. */
export const PARTITIONS = TABLES * TABLE_PARTITIONS;

export type Event =
  /** `unsent`: columns whose values are not there. `inherits`: the row before has them; a changed key's row has none. */
  | {
      readonly op: "row";
      readonly table: number;
      readonly key: number;
      readonly values: Values;
      readonly unsent: readonly number[];
      readonly inherits: boolean;
    }
  | { readonly op: "delete"; readonly table: number; readonly key: number }
  | { readonly op: "truncate"; readonly table: number };

/** (epoch, commit LSN, ordinal) as one number in their order. */
export function sequenceOf(epoch: number, commitLsn: number, ordinal: number): number {
  return epoch * 2 ** 40 + commitLsn * 2 ** 12 + ordinal;
}

export function partitionsOf(table: number, key: number | null): readonly number[] {
  const first = table * TABLE_PARTITIONS;
  return key === null ? Array.from({ length: TABLE_PARTITIONS }, (_, index) => first + index) : [first + (key % TABLE_PARTITIONS)];
}

export type LogRecord = { readonly partition: number; readonly sequence: number; readonly event: Event };

/** R-sweep, as the barrier topic says it: rows of the table below `opening` are gone. */
export type Sweep = { readonly table: number; readonly opening: number };

export type State = {
  readonly epoch: number;
  readonly acknowledged: number;
  /** R-publication. */
  readonly entries: readonly (number | null)[];
  readonly snapshots: readonly SnapshotRecord[];
};

export class Log {
  /** In the order in which they became durable. */
  readonly records: (LogRecord | Sweep)[] = [];
  state: State | null = null;
  readonly #tails = new Map<number, number>();

  /** The highest sequence of a partition, 0 for none. */
  tail(partition: number): number {
    return this.#tails.get(partition) ?? 0;
  }

  /** Throws when a partition would hold a sequence twice, or one below an earlier one. */
  append(record: LogRecord): void {
    if (record.sequence <= this.tail(record.partition))
      throw new Error(`sequence ${record.sequence} comes again in partition ${record.partition}`);
    this.#tails.set(record.partition, record.sequence);
    this.records.push(record);
  }
}

/** A session's way into the log: what is sent becomes durable partition by partition. */
export class Producer {
  readonly #log: Log;
  /** R-tail: when the session began. */
  readonly #tails: readonly number[];
  /** In the order of the stream. */
  readonly #pending: (LogRecord & { readonly lsn: number })[] = [];

  constructor(log: Log) {
    this.#log = log;
    this.#tails = Array.from({ length: PARTITIONS }, (_, partition) => log.tail(partition));
  }

  /** What has no higher sequence is delivered again. */
  get redelivered(): number {
    return Math.max(...this.#tails);
  }

  /** Everything that committed before this LSN is durable. */
  get horizon(): number {
    return this.#pending[0]?.lsn ?? Infinity;
  }

  send(event: Event, epoch: number, lsn: number, ordinal: number): void {
    const sequence = sequenceOf(epoch, lsn, ordinal);
    for (const partition of partitionsOf(event.table, event.op === "truncate" ? null : event.key))
      if (sequence > this.#tails[partition]!) this.#pending.push({ partition, sequence, event, lsn });
  }

  /** The oldest `count` records of a partition become durable. */
  flush(partition: number, count: number): void {
    let left = count;
    for (let index = 0; index < this.#pending.length && left > 0;) {
      const record = this.#pending[index]!;
      if (record.partition !== partition) {
        index += 1;
        continue;
      }
      this.#log.append(record);
      this.#pending.splice(index, 1);
      left -= 1;
    }
  }
}

type SinkRow = {
  readonly sequence: number;
  readonly values: Values;
  /** No event has brought them. */ readonly missing: readonly number[];
};

/** The target's rows of each table after everything in the log, in key order. Throws when one lacks a value. */
export function merge(log: Log): readonly (readonly Row[])[] {
  const rows = new Map<number, SinkRow>();
  /** R-tombstone: sequences of keys that are gone. */
  const tombstones = new Map<number, number>();
  const remove = (place: number, sequence: number): void => {
    if (!rows.delete(place) && !tombstones.has(place)) return;
    tombstones.set(place, sequence);
  };
  const removeBelow = (sequence: number, isMeant: (place: number) => boolean): void => {
    for (const [place, row] of [...rows]) if (row.sequence < sequence && isMeant(place)) remove(place, sequence);
  };
  for (const record of log.records) {
    if ("opening" in record) {
      removeBelow(record.opening, (place) => Math.floor(place / KEYS) === record.table);
      continue;
    }
    const { event, sequence, partition } = record;
    if (event.op === "truncate") {
      removeBelow(sequence, (place) => partitionsOf(Math.floor(place / KEYS), place % KEYS)[0] === partition);
      continue;
    }
    const place = event.table * KEYS + event.key;
    const before = rows.get(place);
    if ((before?.sequence ?? tombstones.get(place) ?? 0) >= sequence) continue;
    if (event.op === "delete") {
      rows.set(place, { sequence, values: [], missing: [] });
      remove(place, sequence);
      continue;
    }
    const base = event.inherits ? before : undefined;
    const values = event.values.map((value, column) => (event.unsent.includes(column) ? (base?.values[column] ?? 0) : value));
    rows.set(place, { sequence, values, missing: event.unsent.filter((column) => base?.missing.includes(column) ?? true) });
    tombstones.delete(place);
  }
  return Array.from({ length: TABLES }, (_, table) => rowsOf(rows, table));
}

function rowsOf(rows: ReadonlyMap<number, SinkRow>, table: number): readonly Row[] {
  const found: Row[] = [];
  for (let key = 0; key < KEYS; key++) {
    const row = rows.get(table * KEYS + key);
    if (row === undefined) continue;
    if (row.missing.length > 0) throw new Error(`table ${table}, key ${key}: no event has brought columns ${row.missing.join(", ")}`);
    found.push({ key, values: row.values });
  }
  return found;
}
