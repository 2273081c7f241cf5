// R-tail: per partition the highest sequence that the log already holds. A restarted source drops what is at or below it.
// R-epoch: and the epoch that a source which does not go on must be above.
import { EventDecoder, schemaIdOf } from "../avro/decoder.ts";
import { unreadableAt } from "../avro/shape.ts";
import type { EventLog, LogRecord, OffsetRange, Topic, TopicPartition } from "../core/event-log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { compareSequence, LAST_ORDINAL, parseSequence, SEQUENCE_HEADER, type Sequence } from "../core/sequence.ts";
import type { Barrier } from "../core/barrier.ts";

export type Tail = {
  readonly topic: string;
  readonly partition: number;
  /** Offset that the next record gets. */
  readonly end: number;
  /** null: the partition holds no event. */
  readonly watermark: Sequence | null;
};

/** Offsets at the end of a partition in which the last epoch is looked for. Only a dead process's late events stand in its way there. */
const RECENT_OFFSETS = 1000;

/**
 * The tails of all partitions of a topic, reading from the last barrier's offsets on. Everything before a barrier's
 * offset is at or below its commit, so a partition without later events has the barrier's commit as watermark.
 */
export async function readTails(
  log: EventLog,
  registry: SchemaRegistry,
  topic: Topic,
  barrier: Barrier | null,
  signal: AbortSignal,
): Promise<readonly Tail[]> {
  const sequences = new Sequences(log, registry, signal);
  const known = barrier?.topics.find((entry) => entry.id === topic.id);
  const ranges = await log.offsets(topic.name, signal);
  return Promise.all(
    ranges.map(async (range): Promise<Tail> => {
      const from = known?.next[range.partition] ?? range.start;
      const told =
        barrier !== null && known !== undefined && from > 0
          ? { epoch: barrier.epoch, commitLsn: barrier.commitLsn, ordinal: LAST_ORDINAL }
          : null;
      const watermark = await sequences.highest(range, from, told);
      return { topic: range.topic, partition: range.partition, end: range.end, watermark };
    }),
  );
}

/**
 * R-epoch: the highest epoch among the last events of these topics; 0: none of them ever had one. Where retention has
 * taken all there were events of some epoch. Far less to read than the tails of topics of which no barrier tells.
 */
export async function lastEpoch(log: EventLog, registry: SchemaRegistry, topics: readonly string[], signal: AbortSignal): Promise<number> {
  const sequences = new Sequences(log, registry, signal);
  let epoch = 0;
  for (const topic of topics) {
    for (const range of await log.offsets(topic, signal)) {
      if (range.end === 0) continue;
      const highest = await sequences.highest(range, range.end - RECENT_OFFSETS, null);
      epoch = Math.max(epoch, highest?.epoch ?? 1);
    }
  }
  return epoch;
}

/** R-park: of two topics that hold one table's events, by partition, what either holds. */
export function higherTails(own: readonly Tail[], parked: readonly Tail[]): readonly (Sequence | null)[] {
  return own.map(({ watermark }, partition) => {
    const other = parked[partition]?.watermark ?? null;
    if (watermark === null || other === null) return watermark ?? other;
    return compareSequence(watermark, other) >= 0 ? watermark : other;
  });
}

/** The sequences of records, by their schemas or headers. */
export class Sequences {
  readonly #log: EventLog;
  readonly #registry: SchemaRegistry;
  readonly #signal: AbortSignal;
  readonly #decoders = new Map<number, EventDecoder>();

  constructor(log: EventLog, registry: SchemaRegistry, signal: AbortSignal) {
    this.#log = log;
    this.#registry = registry;
    this.#signal = signal;
  }

  /** The highest of the records from an offset on, and of `watermark`. */
  async highest(range: OffsetRange, from: number, watermark: Sequence | null): Promise<Sequence | null> {
    const { topic, partition, end } = range;
    let highest = watermark;
    let next = Math.max(range.start, Math.min(from, end));
    while (next < end) {
      const fetched = await this.#log.read({ topic, partition, offset: next }, 4 << 20, this.#signal);
      for (const record of fetched.records) {
        const sequence = await this.of(record, range);
        if (sequence !== null && (highest === null || compareSequence(sequence, highest) > 0)) highest = sequence;
      }
      if (fetched.next <= next) break;
      next = fetched.next;
    }
    return highest;
  }

  /** null: a foreign tombstone. `place`: for the error of a record that can't be read. */
  async of(record: LogRecord, place: TopicPartition): Promise<Sequence | null> {
    if (record.value === null) {
      const header = record.headers.find(([name]) => name === SEQUENCE_HEADER);
      return header === undefined ? null : parseSequence(header[1].toString("latin1"));
    }
    try {
      const id = schemaIdOf(record.value);
      let decoder = this.#decoders.get(id);
      if (decoder === undefined) {
        decoder = new EventDecoder(await this.#registry.schema(id, this.#signal));
        this.#decoders.set(id, decoder);
      }
      return decoder.readSequence(record.value);
    } catch (cause) {
      throw unreadableAt(cause, place, record.offset);
    }
  }
}
