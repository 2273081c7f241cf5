// R-tail: per partition the highest sequence that the log already holds. A restarted source drops what is at or below it.
import { EventDecoder, schemaIdOf } from "../avro/decoder.ts";
import { unreadableAt } from "../avro/shape.ts";
import type { EventLog, LogRecord, OffsetRange, Topic } from "../core/event-log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { compareSequence, parseSequence, SEQUENCE_HEADER, type Sequence } from "../core/sequence.ts";
import type { Barrier } from "../core/barrier.ts";

export type Tail = {
  readonly topic: string;
  readonly partition: number;
  /** Offset that the next record gets. */
  readonly end: number;
  /** null: the partition holds no event. */
  readonly watermark: Sequence | null;
};

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
  const decoders = new Map<number, EventDecoder>();
  const known = barrier?.topics.find((entry) => entry.id === topic.id);
  const ranges = await log.offsets(topic.name, signal);
  return Promise.all(ranges.map(async (range) => readTail(range, known?.next[range.partition])));

  async function readTail(range: OffsetRange, from: number | undefined): Promise<Tail> {
    let watermark: Sequence | null = null;
    if (barrier !== null && from !== undefined && from > 0) {
      watermark = { epoch: barrier.epoch, commitLsn: barrier.commitLsn, ordinal: 0xffff_ffff_ffff };
    }
    let next = Math.max(range.start, Math.min(from ?? range.start, range.end));
    while (next < range.end) {
      const fetched = await log.read({ topic: range.topic, partition: range.partition, offset: next }, 4 << 20, signal);
      for (const record of fetched.records) {
        const sequence = await sequenceOf(record, range);
        if (sequence !== null && (watermark === null || compareSequence(sequence, watermark) > 0)) watermark = sequence;
      }
      if (fetched.next <= next) break;
      next = fetched.next;
    }
    return { topic: range.topic, partition: range.partition, end: range.end, watermark };
  }

  async function sequenceOf(record: LogRecord, of: OffsetRange): Promise<Sequence | null> {
    if (record.value === null) {
      const header = record.headers.find(([name]) => name === SEQUENCE_HEADER);
      return header === undefined ? null : parseSequence(header[1].toString("latin1"));
    }
    try {
      const id = schemaIdOf(record.value);
      let decoder = decoders.get(id);
      if (decoder === undefined) {
        decoder = new EventDecoder(await registry.schema(id, signal));
        decoders.set(id, decoder);
      }
      return decoder.readSequence(record.value);
    } catch (cause) {
      throw unreadableAt(cause, of, record.offset);
    }
  }
}
