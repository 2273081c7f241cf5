// The last step of the hot path: the event that has been encoded becomes a record of its partition's buffer, its tombstone behind it.
import { ByteWriter } from "../core/byte-writer.ts";
import { TailraceError } from "../core/errors.ts";
import { BATCH_HEADER_BYTES, RECORD_OVERHEAD_BYTES, TOMBSTONE_OVERHEAD_BYTES } from "../core/record-batch.ts";
import { SEQUENCE_TEXT_BYTES } from "../core/sequence.ts";
import { counterOf, type CapturedTable } from "./captured-table.ts";
import type { PartitionBuffer } from "./partition-buffers.ts";
import type { Publisher } from "./publisher.ts";

export type RowOp = "c" | "u" | "d" | "t" | "r";

export class EventRecords {
  /** The event at hand: its key up to `keyEnd`, its value behind it. Its writer's until append() returns. */
  readonly out = new ByteWriter(256 * 1024);
  readonly #sequenceText = new ByteWriter(SEQUENCE_TEXT_BYTES);
  readonly #publisher: Publisher;
  readonly #tombstones: boolean;

  constructor(publisher: Publisher, tombstones: boolean) {
    this.#publisher = publisher;
    this.#tombstones = tombstones;
  }

  /** Bytes that the event in `out` takes in a batch, its tombstone among them; `keyEnd` −1: it has no key. Throws ROW_TOO_LARGE. */
  sizeOf(buffer: PartitionBuffer, op: RowOp, keyEnd: number): number {
    const tombstone = this.#hasTombstone(op, keyEnd) ? keyEnd + TOMBSTONE_OVERHEAD_BYTES : 0;
    const bytes = this.out.position + RECORD_OVERHEAD_BYTES + tombstone;
    if (bytes + BATCH_HEADER_BYTES > buffer.maxBytes) throw new TailraceError("ROW_TOO_LARGE", { bytes, limit: buffer.maxBytes });
    return bytes;
  }

  #hasTombstone(op: RowOp, keyEnd: number): boolean {
    return op === "d" && keyEnd >= 0 && this.#tombstones;
  }

  /** Moves the event in `out` to its partition's buffer. */
  append(captured: CapturedTable, buffer: PartitionBuffer, keyEnd: number, bytes: number, ordinal: number, op: RowOp): void {
    const out = this.out;
    const valueStart = Math.max(keyEnd, 0);
    this.#publisher.reserve(buffer, bytes);
    buffer.batch.append(keyEnd < 0 ? null : out.bytes, 0, keyEnd, out.bytes, valueStart, out.position);
    if (this.#hasTombstone(op, keyEnd)) {
      this.#sequenceText.position = 0;
      captured.encoder.writeTombstoneSequence(ordinal, this.#sequenceText);
      buffer.batch.appendTombstone(out.bytes, 0, keyEnd, this.#sequenceText.bytes);
    }
    this.#publisher.appended(buffer, bytes, captured.counter + counterOf[op]);
  }
}
