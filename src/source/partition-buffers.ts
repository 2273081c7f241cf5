// The events that no round holds yet, a buffer a partition: filled where events are encoded (changes.ts), taken whole by a round.
import type { Barrier } from "../core/barrier.ts";
import type { EncodedBatch, Topic } from "../core/event-log.ts";
import { RecordBatchWriter } from "../core/record-batch.ts";

/** The events of one partition that no round holds yet. */
export type PartitionBuffer = {
  readonly topic: string;
  readonly partition: number;
  /** Largest record batch that the log takes, bytes. */
  readonly maxBytes: number;
  batch: RecordBatchWriter;
  /** Offset that the batch's first record will get. */
  begin: number;
  /** Offset after the last event of a transaction whose COMMIT has been read. */
  committed: number;
  /** Has events of the transaction being read. */
  touched: boolean;
};

/** What a round appends. `writers` own the batches' bytes and are given back with release() once these are durable. */
export type TakenBatches = {
  readonly batches: readonly EncodedBatch[];
  readonly writers: readonly RecordBatchWriter[];
  /** The offset that each batch's first record is to get. */
  readonly expected: readonly number[];
};

export class PartitionBuffers {
  readonly #topics: { readonly topic: Topic; readonly buffers: readonly PartitionBuffer[]; readonly kind: "data" | "aside" }[] = [];
  readonly #touched: PartitionBuffer[] = [];
  readonly #spare: RecordBatchWriter[] = [];

  /** As Publisher.addTopic(). */
  add(topic: Topic, ends: readonly number[], maxBytes: number, kind: "data" | "aside"): readonly PartitionBuffer[] {
    const buffers = ends.map((end, partition): PartitionBuffer => {
      return { topic: topic.name, partition, maxBytes, batch: this.takeWriter(), begin: end, committed: end, touched: false };
    });
    this.#topics.push({ topic, buffers, kind });
    return buffers;
  }

  /** As Publisher.removeTopic(). */
  remove(name: string): void {
    const index = this.#topics.findIndex(({ topic }) => topic.name === name);
    if (index >= 0) this.#topics.splice(index, 1);
  }

  /** The buffer has its first event of the transaction being read. */
  touch(buffer: PartitionBuffer): void {
    buffer.touched = true;
    this.#touched.push(buffer);
  }

  /** The transaction is complete. */
  commit(): void {
    for (const buffer of this.#touched) {
      buffer.touched = false;
      buffer.committed = buffer.begin + buffer.batch.count;
    }
    this.#touched.length = 0;
  }

  /** Everything that is buffered; the buffers begin behind it. `now`: ms since 1970. */
  take(now: number): TakenBatches {
    const batches: EncodedBatch[] = [];
    const writers: RecordBatchWriter[] = [];
    const expected: number[] = [];
    for (const { buffers } of this.#topics) {
      for (const buffer of buffers) {
        const count = buffer.batch.count;
        if (count === 0) continue;
        batches.push({ topic: buffer.topic, partition: buffer.partition, bytes: buffer.batch.finish(now), count });
        writers.push(buffer.batch);
        expected.push(buffer.begin);
        buffer.begin += count;
        buffer.batch = this.takeWriter();
      }
    }
    return { batches, writers, expected };
  }

  /** An empty writer; the caller's until release(). */
  takeWriter(): RecordBatchWriter {
    return this.#spare.pop() ?? new RecordBatchWriter();
  }

  /** Nobody needs the bytes of this writer any more. */
  release(writer: RecordBatchWriter): void {
    writer.reset();
    this.#spare.push(writer);
  }

  /** The data topics as a barrier names them. */
  places(): Barrier["topics"] {
    const data = this.#topics.filter(({ kind }) => kind === "data");
    return data.map(({ topic, buffers }) => ({
      name: topic.name,
      id: topic.id,
      next: buffers.map((buffer) => buffer.committed),
    }));
  }
}
