// The catalogue of errors: every one that an operator can meet, with a stable code, what happened, what to do, and who moves next.
// docs/errors.md is generated from this catalogue (a test compares the two).

/**
 * Who moves next. `auto`: Tailrace retries with backoff, forever and visibly. `operator`: the connector stops until the
 * cause is mended and it is started again. `never`: the input itself is wrong and the same input fails again.
 */
export type Retry = "auto" | "operator" | "never";

export type ErrorEntry = {
  /** What happened; `{name}` stands for a parameter. */
  readonly what: string;
  /** What to do about it, one or two sentences. */
  readonly remedy: string;
  readonly retry: Retry;
};

/** Of a gap: the source heals it by itself (source/start.ts), unless its mode forbids that. */
const HEALS =
  "with snapshot.mode initial this heals by itself: a new epoch, and every table is read again; with no_data set mode: initial and reload";
/** The same where the slot has to be made anew. */
const HEALS_ANEW =
  "with snapshot.mode initial this heals by itself: a new slot, a new epoch, and every table is read again; with no_data or create: false set mode: initial and create: true, and reload";
/** Of a log that is not the one that a sink has merged from. */
const ANOTHER_SINK = "give the sink another name and other targets, and it merges all that the log holds";

export const errors = {
  // configuration and usage
  CONFIG_INVALID: {
    what: "the configuration has {count} problem(s)",
    remedy: "mend each place named and run `tailrace check` again",
    retry: "never",
  },
  SECRET_UNREADABLE: {
    what: "{path} of {owner} can't be read any more: {reason}",
    remedy: "put the variable or file back; it is read again at every attempt",
    retry: "auto",
  },
  USAGE: { what: "{problem}", remedy: "see `tailrace --help`", retry: "never" },
  // the source database
  DATABASE_UNREACHABLE: {
    what: "PostgreSQL at {address} does not answer: {reason}",
    remedy: "start the server or correct postgres.url; Tailrace goes on by itself",
    retry: "auto",
  },
  DATABASE_LOGIN: {
    what: "PostgreSQL at {address} refuses the login of user {user}: {reason}",
    remedy: "correct the user, password or pg_hba.conf; the url is read again at every attempt",
    retry: "auto",
  },
  STATEMENT_GIVEN_UP: {
    what: "PostgreSQL gave up a statement: {reason}",
    remedy:
      "none needed when it passes: Tailrace tries again; else find who holds the lock, or what loads the server (pg_locks, pg_stat_activity)",
    retry: "auto",
  },
  SERVER_EXHAUSTED: {
    what: "PostgreSQL at {address} has run out of something: {reason}",
    remedy: "free disk or memory on the server, as it says; Tailrace goes on by itself",
    retry: "auto",
  },
  CONNECTION_LIMIT: {
    what: "PostgreSQL at {address} takes no further connection: {reason}",
    remedy: "raise max_connections, or the CONNECTION LIMIT of the role or database that it names, or end connections that nobody uses",
    retry: "auto",
  },
  WAL_LEVEL: {
    what: "wal_level is {seen}, logical decoding needs logical",
    remedy: "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL",
    retry: "auto",
  },
  SERVER_TOO_OLD: {
    what: "PostgreSQL {seen} is too old",
    remedy: "Tailrace needs PostgreSQL 14 or later",
    retry: "operator",
  },
  DATABASE_ENCODING: {
    what: "database {database} has the encoding SQL_ASCII, so that nothing says how its text is to be read",
    remedy:
      "move it to a database of a real encoding (createdb -T template0 -E UTF8, then pg_dump and pg_restore) and point postgres.url there",
    retry: "operator",
  },
  NOT_PRIMARY: {
    what: "PostgreSQL at {address} is a standby in recovery: a publication and the marks of snapshots need the primary",
    remedy: "point postgres.url at the primary",
    retry: "auto",
  },
  PRIVILEGE_MISSING: {
    what: "user {user} lacks {privilege}",
    remedy: "run as an administrator: {grant}",
    retry: "auto",
  },
  TABLE_MISSING: {
    what: "table {table} does not exist",
    remedy: "create it, or take it out of the source's tables",
    retry: "auto",
  },
  TABLE_WITHOUT_KEY: {
    what: "table {table} has no usable key ({reason}); published, its UPDATE and DELETE would fail in the application",
    remedy:
      "add a primary key that is not deferrable, or ALTER TABLE {table} REPLICA IDENTITY USING INDEX … / FULL; or take it out of the source's tables",
    retry: "auto",
  },
  TABLE_UNSUPPORTED: {
    what: "table {table} can't be captured: {reason}",
    remedy: "take it out of the source's tables",
    retry: "operator",
  },
  COLUMN_AS: {
    what: "column {column} of {table} can't be read as the configuration has it (`as`): {reason}; allowed: {allowed}",
    remedy: "correct `as` in the source's tables (docs/types.md says what can be read as what)",
    retry: "auto",
  },
  NAME_COLLISION: {
    what: "{first} and {second} would both be called {name}",
    remedy: "rename one, or capture them through two sources with different topics.prefix",
    retry: "operator",
  },
  // slot and publication
  SLOT_MISSING: {
    what: "replication slot {slot} is gone; changes after {lsn} may be lost",
    remedy: HEALS_ANEW,
    retry: "operator",
  },
  SLOT_NOT_MADE: {
    what: "replication slot {slot} does not exist and create is false",
    remedy: "SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput');",
    retry: "auto",
  },
  SLOT_FOREIGN: {
    what: "replication slot {slot} is not ours to read: {reason}",
    remedy: "name another slot in postgres.slot, or drop this one if nobody needs it",
    retry: "auto",
  },
  SLOT_ACTIVE: {
    what: "replication slot {slot} is in use by PID {pid} ({application})",
    remedy: "stop the other reader; Tailrace waits for it",
    retry: "auto",
  },
  SLOT_WAITS: {
    what: "replication slot {slot} can't be made while an older transaction is open: {holder}",
    remedy: "let it end, or end it (SELECT pg_terminate_backend(…), ROLLBACK PREPARED …); Tailrace tries again",
    retry: "auto",
  },
  SLOT_LOST: {
    what: "replication slot {slot} was invalidated ({reason}); changes after {lsn} are gone from the WAL",
    remedy: `raise max_slot_wal_keep_size, or it comes again; ${HEALS_ANEW}`,
    retry: "operator",
  },
  SLOT_AHEAD: {
    what: "replication slot {slot} is confirmed up to {confirmed}, but only {recorded} was recorded: somebody else moved it, changes between are lost",
    remedy: `let nobody else move the slot; ${HEALS}`,
    retry: "operator",
  },
  SLOT_LIMIT: {
    what: "PostgreSQL has no free {what}",
    remedy: "raise {setting} and restart PostgreSQL, or drop a slot that nobody uses",
    retry: "auto",
  },
  ANOTHER_DATABASE: {
    what: "this is another database cluster than before: {reason}",
    remedy:
      'point postgres.url at the old cluster if this one is not meant: nothing was touched here. If it is, write postgres.system_id: "{id}" and reload: the source then begins anew here, with a new slot and a new epoch, reads every table again, and the targets lose the rows that it does not have',
    retry: "operator",
  },
  ANOTHER_HISTORY: {
    what: "the server's history is not the one that this source has published: {reason}",
    remedy: HEALS_ANEW,
    retry: "operator",
  },
  WAL_REWOUND: {
    what: "the server's WAL ends at {end}, without the last published commit, which began at {published}: it was restored from a backup or failed over with loss",
    remedy: HEALS_ANEW,
    retry: "operator",
  },
  PUBLICATION_CHANGED: {
    what: "publication {publication} is not the one this source streamed from: {difference}",
    remedy: `${HEALS_ANEW}; when one table was left out for a while, that table alone is read again`,
    retry: "operator",
  },
  PUBLICATION_MISSING: {
    what: "publication {publication} is missing",
    remedy: HEALS_ANEW,
    retry: "operator",
  },
  PUBLICATION_NOT_MADE: {
    what: "publication {publication} does not serve this source: {reason}",
    remedy: "run as the tables' owner: {sql}",
    retry: "auto",
  },
  PUBLICATION_WAITS: {
    what: "table {table} can't be added to publication {publication} while it is locked by {holder}",
    remedy: "let it end (VACUUM, CREATE INDEX CONCURRENTLY, ALTER TABLE), or end it (SELECT pg_terminate_backend(…)); Tailrace tries again",
    retry: "auto",
  },
  OPTIONS_CHANGED: {
    what: "the stream's options changed ({difference}) while changes are not yet acknowledged; the numbering would change",
    remedy: `${HEALS}, or go back to the former publication name, let the source drain, and change it then`,
    retry: "operator",
  },
  STREAM_LOST: {
    what: "the replication stream ended: {reason}",
    remedy: "none needed: Tailrace connects again",
    retry: "auto",
  },
  STREAM_PROTOCOL: {
    what: "a pgoutput message can't be read: {reason}",
    remedy: "report it with the PostgreSQL version; nothing was acknowledged",
    retry: "operator",
  },
  // snapshots
  GAP_FOUND: {
    what: "changes are missing ({reason})",
    remedy: "none needed: the source begins anew behind the gap and reads the tables concerned again",
    retry: "auto",
  },
  TABLES_ADDED: {
    what: "the selection matches tables that are not captured yet: {tables}",
    remedy: "none needed: the source begins a new session, which publishes them and, unless snapshot.mode is no_data, reads them",
    retry: "auto",
  },
  ROWS_CHANGED: {
    what: "rows of table {table} changed without events: {change}",
    remedy:
      "none needed with snapshots: the table is read again by itself; with snapshot.mode no_data set mode: initial and reload, then: tailrace snapshot SOURCE TABLE",
    retry: "auto",
  },
  TABLE_LOCKED: {
    what: "table {table} can't be read while it is locked by {holder}",
    remedy: "let it end, or end it (SELECT pg_terminate_backend(…), ROLLBACK PREPARED …); Tailrace tries again",
    retry: "auto",
  },
  SNAPSHOT_SLOW: {
    what: "reading rows of table {table} was given up: {reason}",
    remedy:
      "none needed: Tailrace reads them again in smaller chunks; when it goes on, lower snapshot.chunk_rows or free the server of other load",
    retry: "auto",
  },
  STREAM_ROW_WIDE: {
    what: "PostgreSQL can't send a change behind LSN {lsn} of slot {slot}, which is larger than 1 GiB: {reason}",
    remedy:
      "under REPLICA IDENTITY FULL an UPDATE is sent with its former values: ALTER TABLE … REPLICA IDENTITY DEFAULT for tables of such rows; the slot can't pass the change: with snapshot.mode initial SELECT pg_drop_replication_slot('{slot}'), and tailrace resume: a slot is made, and the tables are read again",
    retry: "operator",
  },
  SNAPSHOT_ROW_WIDE: {
    what: "table {table} has a row that PostgreSQL can't send: {reason}",
    remedy:
      "make the row smaller than 1 GiB, give a table without a key one, or leave a column out of the publication; the other tables go on",
    retry: "operator",
  },
  SNAPSHOT_REFUSED: {
    what: "PostgreSQL refuses to read rows of table {table}: {reason}",
    remedy: "mend what is named; Tailrace reads the rows again",
    retry: "auto",
  },
  SNAPSHOT_LOST: {
    what: "the snapshot that table {table} is read under is lost: {reason}",
    remedy: "none needed: Tailrace begins the table again under a new one",
    retry: "auto",
  },
  SCHEMA_CHANGED: {
    what: "table {table} changed its shape: {difference}",
    remedy:
      "restore the shape until its rows are read; or let the table have a version of its own (schema_changes.incompatible: version), or start it under a new source",
    retry: "operator",
  },
  SCHEMA_REFUSED: {
    what: "the new schema of table {table} is refused ({difference}): {words}",
    remedy:
      "undo the change in PostgreSQL if no row was written since; or let readers have it: {commands}; then tailrace resume DIR {source} (curl with the registry's login where it has one)",
    retry: "operator",
  },
  TABLE_VERSIONED: {
    what: "table {table} begins version {version}, whose events go to topic {topic}: its new schema is refused ({difference}): {words}",
    remedy:
      "none needed: the source begins a new session, which makes the topic and, unless snapshot.mode is no_data, reads the table into it; who reads the topic or the targets of before has to go on with those of this version",
    retry: "auto",
  },
  STILL_REFUSED: {
    what: "table {table} stays parked: a schema that its events have is refused ({difference}): {words}",
    remedy: "let readers have it: {commands}; then tailrace unpark DIR {source} {table} (curl with the registry's login where it has one)",
    retry: "operator",
  },
  SOURCE_NOT_STREAMING: {
    what: "source {source} does not stream now ({state}), and this is asked of one that does",
    remedy: "wait until `tailrace status` says running, resume it if it is paused, and ask again",
    retry: "auto",
  },
  // the log
  LOG_UNREACHABLE: {
    what: "the log does not answer: {reason}",
    remedy: "start the brokers or correct log.kafka (embedded: free the disk or mend the folder named); Tailrace goes on by itself",
    retry: "auto",
  },
  LOG_LOGIN: {
    what: "the log refuses the login: {reason}",
    remedy: "correct log.kafka.ssl or log.kafka.sasl; credentials are read again at every attempt",
    retry: "auto",
  },
  LOG_REFUSED: {
    what: "the log refuses a batch for {topic} partition {partition}: {reason}",
    remedy: "mend what is named; Tailrace tries again",
    retry: "auto",
  },
  LOG_DENIED: {
    what: "the log refuses to {operation}: {reason}",
    remedy: "mend what is named (an ACL, a limit, the replication factor); Tailrace tries again",
    retry: "auto",
  },
  LOG_CODEC: {
    what: "the log holds compressed batches that Node.js {version} can't read: {reason}",
    remedy: "run on Node.js 22.15 or later, which has zstd, or set compression.type=producer on the topic and produce with another codec",
    retry: "operator",
  },
  LOG_LOCKED: {
    what: "the embedded log at {path} is in use by another process (PID {pid})",
    remedy: "stop the other process, or give this one another log.embedded.path",
    retry: "auto",
  },
  LOG_CORRUPT: {
    what: "the log holds bytes that can't be read at {topic} partition {partition} offset {offset}: {reason}",
    remedy: "restore the topic from a replica or a backup; nothing after that offset is used",
    retry: "operator",
  },
  TOPIC_MISSING: {
    what: "topic {topic} does not exist and topics.create is false",
    remedy: "create it with {partitions} partition(s), or set topics.create: true",
    retry: "auto",
  },
  TOPIC_LOST: {
    what: "topic {topic} was deleted or made again: {reason}; events that were acknowledged are gone",
    remedy: `of a source: ${HEALS}. Of a sink: resume it when the source streams again; after a log that was replaced, ${ANOTHER_SINK}`,
    retry: "operator",
  },
  TOPIC_PARTITIONS: {
    what: "topic {topic} is expected to have {expected} partitions, but {difference}",
    remedy: "make topics.partitions and the topic agree; moving keys between partitions comes in a later version",
    retry: "operator",
  },
  TABLE_GAP: {
    what: "topic {topic} of table {table} holds events, but the source did not capture the table until now",
    remedy: "with snapshot.mode initial the table is read again by itself; with no_data set mode: initial and reload",
    retry: "operator",
  },
  TOPIC_COMPACTED: {
    what: "data topic {topic} has cleanup.policy={policy}; compaction would remove changes that the sinks need",
    remedy: "set cleanup.policy=delete on the topic",
    retry: "auto",
  },
  SECOND_WRITER: {
    what: "another writer appended to {topic} partition {partition}: expected offset {expected}, got {seen}",
    remedy: "make sure that one Tailrace only runs this source; it reads the tails again and goes on",
    retry: "auto",
  },
  STATE_MISSING: {
    what: "the source's state in {topic} is missing, but {evidence}",
    remedy: HEALS,
    retry: "operator",
  },
  STATE_BEHIND: {
    what: "the log holds events of epoch {seen}, which the source's state does not know of (it says epoch {state})",
    remedy: HEALS,
    retry: "operator",
  },
  // the registry
  REGISTRY_UNREACHABLE: {
    what: "the schema registry at {address} does not answer: {reason}",
    remedy: "start it or correct registry.url; Tailrace goes on by itself",
    retry: "auto",
  },
  REGISTRY_LOGIN: {
    what: "the schema registry at {address} refuses the login: {reason}",
    remedy: "correct registry.auth; it is read again at every attempt",
    retry: "auto",
  },
  REGISTRY_REFUSED: {
    what: "the schema registry refuses the schema of {subject}: {reason}",
    remedy: "make the change compatible, or set the subject's compatibility in the registry",
    retry: "operator",
  },
  SCHEMA_UNKNOWN: {
    what: "the schema of id {id} can't be had from the registry at {address}: {reason}",
    remedy: "point registry.url at the registry that the events were written with",
    retry: "operator",
  },
  EVENT_UNREADABLE: {
    what: "an event can't be read: {reason}",
    remedy:
      "find out who else writes to the topic, or read it with the version that wrote it; the way past a foreign record is in docs/operations.md",
    retry: "operator",
  },
  // values
  VALUE_OUT_OF_RANGE: {
    what: "column {column} holds a value that its Avro type can't: {reason}",
    remedy:
      "correct the row: its next event supersedes this one, and the row is read again where that leaves large columns unsent; the event is in the dead-letter topic with its key and sequence",
    retry: "never",
  },
  COMPOSITE_CHANGED: {
    what: "column {column} holds a composite of another shape than its type has: {reason}",
    remedy:
      "none needed where snapshots are made: after an ALTER TYPE the table is read again, which supersedes the event; else touch the row. The event is in the dead-letter topic with its key and sequence",
    retry: "never",
  },
  ROW_TOO_LARGE: {
    what: "an event of {bytes} bytes is larger than the log takes ({limit} bytes)",
    remedy: "raise max.message.bytes of the topic and the brokers; the event is in the dead-letter topic with its key and sequence",
    retry: "never",
  },
  BEHIND_DEAD_LETTER: {
    what: "an event before this one of the row is a dead letter, and this one leaves columns {columns} unsent (unchanged TOAST)",
    remedy:
      "with snapshot.mode initial the source reads such rows again by itself; with no_data update the row's large columns once (SET col = col || ''); the event is in the dead-letter topic",
    retry: "never",
  },
  KEY_CHANGE_UNSENT: {
    what: "the row's key changed and columns {columns} were not sent (unchanged TOAST)",
    remedy:
      "with snapshot.mode initial the source reads such rows again by itself; with no_data update the row's large columns once (SET col = col || ''); the event is in the dead letters",
    retry: "never",
  },
  // the sink and its warehouse
  WAREHOUSE_UNREACHABLE: {
    what: "the warehouse {warehouse} does not answer: {reason}",
    remedy: "start it or correct the sink's warehouse; Tailrace goes on by itself",
    retry: "auto",
  },
  WAREHOUSE_LOGIN: {
    what: "the warehouse {warehouse} refuses the login: {reason}",
    remedy: "correct the sink's warehouse; the credentials are read again at every attempt",
    retry: "auto",
  },
  WAREHOUSE_PRIVILEGE: {
    what: "user {user} lacks {privilege} (warehouse {warehouse})",
    remedy: "run as an administrator: {grant}",
    retry: "auto",
  },
  WAREHOUSE_LOCKED: {
    what: "the DuckDB file {path} is held by another process{holder}",
    remedy: "close the other connection; Tailrace waits for it",
    retry: "auto",
  },
  WAREHOUSE_REFUSED: {
    what: "the warehouse {warehouse} refuses a statement: {reason}",
    remedy: "mend what is named; the checkpoint has not moved",
    retry: "auto",
  },
  ROW_REFUSED: {
    what: "target {target} refuses a row: {reason}",
    remedy: "the event is in the sink's dead letters; mend the row at the source or the target's constraint",
    retry: "never",
  },
  TARGET_REFUSES: {
    what: "target {target} takes none of the {rows} rows of a flush; {asked} were tried one by one, the first is refused with: {reason}",
    remedy:
      "a constraint, trigger or type of the target keeps every row out: mend it, then resume the sink, nothing is lost; or pause that table of the sink first (tailrace pause DIR SINK TABLE), the others then go on",
    retry: "operator",
  },
  UNCHANGED_WITHOUT_ROW: {
    what: "columns {columns} were not sent (unchanged TOAST) and target {target} has no row to keep them from",
    remedy:
      "read the row again (tailrace snapshot DIR SOURCE TABLE --where …), or update its large columns once (SET col = col || ''); the event is in the sink's dead letters",
    retry: "never",
  },
  AWAITS_SNAPSHOT: {
    what: "columns {columns} were not sent (unchanged TOAST); a snapshot brings the row to target {target}",
    remedy: "none needed: the event is kept until the row comes",
    retry: "auto",
  },
  TARGET_DIFFERS: {
    what: "target {target} does not fit: {difference}",
    remedy: "run: {sql}; or name another table in `into`",
    retry: "operator",
  },
  CHECKPOINT_MOVED: {
    what: "another worker moved the checkpoint of {topic} partition {partition}",
    remedy: "run one worker a sink; it starts again from the checkpoint",
    retry: "auto",
  },
  CHECKPOINT_AHEAD: {
    what: "the checkpoint of sink {sink} is of epoch {checkpoint}, the log's events are of epoch {seen}",
    remedy: `the log was replaced by an older or an empty one: restore it, or ${ANOTHER_SINK}`,
    retry: "operator",
  },
  LOG_GAP: {
    what: "{topic} partition {partition} starts at offset {start}, the sink needs {needed}",
    remedy: `after retention: with snapshot.mode initial the sink has its source read the table again by itself; with no_data set mode: initial, reload, and resume the sink. A log that ends too early was replaced: restore it, or ${ANOTHER_SINK}`,
    retry: "operator",
  },
  GROUP_TAKEN: {
    what: "another worker holds partitions of sink {sink}",
    remedy: "run one worker a sink; Tailrace waits for the partitions",
    retry: "auto",
  },
  HTTP_ADDRESS: {
    what: "the HTTP server can't listen on {address}: {reason}",
    remedy: "free the port, or set http.listen to an address of this machine and a free port",
    retry: "operator",
  },
  CONTROL_SOCKET: {
    what: "the control socket {path} can't be made: {reason}",
    remedy: "mend what is named, or set TAILRACE_DATA to another data folder",
    retry: "operator",
  },
  SERVICE_ABSENT: {
    what: "no service answers for {dir}: {reason}",
    remedy: "is `tailrace run {dir}` running, as this user and with the same TAILRACE_DATA? Start it, then try again",
    retry: "operator",
  },
  PAUSES_UNREADABLE: {
    what: "{path}, which holds what an operator has paused, can't be used: {reason}",
    remedy: "mend the file or its folder; deleting the file resumes everything",
    retry: "operator",
  },
  QUICKSTART_FAILED: {
    what: "the quickstart failed: {reason}",
    remedy: "mend what is named (tailrace.log in its folder says more), or stop it and delete that folder to begin anew",
    retry: "never",
  },
  UNEXPECTED: {
    what: "{reason}",
    remedy: "report it with the log lines before it; Tailrace tries again",
    retry: "auto",
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errors;
