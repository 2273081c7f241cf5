// What the embedded log holds: its topics and where each partition begins and ends. The ends are kept in memory, because
// this process is the only writer; everything else is looked up in the store.
import { randomBytes } from "node:crypto";
import { TailraceError } from "../../core/errors.ts";
import type { OffsetRange, Topic, TopicSpec } from "../../core/event-log.ts";
import { readBatchHeader } from "../../core/record-batch.ts";
import { baseOffsetOf, batchKey, TOPIC_ID_BYTES, topicIdOf, type Change, type Store } from "./store.ts";

/** Kafka's defaults, for topics made without these configs. */
const DEFAULT_CONFIGS: Readonly<Record<string, string>> = { "cleanup.policy": "delete", "max.message.bytes": "1048588" };
const HIGHEST_OFFSET = Number.MAX_SAFE_INTEGER;

export type StoredTopic = Topic & {
  readonly idBytes: Buffer;
  readonly configs: Readonly<Record<string, string>>;
  readonly maxMessageBytes: number;
  /** Per partition the offset after the last committed record; NaN until it is asked for. */
  readonly ends: Float64Array;
  /** The same with the commit that is being made. */
  readonly reserved: Float64Array;
};

/** One state of the store; made anew when the store was opened again. */
export class Catalog {
  readonly store: Store;
  readonly #topics = new Map<string, StoredTopic>();

  constructor(store: Store) {
    this.store = store;
    for (const { key, value } of store.topics.getRange({ start: Buffer.alloc(1) })) {
      const { id, partitions, configs } = JSON.parse(value.toString()) as Pick<StoredTopic, "id" | "partitions" | "configs">;
      this.add(storedTopic(key.toString(), id, partitions, configs));
    }
  }

  get(name: string): StoredTopic | undefined {
    return this.#topics.get(name);
  }

  add(topic: StoredTopic): void {
    this.#topics.set(topic.name, topic);
  }

  remove(name: string): void {
    this.#topics.delete(name);
  }

  /** Throws TOPIC_LOST when there is no such topic, or when it is not the one with this id. */
  require(name: string, id?: string): StoredTopic {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw new TailraceError("TOPIC_LOST", { topic: name, reason: "it does not exist" });
    if (id !== undefined && topic.id !== id)
      throw new TailraceError("TOPIC_LOST", { topic: name, reason: `its id is ${topic.id}, it was ${id}` });
    return topic;
  }

  /** The offset that the next record gets. */
  end(topic: StoredTopic, partition: number): number {
    const known = topic.ends[partition]!;
    if (!Number.isNaN(known)) return known;
    const last = this.#lastAtOrBelow(topic, partition, batchKey(topic.idBytes, partition, HIGHEST_OFFSET));
    const bytes = last === undefined ? undefined : this.store.batches.getBinary(last);
    const end = bytes === undefined ? 0 : readBatchHeader(bytes, 0, { topic: topic.name, partition }).nextOffset;
    topic.ends[partition] = topic.reserved[partition] = end;
    return end;
  }

  range(topic: StoredTopic, partition: number): OffsetRange {
    const end = this.end(topic, partition);
    const [first] = this.store.batches.getKeys({
      start: batchKey(topic.idBytes, partition, 0),
      end: batchKey(topic.idBytes, partition + 1, 0),
      limit: 1,
    });
    return { topic: topic.name, partition, start: first === undefined ? end : baseOffsetOf(first), end };
  }

  /** Takes the next `count` offsets for the commit that is being made; returns the first. */
  reserve(topic: StoredTopic, partition: number, count: number): number {
    this.end(topic, partition);
    const base = topic.reserved[partition]!;
    topic.reserved[partition] = base + count;
    return base;
  }

  /** The key of the batch that holds the offset, or of the first one after it. */
  seek(topic: StoredTopic, partition: number, offset: number): Buffer {
    const exact = batchKey(topic.idBytes, partition, offset);
    return this.#lastAtOrBelow(topic, partition, exact) ?? exact;
  }

  /** Keys of batches that belong to no topic: what a deleted topic left behind. At most `limit`. */
  orphans(limit: number): Buffer[] {
    const known = new Set([...this.#topics.values()].map((topic) => topic.id));
    const found: Buffer[] = [];
    let from: Buffer = Buffer.alloc(TOPIC_ID_BYTES);
    for (;;) {
      const [next] = this.store.batches.getKeys({ start: from, limit: 1 });
      if (next === undefined) return found;
      const id = Buffer.from(topicIdOf(next));
      const after = successor(id);
      if (!known.has(id.toString("hex"))) {
        for (const key of this.store.batches.getKeys({ start: id, ...(after === null ? {} : { end: after }), limit: limit - found.length }))
          found.push(key);
      }
      if (found.length >= limit || after === null) return found;
      from = after;
    }
  }

  #lastAtOrBelow(topic: StoredTopic, partition: number, key: Buffer): Buffer | undefined {
    const first = batchKey(topic.idBytes, partition, 0);
    // A reverse range leaves out its end, which may be the very first batch.
    const [found] = this.store.batches.getKeys({ start: key, end: first, reverse: true, limit: 1 });
    return found ?? (this.store.batches.doesExist(first) ? first : undefined);
  }
}

export function newTopic(spec: TopicSpec): StoredTopic {
  return storedTopic(spec.name, randomBytes(TOPIC_ID_BYTES).toString("hex"), spec.partitions, spec.configs);
}

export function topicRow(store: Store, { name, id, partitions, configs }: StoredTopic): Change {
  return { table: store.topics, key: Buffer.from(name), value: Buffer.from(JSON.stringify({ id, partitions, configs })) };
}

function storedTopic(name: string, id: string, partitions: number, configs: Readonly<Record<string, string>>): StoredTopic {
  const effective = { ...DEFAULT_CONFIGS, ...configs };
  return {
    name,
    id,
    partitions,
    idBytes: Buffer.from(id, "hex"),
    configs: effective,
    maxMessageBytes: Number(effective["max.message.bytes"]),
    ends: new Float64Array(partitions).fill(NaN),
    reserved: new Float64Array(partitions).fill(NaN),
  };
}

/** The smallest id above this one; null above the highest. */
function successor(id: Buffer): Buffer | null {
  const next = Buffer.from(id);
  for (let at = next.length - 1; at >= 0; at--) {
    next[at] = (next[at]! + 1) & 0xff;
    if (next[at] !== 0) return next;
  }
  return null;
}
