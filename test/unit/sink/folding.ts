// Events of a table in their Avro bytes, folded and staged as a sink does it, for tests that look at what comes of them.
import { EventDecoder } from "../../../src/avro/decoder.ts";
import type { SourceTransaction } from "../../../src/avro/encoder.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import type { LogRecord } from "../../../src/core/event-log.ts";
import { partsText } from "../../../src/core/sequence.ts";
import type { Table } from "../../../src/core/table.ts";
import type { Tuple } from "../../../src/core/tuple.ts";
import type { TableFlush } from "../../../src/core/warehouse.ts";
import { Fold } from "../../../src/sink/fold.ts";
import { planOrder, stage } from "../../../src/sink/staging.ts";
import { ValueList, type Value } from "../../support/row-values.ts";
import { eventsOf, transaction } from "../avro/events.ts";

/** One event. `row`: after the change, of a delete before it. */
export type RowEvent = { readonly op: "c" | "u" | "d" | "r"; readonly row: Tuple; readonly before?: Tuple | null; readonly commit: number };

/** A folded row, its values in the order of the table's columns. */
export type SeenRow = {
  readonly values: readonly Value[];
  readonly unchanged: readonly number[];
  readonly deleted: boolean;
  readonly sequence: string;
  readonly commitMicros: bigint;
  readonly keyBytes: Buffer;
};

export class Folding {
  readonly fold: Fold;
  readonly decoder: EventDecoder;
  readonly records: (LogRecord & { readonly key: Buffer; readonly value: Buffer })[] = [];
  readonly #table: Table;
  readonly #events: ReturnType<typeof eventsOf>;

  constructor(table: Table, deletes: "hard" | "soft" = "hard") {
    this.#table = table;
    this.#events = eventsOf(table);
    this.decoder = new EventDecoder(this.#events.schemas.value);
    const outside = table.columns.flatMap(({ keyPosition }, index) => (keyPosition === 0 ? [index] : []));
    this.fold = new Fold(table.columns.length, deletes === "hard" ? null : outside);
  }

  /** A commit's transaction; µs and LSN are its number. */
  static transactionOf(commit: number): SourceTransaction {
    return { ...transaction, commitLsn: BigInt(commit), commitMicros: BigInt(commit) };
  }

  take(event: RowEvent, partition = 0): void {
    const { encoder } = this.#events;
    encoder.beginTransaction(Folding.transactionOf(event.commit));
    const [key, value] = [new ByteWriter(16), new ByteWriter(16)];
    encoder.writeKey(event.row, event.before ?? null, key);
    const [before, after] = event.op === "d" ? [event.row, null] : [event.before ?? null, event.row];
    encoder.writeEvent(event.op, before, after, 0, 0, 0, null, value);
    // As in a log's batch: key and value in the middle of other bytes, in one piece of memory.
    const bytes = Buffer.concat([Buffer.of(1, 2, 3), key.bytes.subarray(0, key.position), value.bytes.subarray(0, value.position)]);
    const record = {
      offset: this.records.length,
      timestamp: 0,
      key: bytes.subarray(3, 3 + key.position),
      value: bytes.subarray(3 + key.position),
      headers: [],
    };
    this.records.push(record);
    this.decoder.decode(record.value);
    this.fold.fold(this.fold.find(record.key), this.decoder, record, partition);
  }

  /** The flush that the rows make. */
  staged(deletes: "hard" | "soft" = this.fold.kept === null ? "hard" : "soft"): Omit<TableFlush, "truncate"> {
    const target = { schema: this.#table.schema, name: this.#table.name };
    const rows = Array.from({ length: this.fold.rows }, (_, row) => row);
    return stage(target, deletes, this.#table.columns, this.fold, this.decoder.rows, rows);
  }

  /** What a warehouse's loader is given. */
  rows(): readonly SeenRow[] {
    const { staged } = this.staged();
    const order = planOrder(this.#table.columns);
    return Array.from({ length: staged.rows }, (_, row) => {
      const into = order.map(() => new ValueList());
      const [sequence, time, key] = [new ValueList(), new ValueList(), new ValueList()];
      staged.writeValues(row, into);
      staged.writeSequence(row, sequence);
      staged.writeCommitTime(row, time);
      staged.writeKey(row, key);
      return {
        values: order.map((_, index) => into[order.indexOf(index)]!.last),
        unchanged: order.filter((_, at) => staged.unchanged[at]?.[row] === 1).sort((a, b) => a - b),
        deleted: staged.deleted[row] === 1,
        sequence: sequence.last as string,
        commitMicros: time.last as bigint,
        keyBytes: key.last as Buffer,
      };
    });
  }
}

/** The text form of a commit's sequence. */
export function sequenceOf(commit: number): string {
  return partsText({ epoch: transaction.epoch, commitHigh: 0, commitLow: commit, ordinal: 0 });
}
