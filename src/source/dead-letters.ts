// The source's dead letters: rows whose values no event can hold, set aside in `<prefix>.dead_letters`.
import type { TailraceError } from "../core/errors.ts";
import type { TopicSpec } from "../core/event-log.ts";

export type SourceDeadLetter = {
  readonly table: string;
  readonly op: "c" | "u" | "d" | "t";
  /** Text form. */
  readonly sequence: string;
  /** The framed key, null when the key itself is what no event can hold. */
  readonly key: Buffer | null;
  /** The pgoutput message. */
  readonly message: Buffer;
  readonly error: TailraceError;
};

export function deadLetterTopic(prefix: string): string {
  return `${prefix}.dead_letters`;
}

export function deadLetterTopicSpec(prefix: string, replication: number): TopicSpec {
  return { name: deadLetterTopic(prefix), partitions: 1, replication, configs: { "cleanup.policy": "delete" } };
}

/** Bytes of a pgoutput message that are kept: a row too large for the log can't be in a record either. */
const MESSAGE_BYTES = 256 * 1024;

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
