// One append of the embedded log: judged as a broker would, given its offsets, written with others.
import { reasonOf, TailraceError } from "../../core/errors.ts";
import type { EncodedBatch } from "../../core/event-log.ts";
import { readBatchHeader, writeBaseOffset } from "../../core/record-batch.ts";
import type { Catalog, StoredTopic } from "./catalog.ts";
import type { Work } from "./committer.ts";
import { batchKey, type Change } from "./store.ts";

export class Append implements Work {
  readonly bytes: number;
  readonly alone = false;
  readonly #batches: readonly EncodedBatch[];
  readonly #refusal: () => TailraceError | null;
  readonly #settle: Settle;
  readonly #offsets: number[] = [];
  /** Per batch its topic, while the commit runs. */
  #topics: StoredTopic[] = [];

  /** `refusal`: asked when its turn has come, why it must not be written any more. */
  constructor(batches: readonly EncodedBatch[], refusal: () => TailraceError | null, settle: Settle) {
    this.bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
    this.#batches = batches;
    this.#refusal = refusal;
    this.#settle = settle;
  }

  prepare(catalog: Catalog): readonly Change[] {
    const refusal = this.#refusal();
    if (refusal !== null) throw refusal;
    this.#topics = this.#batches.map((batch) => judge(batch, catalog)); // all before the first offset is given
    return this.#batches.map(({ partition, bytes, count }, at) => {
      const topic = this.#topics[at]!;
      const base = catalog.reserve(topic, partition, count);
      this.#offsets.push(base);
      writeBaseOffset(bytes, base);
      return { table: catalog.store.batches, key: batchKey(topic.idBytes, partition, base), value: bytes };
    });
  }

  committed(): void {
    this.#batches.forEach(({ partition, count }, at) => (this.#topics[at]!.ends[partition] = this.#offsets[at]! + count));
    this.#settle.resolve(this.#offsets);
  }

  failed(cause: Error): void {
    this.#settle.reject(cause);
  }
}

export type Settle = { readonly resolve: (baseOffsets: readonly number[]) => void; readonly reject: (cause: Error) => void };

export function refused(batch: EncodedBatch | undefined, reason: string): TailraceError {
  return new TailraceError("LOG_REFUSED", { topic: batch?.topic ?? "(none)", partition: batch?.partition ?? "(none)", reason });
}

/** The topic of a batch that the log takes; else throws LOG_REFUSED. */
function judge(batch: EncodedBatch, catalog: Catalog): StoredTopic {
  const topic = catalog.get(batch.topic);
  if (topic === undefined) throw refused(batch, "the topic does not exist");
  if (!(batch.partition >= 0 && batch.partition < topic.partitions)) throw refused(batch, `the topic has ${topic.partitions} partition(s)`);
  if (batch.bytes.length > topic.maxMessageBytes) {
    throw refused(batch, `the batch has ${batch.bytes.length} bytes, larger than max.message.bytes (${topic.maxMessageBytes})`);
  }
  try {
    const header = readBatchHeader(batch.bytes, 0, batch);
    const fits =
      header.byteLength === batch.bytes.length && header.count === batch.count && header.nextOffset - header.baseOffset === batch.count;
    if (!fits) throw refused(batch, `it is not one batch of ${batch.count} records`);
  } catch (cause) {
    throw cause instanceof TailraceError && cause.code === "LOG_REFUSED" ? cause : refused(batch, reasonOf(cause));
  }
  return topic;
}
