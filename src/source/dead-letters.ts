// The source's dead letters: rows whose values no event can hold, set aside in `<prefix>.dead_letters`.
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { EventLog, TopicSpec } from "../core/event-log.ts";
import { formatSequence, parseSequence } from "../core/sequence.ts";

/** Largest batch of letters, bytes. */
const LETTER_BYTES = 16 * 1024 * 1024;
/** Bytes of a pgoutput message that are kept: a row too large for the log can't be in a record either. */
const MESSAGE_BYTES = 256 * 1024;

export type SourceDeadLetter = {
  readonly table: string;
  readonly op: "c" | "u" | "d" | "t" | "r";
  /** Text form. */
  readonly sequence: string;
  /** The framed key, null when the key itself is what no event can hold. */
  readonly key: Buffer | null;
  /** The pgoutput message; of op `r` the row's values as COPY sent them. */
  readonly message: Buffer;
  readonly error: TailraceError;
};

export function deadLetterTopic(prefix: string): string {
  return `${prefix}.dead_letters`;
}

export function deadLetterTopicSpec(prefix: string, replication: number): TopicSpec {
  // Kept for ever: it is the only copy of what it holds.
  const configs = { "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": String(LETTER_BYTES) };
  return { name: deadLetterTopic(prefix), partitions: 1, replication, configs };
}

/** Highest sequence (text form) among the letters that are in the log, "" without any: what redelivery must not repeat. */
export async function lettersTail(log: EventLog, prefix: string, signal: AbortSignal): Promise<string> {
  const topic = deadLetterTopic(prefix);
  const [range] = await log.offsets(topic, signal);
  if (range === undefined) return "";
  let highest = "";
  // Letters are written in the order of their sequences; some more than the last, should a dead process's have come late.
  let next = Math.max(range.start, range.end - 256);
  while (next < range.end) {
    const fetched = await log.read({ topic, partition: 0, offset: next }, 4 << 20, signal);
    for (const { value, offset } of fetched.records) {
      if (value === null) continue;
      const sequence = sequenceOf(value, { topic, offset });
      if (sequence > highest) highest = sequence;
    }
    if (fetched.next <= next) break;
    next = fetched.next;
  }
  return highest;
}

function sequenceOf(value: Buffer, place: { readonly topic: string; readonly offset: number }): string {
  try {
    return formatSequence(parseSequence((JSON.parse(value.toString()) as { readonly sequence: string }).sequence));
  } catch (cause) {
    throw new TailraceError("LOG_CORRUPT", { topic: place.topic, partition: 0, offset: place.offset, reason: reasonOf(cause) }, { cause });
  }
}

/** The record's value: JSON, the pgoutput message in base64 (cut to its first 256 KiB). */
export function encodeDeadLetter(letter: SourceDeadLetter): Buffer {
  const { table, op, sequence, message, error } = letter;
  return Buffer.from(
    JSON.stringify({
      table,
      op,
      sequence,
      ...error.toJSON(),
      pgoutput: message.subarray(0, MESSAGE_BYTES).toString("base64"),
      bytes: message.length,
    }),
  );
}
