// The mark: a transactional logical message that gives a chunk, or the beginning of a snapshot, its place in the stream.
import { quoteLiteral, type Session } from "./session.ts";

export type Mark = {
  /** The source's name: others may write marks to the same database. */
  readonly source: string;
  /** Random, of one attempt: a chunk that is read twice must not meet its first mark. */
  readonly nonce: string;
  readonly kind: "opening" | "chunk";
};

/* Message ::= prefix 'tailrace'  content JSON { "source": text, "nonce": text, "kind": "opening" | "chunk" }
 * as pg_logical_emit_message(true, prefix, content) writes and pgoutput's Message brings it. */
const PREFIX = "tailrace";
const PREFIX_BYTES = Buffer.from(PREFIX, "latin1");

export function encodeMark({ source, nonce, kind }: Mark): string {
  return JSON.stringify({ source, nonce, kind });
}

/** A message's prefix and content, by place: what PgoutputReader has of it. */
export type MessagePlace = {
  readonly prefixStart: number;
  readonly prefixLength: number;
  readonly contentStart: number;
  readonly contentLength: number;
};

/** The mark that a message is; null for anybody else's message. */
export function readMark(bytes: Buffer, place: MessagePlace): Mark | null {
  const { prefixStart, prefixLength, contentStart, contentLength } = place;
  if (prefixLength !== PREFIX_BYTES.length || bytes.compare(PREFIX_BYTES, 0, prefixLength, prefixStart, prefixStart + prefixLength) !== 0)
    return null;
  const { source, nonce, kind } = parse(bytes.toString("utf8", contentStart, contentStart + contentLength));
  if (typeof source !== "string" || typeof nonce !== "string" || (kind !== "opening" && kind !== "chunk")) return null;
  return { source, nonce, kind };
}

/** The statement that writes a mark into the current transaction. */
export function markSql(mark: Mark): string {
  return `SELECT pg_logical_emit_message(true, '${PREFIX}', ${quoteLiteral(encodeMark(mark))})`;
}

/** Writes a mark in a transaction of its own; resolves when it is committed and on this server's disk. */
export async function writeMark(session: Session, mark: Mark): Promise<void> {
  await session.query(markSql(mark));
}

function parse(text: string): Partial<Record<keyof Mark, unknown>> {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {}; // somebody else's, who liked our prefix
  }
}
