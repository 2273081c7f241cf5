// The tables of schema _tailrace in DuckDB, and the statements on them. Pure text.
import { KEPT_RUNS, type CheckpointMove, type LetterFloor } from "../../core/warehouse.ts";
import { quoteText } from "../sql-text.ts";
import { STATE, WAREHOUSE } from "./dialect.ts";

/** Makes the schema and its tables where they are missing. */
export const createState: readonly string[] = [
  `CREATE SCHEMA IF NOT EXISTS ${STATE}`,
  `CREATE TABLE IF NOT EXISTS ${STATE}.workers (
  sink VARCHAR PRIMARY KEY,
  fence BIGINT NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS ${STATE}.checkpoints (
  sink VARCHAR NOT NULL,
  topic VARCHAR NOT NULL,
  partition INTEGER NOT NULL,
  topic_id VARCHAR NOT NULL,
  next_offset BIGINT NOT NULL,
  sequence VARCHAR NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
  PRIMARY KEY (sink, topic, partition)
)`,
  `CREATE TABLE IF NOT EXISTS ${STATE}.runs (
  sink VARCHAR NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
  events BIGINT NOT NULL,
  merged BIGINT NOT NULL,
  dead_letters BIGINT NOT NULL,
  first_sequence VARCHAR NOT NULL,
  last_sequence VARCHAR NOT NULL
)`,
  // No primary key: a key may be deleted, inserted and deleted again, and DuckDB's indexes live in memory.
  `CREATE TABLE IF NOT EXISTS ${STATE}.tombstones (
  target_schema VARCHAR NOT NULL,
  target_name VARCHAR NOT NULL,
  key BLOB NOT NULL,
  sequence VARCHAR NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS ${STATE}.floors (
  target_schema VARCHAR NOT NULL,
  target_name VARCHAR NOT NULL,
  sequence VARCHAR NOT NULL,
  PRIMARY KEY (target_schema, target_name)
)`,
  `CREATE TABLE IF NOT EXISTS ${STATE}.dead_letters (
  sink VARCHAR NOT NULL,
  topic VARCHAR NOT NULL,
  partition INTEGER NOT NULL,
  log_offset BIGINT NOT NULL,
  key_body BLOB,
  sequence VARCHAR NOT NULL,
  code VARCHAR NOT NULL,
  message VARCHAR NOT NULL,
  key BLOB,
  value BLOB,
  state VARCHAR NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  closed_at TIMESTAMP WITH TIME ZONE,
  PRIMARY KEY (sink, topic, partition, log_offset)
)`,
];

export const raiseFence = `INSERT INTO ${STATE}.workers AS w VALUES ($1, 1) ON CONFLICT (sink) DO UPDATE SET fence = w.fence + 1 RETURNING fence`;

export const readFence = `SELECT fence FROM ${STATE}.workers WHERE sink = $1`;

export const readCheckpoints = `SELECT topic, partition, topic_id, next_offset, sequence FROM ${STATE}.checkpoints WHERE sink = $1 ORDER BY topic, partition`;

/** $1 sink. Of letters without a key no event is the next. */
export const readOpenKeys = `SELECT topic, key_body, max(sequence) AS last, coalesce(max(sequence) FILTER (WHERE code <> 'AWAITS_SNAPSHOT'), '') AS last_dead
FROM ${STATE}.dead_letters WHERE sink = $1 AND state = 'open' AND key_body IS NOT NULL GROUP BY topic, key_body`;

/** $1 sink, $2 how many. */
export const listLetters = `SELECT topic, partition, log_offset, key_body, sequence, code, message, key, NULL::BLOB AS value, state,
  epoch_ms(created_at) AS created_ms FROM ${STATE}.dead_letters WHERE sink = $1 AND state = 'open' AND code <> 'AWAITS_SNAPSHOT'
ORDER BY sequence DESC, topic, partition, log_offset LIMIT $2`;

/** $1 sink, $2 topic, $3 partition, $4 offset. */
export const findLetter = `SELECT topic, partition, log_offset, key_body, sequence, code, message, key, value, state,
  epoch_ms(created_at) AS created_ms FROM ${STATE}.dead_letters WHERE sink = $1 AND topic = $2 AND partition = $3 AND log_offset = $4`;

/** All views: what two names have in common DuckDB's functions judge otherwise than its catalogue. */
export const findViews = `SELECT schema_name, view_name, comment FROM duckdb_views() WHERE database_name = '${WAREHOUSE}'`;

/** $1 schema and $2 name of the target. */
export const readFloor = `SELECT sequence FROM ${STATE}.floors WHERE target_schema = $1 AND target_name = $2`;

/** Of a sink that is dropped, $1; each returns the rows that it deleted. Its fence stays: a worker of before must not have that of a new one. */
export const forgetSink = {
  checkpoints: `DELETE FROM ${STATE}.checkpoints WHERE sink = $1 RETURNING topic`,
  dead_letters: `DELETE FROM ${STATE}.dead_letters WHERE sink = $1 AND state = 'open' RETURNING topic`,
} as const;

/** Whether the tables are there. */
export const findState = `SELECT 1 FROM duckdb_tables()
WHERE database_name = '${WAREHOUSE}' AND schema_name = '_tailrace' AND table_name = 'checkpoints'`;

/** R-checkpoint: the compare-and-set of places that exist and of new ones; each returns (topic, partition) of those it could move. */
export function moveCheckpoints(sink: string, moves: readonly CheckpointMove[]): readonly string[] {
  const made = moves.filter(({ expected }) => expected === null);
  const row = (move: CheckpointMove): readonly string[] => [
    quoteText(move.topic),
    String(move.partition),
    quoteText(move.topicId),
    String(move.nextOffset),
    quoteText(move.sequence),
  ];
  const known = moves.flatMap((move) =>
    move.expected === null ? [] : [[...row(move), quoteText(move.expected.topicId), String(move.expected.nextOffset)]],
  );
  const update = `UPDATE ${STATE}.checkpoints c
SET topic_id = m.topic_id, next_offset = m.next_offset, sequence = m.sequence, updated_at = now()
FROM (VALUES ${known.map((values) => `(${values.join(", ")})`).join(", ")})
  AS m(topic, partition, topic_id, next_offset, sequence, expected_id, expected)
WHERE c.sink = ${quoteText(sink)} AND c.topic = m.topic AND c.partition = m.partition AND c.topic_id = m.expected_id AND c.next_offset = m.expected
RETURNING c.topic, c.partition`;
  const insert = `INSERT INTO ${STATE}.checkpoints (sink, topic, partition, topic_id, next_offset, sequence, updated_at)
VALUES ${made.map((move) => `(${[quoteText(sink), ...row(move), "now()"].join(", ")})`).join(", ")}
ON CONFLICT DO NOTHING
RETURNING topic, partition`;
  return [...(known.length > 0 ? [update] : []), ...(made.length > 0 ? [insert] : [])];
}

export const STAGED_LETTERS_TABLE = "tailrace_letters";

/** Dead letters go through a temporary table too: a bad hour may bring many. */
export const stageLetters = `CREATE TEMP TABLE ${STAGED_LETTERS_TABLE} (topic VARCHAR, partition INTEGER, log_offset BIGINT, key_body BLOB, sequence VARCHAR, code VARCHAR, message VARCHAR, key BLOB, value BLOB)`;

export function insertLetters(sink: string): readonly string[] {
  return [
    `INSERT INTO ${STATE}.dead_letters
SELECT ${quoteText(sink)}, topic, partition, log_offset, key_body, sequence, code, message, key, value, 'open', now(), NULL
FROM temp.${STAGED_LETTERS_TABLE} ON CONFLICT DO NOTHING`,
    `DROP TABLE temp.${STAGED_LETTERS_TABLE}`,
  ];
}

export const STAGED_CLOSED_TABLE = "tailrace_closed";

export const stageClosed = `CREATE TEMP TABLE ${STAGED_CLOSED_TABLE} (topic VARCHAR, key_body BLOB, sequence VARCHAR)`;

export function closeLetters(sink: string): readonly string[] {
  const closed = `l.sink = ${quoteText(sink)} AND l.topic = c.topic AND l.key_body = c.key_body AND l.sequence < c.sequence AND l.state = 'open'`;
  return [
    `DELETE FROM ${STATE}.dead_letters l USING temp.${STAGED_CLOSED_TABLE} c WHERE ${closed} AND ${AWAITED}`,
    `UPDATE ${STATE}.dead_letters l SET state = 'superseded', closed_at = now() FROM temp.${STAGED_CLOSED_TABLE} c WHERE ${closed}`,
    `DROP TABLE temp.${STAGED_CLOSED_TABLE}`,
  ];
}

const AWAITED = "l.code = 'AWAITS_SNAPSHOT'";

/** Of all keys: those of a topic below a TRUNCATE or a sweep. */
export function closeLettersBelow(sink: string, { topic, sequence }: LetterFloor): readonly string[] {
  const closed = `l.sink = ${quoteText(sink)} AND l.topic = ${quoteText(topic)} AND l.sequence < ${quoteText(sequence)} AND l.state = 'open'`;
  return [
    `DELETE FROM ${STATE}.dead_letters l WHERE ${closed} AND ${AWAITED}`,
    `UPDATE ${STATE}.dead_letters l SET state = 'superseded', closed_at = now() WHERE ${closed}`,
  ];
}

/** $1 sink, $2 start and $3 end in ms since 1970, $4 events, $5 merged rows, $6 dead letters, $7 and $8 first and last sequence. */
export const insertRun = `INSERT INTO ${STATE}.runs VALUES ($1, make_timestamptz(CAST($2 * 1000 AS BIGINT)), make_timestamptz(CAST($3 * 1000 AS BIGINT)), $4, $5, $6, $7, $8)`;

/** $1 sink. Rows are numbered as they were inserted. */
export const pruneRuns = `DELETE FROM ${STATE}.runs WHERE rowid IN (
  SELECT rowid FROM ${STATE}.runs WHERE sink = $1 ORDER BY rowid DESC OFFSET ${KEPT_RUNS})`;
