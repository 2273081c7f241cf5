// The source's dead letters: rows whose values no event can hold, set aside in `<prefix>.dead_letters`.
import { FRAME_BYTES } from "../avro/encoder.ts";
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

/** Letters that a session remembers of those before it. */
const REMEMBERED = 1_000;
/** Keys of a table whose letters are remembered; of more the oldest are forgotten. */
const REMEMBERED_KEYS = 10_000;

/** The letters that are in the log when a session begins. */
export type KnownLetters = {
  /** Their highest sequence (text form), "" without any: what redelivery must not repeat. */
  readonly tail: string;
  /** By table: the keys (Avro bodies as latin1) of rows that are not in the log as the last REMEMBERED letters have them. */
  readonly keys: ReadonlyMap<string, Set<string>>;
};

export async function readLetters(log: EventLog, prefix: string, signal: AbortSignal): Promise<KnownLetters> {
  const topic = deadLetterTopic(prefix);
  const [range] = await log.offsets(topic, signal);
  const keys = new Map<string, Set<string>>();
  let tail = "";
  // Letters are written in the order of their sequences; but those of a dead process may have come late.
  let next = range === undefined ? 0 : Math.max(range.start, range.end - REMEMBERED);
  while (range !== undefined && next < range.end) {
    const fetched = await log.read({ topic, partition: 0, offset: next }, 4 << 20, signal);
    for (const { key, value, offset } of fetched.records) {
      if (value === null) continue;
      const { sequence, table, op } = letterOf(value, { topic, offset });
      if (sequence > tail) tail = sequence;
      if (key === null || op === "d") continue;
      let of = keys.get(table);
      if (of === undefined) keys.set(table, (of = new Set()));
      remember(of, key.toString("latin1", FRAME_BYTES));
    }
    if (fetched.next <= next) break;
    next = fetched.next;
  }
  return { tail, keys };
}

/** `key`: an Avro body as latin1. */
export function remember(keys: Set<string>, key: string): void {
  keys.add(key);
  if (keys.size > REMEMBERED_KEYS) keys.delete(keys.values().next().value ?? "");
}

type Known = Pick<SourceDeadLetter, "sequence" | "table" | "op">;

function letterOf(value: Buffer, place: { readonly topic: string; readonly offset: number }): Known {
  try {
    const letter = JSON.parse(value.toString()) as Known;
    return { ...letter, sequence: formatSequence(parseSequence(letter.sequence)) };
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
