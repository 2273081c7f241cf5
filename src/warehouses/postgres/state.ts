// The tables of schema _tailrace in PostgreSQL, and the statements on them. Pure text.
import { KEPT_RUNS } from "../../core/warehouse.ts";

/** Serializes what makes schemas and tables: two sinks that start at once would both see them missing. Held to the end of the transaction. */
export const lockDdl = "SELECT pg_advisory_xact_lock(7233182046177)";

export const findState = `SELECT n.oid IS NOT NULL AS schema, coalesce(array_agg(c.relname::text) FILTER (WHERE c.oid IS NOT NULL), '{}') AS tables
FROM (SELECT to_regnamespace('_tailrace') AS oid) n LEFT JOIN pg_class c ON c.relnamespace = n.oid
GROUP BY n.oid`;

export const createStateSchema = "CREATE SCHEMA _tailrace";

/** Table by table, so that a role that may not create can work with tables that somebody made for it. */
export const createState: Readonly<Record<string, string>> = {
  workers: `CREATE TABLE _tailrace.workers (
  sink text PRIMARY KEY,
  fence bigint NOT NULL
)`,
  checkpoints: `CREATE TABLE _tailrace.checkpoints (
  sink text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  topic_id text NOT NULL,
  next_offset bigint NOT NULL,
  sequence text COLLATE "C" NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (sink, topic, partition)
)`,
  runs: `CREATE TABLE _tailrace.runs (
  run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sink text NOT NULL,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  events bigint NOT NULL,
  merged bigint NOT NULL,
  dead_letters bigint NOT NULL,
  first_sequence text COLLATE "C" NOT NULL,
  last_sequence text COLLATE "C" NOT NULL
)`,
  tombstones: `CREATE TABLE _tailrace.tombstones (
  target_schema text NOT NULL,
  target_name text NOT NULL,
  key bytea NOT NULL,
  sequence text COLLATE "C" NOT NULL,
  PRIMARY KEY (target_schema, target_name, key)
)`,
  floors: `CREATE TABLE _tailrace.floors (
  target_schema text NOT NULL,
  target_name text NOT NULL,
  sequence text COLLATE "C" NOT NULL,
  PRIMARY KEY (target_schema, target_name)
)`,
  dead_letters: `CREATE TABLE _tailrace.dead_letters (
  sink text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  key_body bytea,
  sequence text COLLATE "C" NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  key bytea,
  value bytea,
  state text NOT NULL,
  created_at timestamptz NOT NULL,
  closed_at timestamptz,
  PRIMARY KEY (sink, topic, partition, log_offset)
);
CREATE INDEX dead_letters_open ON _tailrace.dead_letters (sink, topic, key_body) WHERE state = 'open'`,
};

export const raiseFence = `INSERT INTO _tailrace.workers AS w (sink, fence) VALUES ($1, 1)
ON CONFLICT (sink) DO UPDATE SET fence = w.fence + 1 RETURNING fence`;

/** Holds the sink's row to the end of the transaction: a worker that takes over waits for this flush or makes it fail. */
export const lockFence = "SELECT fence FROM _tailrace.workers WHERE sink = $1 FOR UPDATE";

export const readCheckpoints =
  "SELECT topic, partition, topic_id, next_offset, sequence FROM _tailrace.checkpoints WHERE sink = $1 ORDER BY topic, partition";

/** $1 sink. Of letters without a key no event is the next. */
export const readOpenKeys = `SELECT topic, key_body, max(sequence) AS last, coalesce(max(sequence) FILTER (WHERE code <> 'AWAITS_SNAPSHOT'), '') AS last_dead
FROM _tailrace.dead_letters WHERE sink = $1 AND state = 'open' AND key_body IS NOT NULL GROUP BY topic, key_body`;

/** $1 sink, $2 how many. */
export const listLetters = `SELECT topic, partition, log_offset, key_body, sequence, code, message, key, NULL::bytea AS value, state,
  extract(epoch FROM created_at) * 1000 AS created_ms FROM _tailrace.dead_letters WHERE sink = $1 AND state = 'open' AND code <> 'AWAITS_SNAPSHOT'
ORDER BY sequence DESC, topic, partition, log_offset LIMIT $2`;

/** $1 sink, $2 topic, $3 partition, $4 offset. */
export const findLetter = `SELECT topic, partition, log_offset, key_body, sequence, code, message, key, value, state,
  extract(epoch FROM created_at) * 1000 AS created_ms FROM _tailrace.dead_letters WHERE sink = $1 AND topic = $2 AND partition = $3 AND log_offset = $4`;

/** $1 schema and $2 name of the target. */
export const readFloor = "SELECT sequence FROM _tailrace.floors WHERE target_schema = $1 AND target_name = $2";

/** Of a sink that is dropped, $1; each returns the rows that it deleted. Its fence stays: a worker of before must not have that of a new one. */
export const forgetSink = {
  checkpoints: `DELETE FROM _tailrace.checkpoints WHERE sink = $1 RETURNING topic`,
  dead_letters: `DELETE FROM _tailrace.dead_letters WHERE sink = $1 AND state = 'open' RETURNING topic`,
} as const;

/** R-checkpoint: the compare-and-set of places that exist. $1 sink, then arrays: topic, partition, topic id, next offset, sequence, and what stands there: offset (null: a new place) and topic id. Returns what it could move. */
export const updateCheckpoints = `UPDATE _tailrace.checkpoints c
SET topic_id = m.topic_id, next_offset = m.next_offset, sequence = m.sequence, updated_at = now()
FROM unnest($2::text[], $3::integer[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::text[])
  AS m(topic, partition, topic_id, next_offset, sequence, expected, expected_id)
WHERE c.sink = $1 AND c.topic = m.topic AND c.partition = m.partition AND c.topic_id = m.expected_id AND c.next_offset = m.expected
RETURNING c.topic, c.partition`;

/** The same for new places, with the same parameters. */
export const insertCheckpoints = `INSERT INTO _tailrace.checkpoints (sink, topic, partition, topic_id, next_offset, sequence, updated_at)
SELECT $1, m.topic, m.partition, m.topic_id, m.next_offset, m.sequence, now()
FROM unnest($2::text[], $3::integer[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::text[])
  AS m(topic, partition, topic_id, next_offset, sequence, expected, expected_id)
WHERE m.expected IS NULL
ON CONFLICT DO NOTHING
RETURNING topic, partition`;

/** $1 sink, then arrays. */
export const insertLetters = `INSERT INTO _tailrace.dead_letters
  (sink, topic, partition, log_offset, key_body, sequence, code, message, key, value, state, created_at)
SELECT $1, m.topic, m.partition, m.log_offset, m.key_body, m.sequence, m.code, m.message, m.key, m.value, 'open', now()
FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[])
  AS m(topic, partition, log_offset, key_body, sequence, code, message, key, value)
ON CONFLICT DO NOTHING`;

/** $1 sink, $2 topics, $3 bodies of keys, $4 the sequences of the complete events. Letters that only waited for a snapshot go. */
export const closeLetters = [
  `DELETE FROM _tailrace.dead_letters l USING unnest($2::text[], $3::bytea[], $4::text[]) AS c(topic, key_body, sequence)
WHERE l.sink = $1 AND l.topic = c.topic AND l.key_body = c.key_body AND l.sequence < c.sequence COLLATE "C" AND l.state = 'open' AND l.code = 'AWAITS_SNAPSHOT'`,
  `UPDATE _tailrace.dead_letters l SET state = 'superseded', closed_at = now()
FROM unnest($2::text[], $3::bytea[], $4::text[]) AS c(topic, key_body, sequence)
WHERE l.sink = $1 AND l.topic = c.topic AND l.key_body = c.key_body AND l.sequence < c.sequence COLLATE "C" AND l.state = 'open'`,
];

/** The same of all keys: $1 sink, $2 topic, $3 the sequence of a TRUNCATE or of a sweep's opening. */
export const closeLettersBelow = [
  `DELETE FROM _tailrace.dead_letters WHERE sink = $1 AND topic = $2 AND sequence < $3 AND state = 'open' AND code = 'AWAITS_SNAPSHOT'`,
  `UPDATE _tailrace.dead_letters SET state = 'superseded', closed_at = now() WHERE sink = $1 AND topic = $2 AND sequence < $3 AND state = 'open'`,
];

/** $1 sink, $2 start in ms since 1970, $3 events, $4 merged rows, $5 dead letters, $6 and $7 first and last sequence. */
export const insertRun = `INSERT INTO _tailrace.runs (sink, started_at, finished_at, events, merged, dead_letters, first_sequence, last_sequence)
VALUES ($1, to_timestamp($2::double precision / 1000), clock_timestamp(), $3, $4, $5, $6, $7)`;

/** Runs that one flush takes away. */
const PRUNED_RUNS = 10_000;

/** Whether the role may prune: for flushes INSERT is enough, and in tables that somebody made for it it may have no more. */
export const mayPruneRuns = `SELECT has_table_privilege('_tailrace.runs', 'SELECT') AND has_table_privilege('_tailrace.runs', 'DELETE') AS may`;

/** $1 sink. */
export const pruneRuns = `DELETE FROM _tailrace.runs WHERE run_id = ANY (ARRAY(
  SELECT r.run_id FROM _tailrace.runs r
  WHERE r.sink = $1 AND r.run_id <= (SELECT k.run_id FROM _tailrace.runs k WHERE k.sink = $1 ORDER BY k.run_id DESC OFFSET ${KEPT_RUNS} LIMIT 1)
  ORDER BY r.run_id LIMIT ${PRUNED_RUNS}))`;
