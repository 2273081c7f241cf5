// Reading the embedded log: once from a place, or on and on as the only worker of a group.
import { setImmediate as turn } from "node:timers/promises";
import { TailraceError } from "../../core/errors.ts";
import type { FetchedRecords, LogReader, LogRecord, Position, TopicPartition } from "../../core/event-log.ts";
import { readRecords } from "../../core/record-batch.ts";
import type { Catalog, StoredTopic } from "./catalog.ts";
import type { Committer } from "./committer.ts";
import { agrees, baseOffsetOf, batchKey } from "./store.ts";

type Fetched = FetchedRecords & {
  /** Of the batches that were read. */
  readonly bytes: number;
};

/** Reads whole batches until they have `maxBytes` or more. Throws LOG_GAP, LOG_CORRUPT. */
export function fetch(catalog: Catalog, topic: StoredTopic, { partition, offset }: Position, maxBytes: number): Fetched {
  const { start, end } = catalog.range(topic, partition);
  if (!(offset >= start && offset <= end)) {
    throw new TailraceError("LOG_GAP", { topic: topic.name, partition, start: `${start} and ends at ${end}`, needed: offset });
  }
  const where = { topic: topic.name, partition };
  const records: LogRecord[] = [];
  let next = offset;
  let bytes = 0;
  if (offset < end) {
    const limit = batchKey(topic.idBytes, partition, end);
    for (const { key, value } of catalog.store.batches.getRange({ start: catalog.seek(topic, partition, offset), end: limit })) {
      const base = baseOffsetOf(key);
      if (bytes === 0 ? base > offset : base !== next) throw corrupt(where, next, `the next batch has base offset ${base}`);
      if (!agrees(key, value)) throw corrupt(where, base, "the batch says another base offset");
      next = readRecords(value, where, offset, records);
      bytes += value.length;
      if (bytes >= maxBytes) break;
    }
    if (next === offset) throw corrupt(where, offset, "no batch holds it");
  }
  return { ...where, records, next, start, end, bytes };
}

/** The topic of a place. Throws TOPIC_LOST, also when it is another topic than the one with this id. */
export function topicOf(catalog: Catalog, place: TopicPartition, id?: string): StoredTopic {
  const topic = catalog.require(place.topic, id);
  if (place.partition >= 0 && place.partition < topic.partitions) return topic;
  throw new TailraceError("TOPIC_LOST", { topic: topic.name, reason: `it has no partition ${place.partition}` });
}

function corrupt({ topic, partition }: TopicPartition, offset: number, reason: string): TailraceError {
  return new TailraceError("LOG_CORRUPT", { topic, partition, offset, reason });
}

type Place = { readonly topic: string; readonly partition: number; readonly id: string; offset: number };

export class EmbeddedReader implements LogReader {
  readonly #committer: Committer;
  readonly #group: string;
  readonly #places: Place[];
  readonly #release: () => void;
  #disposed = false;

  /** `release`: lets the group go. Throws TOPIC_LOST. */
  constructor(committer: Committer, group: string, positions: readonly Position[], release: () => void) {
    this.#committer = committer;
    this.#group = group;
    this.#places = positions.map(({ topic, partition, offset }) => ({
      topic,
      partition,
      offset,
      id: topicOf(committer.catalog, { topic, partition }).id,
    }));
    this.#release = release;
  }

  async poll(options: { readonly maxBytes: number; readonly waitMs: number }, signal: AbortSignal): Promise<readonly FetchedRecords[]> {
    const until = performance.now() + options.waitMs;
    await turn(); // a caller that polls in a loop must not keep sockets and timers from their turn
    for (;;) {
      signal.throwIfAborted();
      if (this.#disposed) throw new TailraceError("LOG_UNREACHABLE", { reason: "the reader was closed" });
      const fetched = this.#fetch(options.maxBytes);
      const left = until - performance.now();
      if (fetched.length > 0 || left <= 0) return fetched;
      await this.#committer.bell.wait(left, signal);
    }
  }

  commit(positions: readonly Position[]): Promise<void> {
    if (this.#disposed || positions.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#committer.submit({
        bytes: positions.length * 128,
        alone: false,
        prepare: ({ store }) =>
          positions.map(({ topic, partition, offset }) => ({
            table: store.groups,
            key: Buffer.from([this.#group, topic, partition].join("\0")),
            value: Buffer.from(String(offset)),
          })),
        committed: () => resolve(),
        failed: () => resolve(),
      });
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#disposed) {
      this.#disposed = true;
      this.#release();
      this.#committer.bell.ring();
    }
    return Promise.resolve();
  }

  #fetch(maxBytes: number): FetchedRecords[] {
    const { catalog } = this.#committer;
    const fetched: FetchedRecords[] = [];
    const moved: (readonly [Place, number])[] = [];
    let bytes = 0;
    let asked = 0;
    for (const place of this.#places) {
      if (bytes >= maxBytes) break;
      asked++;
      const topic = topicOf(catalog, place, place.id);
      if (place.offset === catalog.end(topic, place.partition)) continue; // most are, after most commits: no look-up for them
      const { bytes: taken, ...records } = fetch(catalog, topic, place, maxBytes - bytes);
      bytes += taken;
      fetched.push(records);
      moved.push([place, records.next]);
    }
    // Only now: had a later place thrown, the records of the earlier ones would have been lost.
    for (const [place, next] of moved) place.offset = next;
    this.#places.push(...this.#places.splice(0, asked)); // who was not asked comes first next time
    return fetched;
  }
}
