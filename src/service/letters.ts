// Dead letters as an operator sees them: of a source those in its topic, of a sink those in its warehouse.
import { existsSync } from "node:fs";
import { EventDecoder, schemaIdOf } from "../avro/decoder.ts";
import { keyAsJson, rowAsJson, type JsonRow } from "../avro/row-values.ts";
import type { SinkConfig, SourceConfig } from "../config/config.ts";
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { EventLog, LogRecord } from "../core/event-log.ts";
import { formatLsn } from "../core/lsn.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { parseSequence } from "../core/sequence.ts";
import type { KeptLetter } from "../core/warehouse.ts";
import { openWarehouse } from "../parts.ts";
import { deadLetterTopic } from "../source/dead-letters.ts";

export type Letter = {
  /** What `dlq show` takes. */
  readonly id: string;
  /** Of a source the table, of a sink the topic. */
  readonly of: string;
  /** null: its schema can't be had, or the key itself is what no event can hold. */
  readonly key: JsonRow | null;
  readonly sequence: string;
  /** Of the commit. */
  readonly lsn: string;
  readonly code: string;
  readonly reason: string;
  /** When it was set aside, ISO 8601. */
  readonly time: string;
  /** Of a sink's letter: `open` or `superseded`. */
  readonly state: string | null;
};

/** With all that is kept of its event. */
export type WholeLetter = Letter & {
  readonly op: string | null;
  readonly before: JsonRow | null;
  readonly after: JsonRow | null;
  /** Columns that the database did not send. */
  readonly unchanged: readonly string[];
  /** Why the event's values are not shown; null: they are. */
  readonly unreadable: string | null;
  /** The bytes that were set aside, in base64: a sink's event, Avro in Confluent's frame; a source's pgoutput message or COPY row. */
  readonly bytes: string;
};

/** `log` null: there is none yet. */
export type LetterParts = { readonly log: EventLog | null; readonly registry: Pick<SchemaRegistry, "schema"> };

/** Letters that are listed at most: the last ones. */
export const LISTED_LETTERS = 100;
/** Offsets of a source's topic that one read asks for, bytes. */
const READ_BYTES = 4 << 20;

/** The last LISTED_LETTERS of a source, or those open ones of a sink, by sequence. Throws what log, registry or warehouse throw. */
export async function listLetters(
  connector: SourceConfig | SinkConfig,
  { log, registry }: LetterParts,
  signal: AbortSignal,
): Promise<readonly Letter[]> {
  if (connector.kind === "source") {
    const records = log === null ? [] : await readLast(log, deadLetterTopic(connector.topics.prefix), signal);
    return Promise.all(records.map(async (record) => brief(await sourceLetter(record, registry, signal))));
  }
  const kept = await sinkLetters(connector, null, signal);
  return Promise.all(kept.map(async (letter) => brief(await sinkLetter(letter, registry, signal))));
}

/** The letter that the list gives this id. Throws USAGE when there is none, and as listLetters(). */
export async function findLetter(
  connector: SourceConfig | SinkConfig,
  id: string,
  { log, registry }: LetterParts,
  signal: AbortSignal,
): Promise<WholeLetter> {
  const none = new TailraceError("USAGE", { problem: `${connector.name} has no dead letter ${id}: tailrace dlq list names them` });
  if (connector.kind === "source") {
    if (!/^\d{1,15}$/.test(id) || log === null) throw none;
    const topic = deadLetterTopic(connector.topics.prefix);
    const offset = Number(id);
    const [range] = (await log.topics([topic], signal)).length === 0 ? [] : await log.offsets(topic, signal);
    if (range === undefined || offset < range.start || offset >= range.end) throw none;
    const { records } = await log.read({ topic, partition: 0, offset }, READ_BYTES, signal);
    const record = records.find((one) => one.offset === offset);
    if (record === undefined) throw none;
    return sourceLetter(record, registry, signal);
  }
  const [, topic, partition, offset] = /^(.+):(\d{1,9}):(\d{1,15})$/.exec(id) ?? [];
  if (topic === undefined) throw none;
  const [letter] = await sinkLetters(connector, { topic, partition: Number(partition), offset: Number(offset) }, signal);
  if (letter === undefined) throw none;
  return sinkLetter(letter, registry, signal);
}

async function readLast(log: EventLog, topic: string, signal: AbortSignal): Promise<readonly LogRecord[]> {
  const [range] = (await log.topics([topic], signal)).length === 0 ? [] : await log.offsets(topic, signal);
  const records: LogRecord[] = [];
  if (range === undefined) return records;
  for (let offset = Math.max(range.start, range.end - LISTED_LETTERS); offset < range.end;) {
    const fetched = await log.read({ topic, partition: 0, offset }, READ_BYTES, signal);
    records.push(...fetched.records);
    if (fetched.next <= offset) break;
    offset = fetched.next;
  }
  return records;
}

async function sinkLetters(
  config: SinkConfig,
  place: { readonly topic: string; readonly partition: number; readonly offset: number } | null,
  signal: AbortSignal,
): Promise<readonly KeptLetter[]> {
  const { warehouse } = config;
  if (warehouse.kind === "duckdb" && !existsSync(warehouse.path)) return []; // opening it would make it
  await using opened = openWarehouse(config);
  await using session = await opened.open(signal);
  return await session.letters(config.name, { place, limit: LISTED_LETTERS });
}

/** What encodeDeadLetter() has written. */
type SourceValue = {
  readonly table: string;
  readonly op: string;
  readonly sequence: string;
  readonly code: string;
  readonly message: string;
  readonly pgoutput: string;
};

async function sourceLetter(record: LogRecord, registry: LetterParts["registry"], signal: AbortSignal): Promise<WholeLetter> {
  const { offset, key, timestamp } = record;
  const value = JSON.parse(record.value?.toString() ?? "{}") as SourceValue;
  return {
    id: String(offset),
    of: value.table,
    key: await readKey(key, registry, signal),
    sequence: value.sequence,
    lsn: lsnOf(value.sequence),
    code: value.code,
    reason: value.message,
    time: new Date(timestamp).toISOString(),
    state: null,
    op: value.op,
    before: null,
    after: null,
    unchanged: [],
    unreadable: "no event can hold them; `bytes` has what PostgreSQL sent",
    bytes: value.pgoutput,
  };
}

async function sinkLetter(letter: KeptLetter, registry: LetterParts["registry"], signal: AbortSignal): Promise<WholeLetter> {
  const { topic, partition, offset, key, value, sequence, code, message, createdMs, state } = letter;
  const event = { op: null, before: null, after: null, unchanged: [], ...(await readEvent(value, registry, signal)) };
  return {
    id: `${topic}:${partition}:${offset}`,
    of: topic,
    key: await readKey(key, registry, signal),
    sequence,
    lsn: lsnOf(sequence),
    code,
    reason: message,
    time: new Date(createdMs).toISOString(),
    state,
    ...event,
    bytes: value?.toString("base64") ?? "",
  };
}

/** A letter whose schema is gone is shown all the same; a registry that does not answer is an error. */
async function readKey(key: Buffer | null, registry: LetterParts["registry"], signal: AbortSignal): Promise<JsonRow | null> {
  if (key === null) return null;
  try {
    return keyAsJson(await registry.schema(schemaIdOf(key), signal), key);
  } catch (cause) {
    if (isOurs(cause)) return null;
    throw cause;
  }
}

type Event = Pick<WholeLetter, "unreadable"> & Partial<Pick<WholeLetter, "op" | "before" | "after" | "unchanged">>;

async function readEvent(value: Buffer | null, registry: LetterParts["registry"], signal: AbortSignal): Promise<Event> {
  if (value === null) return { unreadable: "it has none" };
  try {
    const decoder = new EventDecoder(await registry.schema(schemaIdOf(value), signal));
    decoder.decode(value);
    const { columns } = decoder.shape;
    const row = (at: number): JsonRow | null => rowAsJson(columns, decoder.rows, value, at);
    const unchanged = decoder.unchanged.map((column) => columns[column]!.name);
    return { op: decoder.op, before: row(decoder.beforeAt), after: row(decoder.afterAt), unchanged, unreadable: null };
  } catch (cause) {
    if (isOurs(cause)) return { unreadable: reasonOf(cause) };
    throw cause;
  }
}

function isOurs(cause: unknown): boolean {
  return cause instanceof TailraceError && (cause.code === "EVENT_UNREADABLE" || cause.code === "SCHEMA_UNKNOWN");
}

function lsnOf(sequence: string): string {
  return formatLsn(parseSequence(sequence).commitLsn);
}

function brief({ id, of, key, sequence, lsn, code, reason, time, state }: WholeLetter): Letter {
  return { id, of, key, sequence, lsn, code, reason, time, state };
}
