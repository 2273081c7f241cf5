// The hot path: a pgoutput message in, Avro records in the partitions' buffers out, in one synchronous call. No object,
// promise, closure or string per row.
import { FRAME_BYTES } from "../avro/encoder.ts";
import type { ByteWriter } from "../core/byte-writer.ts";
import { TailraceError } from "../core/errors.ts";
import { formatLsn, toLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { partitionOf } from "../core/partition.ts";
import { formatSequence, LAST_ORDINAL, type Sequence } from "../core/sequence.ts";
import { Tuple, tupleState } from "../core/tuple.ts";
import { messageTag, oldKind, PgoutputReader, type Relation } from "../postgres/pgoutput.ts";
import { readMark } from "../postgres/snapshot-mark.ts";
import type { CapturedTable, Resolved } from "./captured-table.ts";
import { remember, type SourceDeadLetter } from "./dead-letters.ts";
import { EventRecords, type RowOp } from "./event-records.ts";
import type { Publisher } from "./publisher.ts";
import { Redelivery } from "./redelivery.ts";
import { Relations } from "./relations.ts";
import { extent, sameKey } from "./row-bytes.ts";
import type { MarkedChunk, SnapshotStream } from "./snapshot-stream.ts";
import { copySent, foldUnsent } from "./unsent.ts";
import { WaitingMessages } from "./waiting-messages.ts";

/** Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;

export type ChangesOptions = {
  readonly publisher: Publisher;
  readonly epoch: number;
  readonly tombstones: boolean;
  /** The highest sequence in the log: until redelivery has passed it, events are held against the watermarks. */
  readonly highestTail: Sequence | null;
  /** Text form of the highest sequence among the source's dead letters; "" without any. */
  readonly lettersTail: string;
  /** What confirmed_flush_lsn was when the stream began: nothing that committed before comes again. */
  readonly startedAt: Lsn;
  /**
   * The table of a RELATION message: null for one that is not captured; a promise when its shape must be looked up and
   * registered first. Messages wait in memory meanwhile, which `stalled` bounds by pausing the stream. `place`: of the next row, `xid`: of the
   * transaction.
   */
  readonly resolve: (relation: Relation, place: Sequence, xid: number) => Resolved | Promise<Resolved>;
  readonly stalled: (waiting: boolean) => void;
  /** Finds out that rows of tables with composites have the known shape, up to an LSN that covers all that has come: or ends the stream. */
  readonly lookAtShapes: () => Promise<void>;
  /** The table as it is after an interruption. */
  readonly renew: (captured: CapturedTable) => CapturedTable | null;
  /** null: no snapshots are made (snapshot.mode no_data). */
  readonly snapshots: SnapshotStream | null;
  readonly deadLetter: (letter: SourceDeadLetter) => void;
  readonly failed: (error: TailraceError) => void;
};

export class Changes {
  readonly #options: ChangesOptions;
  readonly #publisher: Publisher;
  readonly #snapshots: SnapshotStream | null;
  readonly #reader = new PgoutputReader();
  readonly #records: EventRecords;
  /** Of #records. */
  readonly #out: ByteWriter;
  readonly #chunkRow = new Tuple();
  readonly #relations = new Relations();
  readonly #waiting: WaitingMessages;
  /** What is to be done between two transactions. */
  readonly #interruptions: (() => Promise<void>)[] = [];
  readonly #redelivery: Redelivery;
  #failed = false;
  #commitLsn: Lsn = ZERO_LSN;
  #commitMicros = 0n;
  #processedMs = 0;
  #row = 0;
  #hasRows = false;
  /** Transactions with rows since the last chunk's mark. */
  #others = 0;
  #open = false;
  #walHigh = 0;
  #walLow = 0;
  /** Where the message at hand stands in its bytes. */
  #start = 0;
  #end = 0;

  constructor(options: ChangesOptions) {
    this.#options = options;
    this.#publisher = options.publisher;
    this.#snapshots = options.snapshots;
    this.#records = new EventRecords(options.publisher, options.tombstones);
    this.#out = this.#records.out;
    this.#redelivery = new Redelivery(options.epoch, options.highestTail, options.startedAt);
    this.#waiting = new WaitingMessages({
      stalled: options.stalled,
      take: (...message) => this.take(...message),
      goesOn: () => this.#interruptIfDue(),
      failed: (error) => this.#fail(error),
    });
  }

  /** Between BEGIN and COMMIT, or messages wait. */
  get busy(): boolean {
    return this.#open || this.#waiting.isWaiting;
  }

  /** The sequence of the next row in the transaction at hand; between two of them the last that the one before could have. */
  get place(): Sequence {
    return { epoch: this.#options.epoch, commitLsn: this.#commitLsn, ordinal: this.#open ? this.#row * 2 : LAST_ORDINAL };
  }

  /**
   * Takes the message in `bytes[start, end)` with its place in the WAL (two halves of 32 bits). The bytes are valid during the call only. Never
   * throws. After a failure it takes nothing more: the rest of the socket's chunk still comes, and must not stand in the
   * log as if what failed had been published before it.
   */
  take(bytes: Buffer, start: number, end: number, walHigh: number, walLow: number): void {
    if (this.#failed) return;
    if (this.#waiting.isWaiting) return this.#waiting.push(bytes, start, end, walHigh, walLow);
    try {
      this.#start = start;
      this.#end = end;
      this.#handle(bytes, walHigh, walLow);
    } catch (cause) {
      this.#fail(TailraceError.from(cause, { lsn: formatLsn(this.#commitLsn) }));
    }
  }

  /** Has `work` done between two transactions; what comes meanwhile waits in memory. What `work` throws ends the stream. */
  interrupt(work: () => Promise<void>): void {
    this.#interruptions.push(work);
    this.#interruptIfDue();
  }

  #interruptIfDue(): void {
    if (this.#interruptions.length === 0 || this.#failed || this.busy) return;
    const work = this.#interruptions.shift()!;
    this.#waiting.until(work(), () => this.#relations.renew(this.#options.renew), {});
  }

  #fail(error: TailraceError): void {
    this.#failed = true;
    this.#publisher.abandon();
    this.#options.failed(error);
  }

  #handle(bytes: Buffer, walHigh: number, walLow: number): void {
    const reader = this.#reader;
    this.#walHigh = walHigh;
    this.#walLow = walLow;
    const tag = reader.read(bytes, this.#start, this.#end);
    switch (tag) {
      case messageTag.insert:
      case messageTag.update:
      case messageTag.delete: {
        if (this.#relations.passesOver && this.#awaitsRelation(reader.relationOid, bytes)) return;
        const captured = this.#relations.table(reader.relationOid, this.#commitLsn);
        if (captured !== null && captured.composites.length > 0 && this.#awaitsLook(captured, bytes)) return;
        if (tag === messageTag.insert) this.#insert(captured, bytes);
        else if (tag === messageTag.update) this.#update(captured, bytes);
        else this.#delete(captured, bytes);
        break;
      }
      case messageTag.begin:
        this.#begin();
        break;
      case messageTag.commit:
        this.#commit();
        break;
      case messageTag.truncate:
        this.#truncate(bytes);
        break;
      case messageTag.relation:
        this.#relation(reader.relation);
        break;
      case messageTag.message:
        this.#message(bytes);
        break;
      case messageTag.type:
      case messageTag.origin:
        break; // no rows: they have no ordinal (R-sequence)
    }
  }

  #begin(): void {
    const reader = this.#reader;
    this.#commitLsn = toLsn((BigInt(reader.finalLsnHigh) << 32n) | BigInt(reader.finalLsnLow));
    this.#commitMicros = (BigInt(reader.commitTimeHigh) << 32n) + BigInt(reader.commitTimeLow) + POSTGRES_EPOCH_MICROS;
    this.#processedMs = Date.now();
    this.#row = 0;
    this.#hasRows = false;
    this.#open = true;
    this.#redelivery.begin(this.#commitLsn);
    this.#snapshots?.window.begin(reader.xid);
    this.#publisher.begin(this.#commitMicros);
  }

  #commit(): void {
    const reader = this.#reader;
    const endLsn = toLsn((BigInt(reader.endLsnHigh) << 32n) | BigInt(reader.endLsnLow));
    this.#redelivery.commit(this.#commitLsn);
    this.#open = false;
    if (this.#row > 0) this.#others += 1;
    this.#publisher.commit(this.#commitLsn, endLsn, this.#redelivery.goesOn ? "redelivered" : this.#hasRows ? "barrier" : "empty");
    this.#interruptIfDue();
  }

  #relation(relation: Relation): void {
    const resolved = this.#options.resolve(relation, this.place, this.#reader.xid);
    const settled = (of: Resolved): void => this.#relations.set(relation, of);
    if (!(resolved instanceof Promise)) settled(resolved);
    else this.#waiting.until(resolved, settled, { table: `${relation.schema}.${relation.name}` });
  }

  /** Whether the message waits until its RELATION has been resolved again, as the first row behind those that were to be passed over. */
  #awaitsRelation(oid: number, bytes: Buffer): boolean {
    const relation = this.#relations.behind(oid, this.place);
    if (relation === null) return false;
    this.#relation(relation);
    this.#awaits(bytes);
    return this.#waiting.isWaiting;
  }

  /** Whether the message waits until it is known that its composites have the known shape: no message says when that changes. */
  #awaitsLook({ reading, label }: CapturedTable, bytes: Buffer): boolean {
    if (this.#lsn() <= reading.shapesSeen) return false;
    this.#waiting.until(this.#options.lookAtShapes(), () => undefined, { table: label });
    this.#awaits(bytes);
    return true;
  }

  /** The message at hand waits first, where any does: nothing of it has been taken. */
  #awaits(bytes: Buffer): void {
    this.#waiting.push(bytes, this.#start, this.#end, this.#walHigh, this.#walLow);
  }

  /** Of the message at hand. */
  #lsn(): bigint {
    return (BigInt(this.#walHigh >>> 0) << 32n) | BigInt(this.#walLow >>> 0);
  }

  #insert(captured: CapturedTable | null, bytes: Buffer): void {
    const row = this.#row++;
    if (captured === null) return;
    this.#create(captured, bytes, row * 2, null);
  }

  #update(captured: CapturedTable | null, bytes: Buffer): void {
    const reader = this.#reader;
    const row = this.#row++;
    if (captured === null) return;
    const old = reader.oldKind === oldKind.none ? null : reader.oldTuple;
    if (old === null || captured.keylessPartition >= 0 || sameKey(captured.keyIndexes, old, reader.newTuple)) {
      this.#emit(captured, bytes, "u", old, reader.newTuple, row * 2, null);
    } else {
      this.#remove(captured, bytes, row * 2);
      this.#create(captured, bytes, row * 2 + 1, old);
    }
  }

  #delete(captured: CapturedTable | null, bytes: Buffer): void {
    const row = this.#row++;
    if (captured !== null) this.#remove(captured, bytes, row * 2);
  }

  #create(captured: CapturedTable, bytes: Buffer, ordinal: number, movedFrom: Tuple | null): void {
    this.#emit(captured, bytes, "c", null, this.#reader.newTuple, ordinal, movedFrom);
  }

  #remove(captured: CapturedTable, bytes: Buffer, ordinal: number): void {
    this.#emit(captured, bytes, "d", this.#reader.oldTuple, null, ordinal, null);
  }

  #truncate(bytes: Buffer): void {
    const reader = this.#reader;
    for (let i = 0; this.#relations.passesOver && i < reader.truncatedCount; i++)
      if (this.#awaitsRelation(reader.truncated[i] ?? 0, bytes)) return;
    const ordinal = this.#row++ * 2; // one message, one index, however many tables
    for (let i = 0; i < reader.truncatedCount; i++) {
      const captured = this.#relations.table(reader.truncated[i] ?? 0, this.#commitLsn);
      if (captured === null) continue;
      this.#hasRows = true;
      if (captured.reading.watched) this.#snapshots?.window.truncate(captured.table.oid);
      this.#tellTransaction(captured, false);
      for (let partition = 0; partition < captured.buffers.length; partition++) {
        if (this.#redelivery.has(captured.watermarks[partition], this.#commitLsn, ordinal)) continue;
        this.#out.position = 0;
        captured.encoder.writeEvent("t", null, null, ordinal, this.#walHigh, this.#walLow, null, this.#out);
        const buffer = captured.buffers[partition]!;
        this.#records.append(captured, buffer, -1, this.#records.sizeOf(buffer, "t", -1), ordinal, "t");
      }
    }
  }

  #emit(
    captured: CapturedTable,
    bytes: Buffer,
    op: RowOp,
    before: Tuple | null,
    after: Tuple | null,
    ordinal: number,
    movedFrom: Tuple | null,
  ): void {
    this.#hasRows = true;
    const out = this.#out;
    out.position = 0;
    let keyEnd = -1;
    let partition = captured.keylessPartition;
    try {
      if (partition < 0) {
        captured.encoder.writeKey(after ?? this.#reader.oldTuple, before ?? movedFrom, out);
        keyEnd = out.position;
        partition = partitionOf(out.bytes, FRAME_BYTES, keyEnd, captured.buffers.length); // the key's Avro body alone
      }
      const buffer = captured.buffers[partition]!;
      this.#tellTransaction(captured, false);
      if (captured.composites.length > 0) this.#refuseUntold(captured, before, after);
      captured.encoder.writeEvent(op, before, after, ordinal, this.#walHigh, this.#walLow, movedFrom, out);
      this.#touch(captured, op, keyEnd, after, movedFrom);
      const bytes = this.#records.sizeOf(buffer, op, keyEnd);
      if (captured.reading.letters !== null) this.#followLetter(captured, captured.reading.letters, keyEnd, before, after);
      // Only now: a row that becomes a dead letter is held against the letters, not against its partition's events.
      if (!this.#redelivery.has(captured.watermarks[partition], this.#commitLsn, ordinal))
        this.#records.append(captured, buffer, keyEnd, bytes, ordinal, op);
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.retry !== "never") throw cause;
      this.#touch(captured, op === "d" ? "d" : "c", keyEnd, null, null); // the letter stands for the row as it is now
      // Others fail alike at each delivery; of these rows some came before the type was altered, and are in the log.
      if (cause.code === "COMPOSITE_CHANGED" && this.#redelivery.has(captured.watermarks[partition], this.#commitLsn, ordinal)) return;
      this.#setAside(captured, bytes.subarray(this.#start, this.#end), op, keyEnd, ordinal, cause);
    }
  }

  /** A composite of before an ALTER TYPE that added attributes and dropped others may look like one of after it. */
  #refuseUntold({ reading, composites, table }: CapturedTable, before: Tuple | null, after: Tuple | null): void {
    if (this.#lsn() > reading.shapesUntold) return;
    const isSent = (tuple: Tuple | null, index: number): boolean =>
      tuple !== null && (tuple.state[index] === tupleState.text || tuple.state[index] === tupleState.binary);
    const index = composites.find((each) => isSent(before, each) || isSent(after, each));
    if (index === undefined) return;
    const reason = "it may have been written before the type was altered: attributes were added and others dropped";
    throw new TailraceError("COMPOSITE_CHANGED", { column: table.columns[index]!.name, reason });
  }

  /** R-dead: what an event leaves unsent behind a dead letter of its row is not in the log: the row is read again, or this is a letter too. */
  #followLetter(captured: CapturedTable, letters: Set<string>, keyEnd: number, before: Tuple | null, after: Tuple | null): void {
    if (keyEnd < 0) return;
    const key = this.#out.bytes.toString("latin1", FRAME_BYTES, keyEnd);
    if (!letters.has(key)) return;
    if (after === null || captured.encoder.unsentCount === 0) letters.delete(key);
    else if (this.#snapshots === null)
      throw new TailraceError("BEHIND_DEAD_LETTER", {
        columns: captured.encoder
          .unsentColumns()
          .map((column) => captured.table.columns[column]?.name)
          .join(", "),
      });
    else this.#snapshots.reread(captured, this.#reader.xid, after, before ?? after, "unsent columns behind a dead letter");
  }

  /** R-window: the window learns of the key. A table that is being read pays a string and an entry an event for it. */
  #touch(captured: CapturedTable, op: RowOp, keyEnd: number, after: Tuple | null, movedFrom: Tuple | null): void {
    if (this.#snapshots === null || keyEnd < 0) return;
    const unsent = op === "d" || after === null ? 0 : captured.encoder.unsentCount;
    const moves = unsent > 0 && movedFrom !== null;
    if (!captured.reading.watched && !moves) return;
    const { window } = this.#snapshots;
    const key = this.#out.bytes.toString("latin1", FRAME_BYTES, keyEnd);
    if (captured.reading.watched) {
      if (op === "d") window.gone(captured.table.oid, key);
      else if (unsent === 0 || after === null || moves) window.whole(captured.table.oid, key);
      else {
        const row = copySent(after);
        window.partial(captured.table.oid, key, captured.encoder.unsentColumns(), row, row.bytes.length);
      }
    }
    if (moves && after !== null) this.#snapshots.reread(captured, this.#reader.xid, after, movedFrom, "a changed key with unsent columns");
  }

  /** R-window: at its mark stand the rows of a chunk that no event of a transaction unseen by it has made untrue. */
  #message(bytes: Buffer): void {
    if (this.#snapshots === null || !this.#reader.messageTransactional) return;
    const mark = readMark(bytes, this.#reader);
    const marked = mark === null ? null : this.#snapshots.mark(mark, this.#commitLsn);
    if (mark === null || marked === null) return;
    this.#hasRows = true; // a barrier behind it though no row is left: a snapshot's end may have to be said there, and nothing else may come
    if (marked === "opening") return;
    for (let row = 0; row < marked.rows; row++) this.#emitChunkRow(marked, row);
    marked.emitted(this.#others);
    this.#others = 0;
  }

  #emitChunkRow(marked: MarkedChunk, row: number): void {
    const { captured, chunk } = marked;
    const out = this.#out;
    let tuple = this.#chunkRow;
    marked.fill(row, tuple);
    out.position = 0;
    let keyEnd = -1;
    try {
      let partition = captured.keylessPartition;
      if (partition < 0) {
        captured.encoder.writeKey(tuple, null, out);
        keyEnd = out.position;
        if (chunk.touched) {
          const verdict = this.#snapshots?.window.judge(chunk, out.bytes.toString("latin1", FRAME_BYTES, keyEnd)) ?? "emit";
          if (verdict === "drop") return;
          if (verdict !== "emit") tuple = foldUnsent(tuple, verdict.columns, verdict.rows, captured.keyIndexes);
        }
        partition = partitionOf(out.bytes, FRAME_BYTES, keyEnd, captured.buffers.length);
      }
      const buffer = captured.buffers[partition]!;
      this.#tellTransaction(captured, true);
      captured.encoder.writeEvent("r", null, tuple, row, this.#walHigh, this.#walLow, null, out);
      this.#records.append(captured, buffer, keyEnd, this.#records.sizeOf(buffer, "r", keyEnd), row, "r");
      if (captured.reading.letters !== null && keyEnd >= 0)
        captured.reading.letters.delete(out.bytes.toString("latin1", FRAME_BYTES, keyEnd));
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.retry !== "never") throw cause;
      this.#setAside(captured, tuple.bytes.subarray(...extent(tuple)), "r", keyEnd, row, cause);
    }
  }

  #setAside(captured: CapturedTable, bytes: Buffer, op: RowOp, keyEnd: number, ordinal: number, error: TailraceError): void {
    const sequence = formatSequence({ epoch: this.#options.epoch, commitLsn: this.#commitLsn, ordinal });
    if (keyEnd >= 0 && op !== "d")
      remember((captured.reading.letters ??= new Set()), this.#out.bytes.toString("latin1", FRAME_BYTES, keyEnd));
    if (sequence <= this.#options.lettersTail) return; // redelivered
    this.#options.deadLetter({
      table: captured.label,
      op,
      sequence,
      key: keyEnd < 0 ? null : Buffer.from(this.#out.bytes.subarray(0, keyEnd)),
      message: Buffer.from(bytes),
      error: error.at({ table: captured.label, lsn: formatLsn(this.#commitLsn) }),
    });
  }

  /** The constant parts of a transaction's events are written once a table. A mark's transaction has no others than the chunk's rows. */
  #tellTransaction(captured: CapturedTable, snapshot: boolean): void {
    if (captured.transaction === this.#commitLsn) return;
    captured.transaction = this.#commitLsn;
    captured.encoder.beginTransaction({
      epoch: this.#options.epoch,
      commitLsn: this.#commitLsn,
      commitMicros: this.#commitMicros,
      xid: this.#reader.xid,
      processedMs: this.#processedMs,
      snapshot,
    });
  }
}
