// The whole log read again, by nobody's checkpoint: what is durable in it, and whether anything stands in it twice.
import { EventDecoder, schemaIdOf } from "../avro/decoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog, LogRecord, OffsetRange } from "../core/event-log.ts";
import { topicName } from "../core/naming.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { SEQUENCE_HEADER, formatSequence } from "../core/sequence.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { deadLetterTopic } from "../source/dead-letters.ts";

export type LogScan = {
  /** Without tombstones: a delete is one event. */
  readonly events: number;
  readonly tables: readonly { readonly table: string; readonly events: number; readonly tombstones: number }[];
  /** Records whose (partition, sequence) an earlier one has. A delete and its tombstone share theirs and count as one. */
  readonly duplicates: number;
  /** Records whose sequence is lower than an earlier one's of the partition. */
  readonly backwards: number;
  /** Records in the source's own topic of dead letters. */
  readonly deadLetters: number;
  /** What was read, by partition: a sink whose checkpoint is there has merged all of it. */
  readonly ranges: readonly OffsetRange[];
};

/** Bytes fetched at once. */
const READ_BYTES = 8 * 1024 * 1024;

/** Reads every topic of `tables`; one that does not exist counts as empty. The log must be opened by the caller and at rest. */
export async function scanLog(
  parts: { readonly log: EventLog; readonly registry: SchemaRegistry },
  prefix: string,
  tables: readonly TableName[],
  signal: AbortSignal,
): Promise<LogScan> {
  const sequences = new SequenceReader(parts.registry);
  const ranges: OffsetRange[] = [];
  const found: { table: string; events: number; tombstones: number }[] = [];
  let duplicates = 0;
  let backwards = 0;
  for (const table of tables) {
    const total = { table: tableLabel(table), events: 0, tombstones: 0 };
    for (const range of await rangesOf(parts.log, topicName(prefix, table), signal)) {
      const tally = await scanPartition(parts.log, range, sequences, signal);
      total.events += tally.events;
      total.tombstones += tally.tombstones;
      backwards += tally.backwards;
      // In order and without equals, as it should be, nothing can stand twice, and no sequence needs to be remembered.
      if (tally.suspicious > 0) duplicates += await countTwins(parts.log, range, sequences, signal);
      ranges.push(range);
    }
    found.push(total);
  }
  const letters = await rangesOf(parts.log, deadLetterTopic(prefix), signal);
  return {
    events: found.reduce((sum, { events }) => sum + events, 0),
    tables: found,
    duplicates,
    backwards,
    deadLetters: letters.reduce((sum, { start, end }) => sum + end - start, 0),
    ranges,
  };
}

async function rangesOf(log: EventLog, topic: string, signal: AbortSignal): Promise<readonly OffsetRange[]> {
  return (await log.topics([topic], signal)).length === 0 ? [] : log.offsets(topic, signal);
}

type Tally = { events: number; tombstones: number; backwards: number; suspicious: number };

async function scanPartition(log: EventLog, range: OffsetRange, sequences: SequenceReader, signal: AbortSignal): Promise<Tally> {
  const tally: Tally = { events: 0, tombstones: 0, backwards: 0, suspicious: 0 };
  const highest = { event: "", tombstone: "" };
  for await (const record of recordsOf(log, range, signal)) {
    const kind = record.value === null ? "tombstone" : "event";
    const sequence = await sequences.read(record, range, signal);
    tally[`${kind}s`] += 1;
    if (sequence < highest[kind]) tally.backwards += 1;
    if (sequence > highest[kind]) highest[kind] = sequence;
    else tally.suspicious += 1;
  }
  return tally;
}

async function countTwins(log: EventLog, range: OffsetRange, sequences: SequenceReader, signal: AbortSignal): Promise<number> {
  const seen = { event: new Set<string>(), tombstone: new Set<string>() };
  let twins = 0;
  for await (const record of recordsOf(log, range, signal)) {
    const known = seen[record.value === null ? "tombstone" : "event"];
    const sequence = await sequences.read(record, range, signal);
    if (known.has(sequence)) twins += 1;
    else known.add(sequence);
  }
  return twins;
}

async function* recordsOf(log: EventLog, range: OffsetRange, signal: AbortSignal): AsyncGenerator<LogRecord> {
  const { topic, partition, start, end } = range;
  for (let next = start; next < end;) {
    const fetched = await log.read({ topic, partition, offset: next }, READ_BYTES, signal);
    yield* fetched.records.filter(({ offset }) => offset < end);
    if (fetched.next <= next) throw unreadable(range, next, "nothing can be read there");
    next = fetched.next;
  }
}

/** The text form of records' sequences: tombstones carry theirs in a header, events in their source block. */
class SequenceReader {
  readonly #registry: SchemaRegistry;
  readonly #decoders = new Map<number, EventDecoder>();

  constructor(registry: SchemaRegistry) {
    this.#registry = registry;
  }

  /** Throws LOG_CORRUPT for a tombstone without a sequence, EVENT_UNREADABLE for a value that is no event. */
  async read(record: LogRecord, range: OffsetRange, signal: AbortSignal): Promise<string> {
    if (record.value === null) {
      const header = record.headers.find(([name]) => name === SEQUENCE_HEADER)?.[1];
      if (header === undefined) throw unreadable(range, record.offset, `a tombstone without ${SEQUENCE_HEADER}`);
      return header.toString("latin1");
    }
    const id = schemaIdOf(record.value);
    let decoder = this.#decoders.get(id);
    if (decoder === undefined) {
      decoder = new EventDecoder(await this.#registry.schema(id, signal));
      this.#decoders.set(id, decoder);
    }
    return formatSequence(decoder.readSequence(record.value));
  }
}

function unreadable({ topic, partition }: OffsetRange, offset: number, reason: string): TailraceError {
  return new TailraceError("LOG_CORRUPT", { topic, partition, offset, reason });
}
