// One connection to a PostgreSQL warehouse: how it is made, what its errors mean, and that it is not used after it broke.
import pg from "pg";
import { reasonOf, TailraceError } from "../../core/errors.ts";

/** MERGE came with 15. */
const OLDEST_SERVER = 150_000;

/** Bounds of one statement, ms. A merge of 100,000 rows takes seconds; a lock is waited for as long as an ALTER TABLE should last. */
export const STATEMENT_TIMEOUT_MS = 600_000;
const LOCK_TIMEOUT_MS = 30_000;
/** A worker whose machine vanished must not keep its sink's row locked for longer. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 120_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** The client's own bound, for a server that no longer answers at all, is so much longer than the server's. */
const QUERY_GRACE_MS = 30_000;
/** What pg takes for no bound: a timer can't be set for longer. */
const UNBOUNDED_MS = 2 ** 31 - 1;
/** A server's machine that vanished while a statement without bound was running is noticed by TCP, after this and 10 s. */
const KEEPALIVE_MS = 30_000;

const settings = (statementTimeoutMs: number): string => `SET standard_conforming_strings = on;
SET statement_timeout = ${statementTimeoutMs};
SET lock_timeout = ${LOCK_TIMEOUT_MS};
SET idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS};
SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS text`;
/**
 * A worker that is gone, killed or aborted, takes its statement along: what nobody waits for would hold the sink's row
 * locked for as long as it runs. Not every platform's server can do it.
 */
const NOTICE_LOST_CLIENT = "SET client_connection_check_interval = '5s'";

export type Connection = {
  readonly client: pg.Client;
  /** Bound of one statement. */
  readonly statementTimeoutMs: number;
  /** Names of staging tables that this connection has, by what they are for. */
  readonly staging: Map<string, string>;
  /** Targets that were found to fit on this connection, as JSON. */
  readonly fitting: Set<string>;
  /** Not to be used again: closed, lost, or in a state nobody knows. */
  broken: boolean;
};

/** `postgres host:port/database`, for messages. */
export function addressOf(url: string): string {
  const { host, port, database } = new pg.Client({ connectionString: url });
  return `postgres ${host}:${port}/${database ?? ""}`;
}

/** Throws WAREHOUSE_UNREACHABLE, WAREHOUSE_LOGIN, WAREHOUSE_REFUSED (a server older than 15), or the signal's reason. */
export async function connect(
  url: string,
  address: string,
  signal: AbortSignal,
  statementTimeoutMs = STATEMENT_TIMEOUT_MS,
): Promise<Connection> {
  signal.throwIfAborted();
  const client = new pg.Client({
    connectionString: url,
    application_name: "tailrace",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: statementTimeoutMs + QUERY_GRACE_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
  });
  const connection: Connection = { client, statementTimeoutMs, staging: new Map(), fitting: new Set(), broken: false };
  // Without a listener an idle connection that is lost would end the process.
  client.on("error", () => (connection.broken = true));
  client.on("end", () => (connection.broken = true));
  const abort = (): void => void close(connection);
  signal.addEventListener("abort", abort);
  try {
    await client.connect();
    const answers = (await client.query(settings(statementTimeoutMs))) as unknown as pg.QueryResult<{ number: number; text: string }>[];
    const version = answers.at(-1)?.rows[0];
    if (version === undefined || version.number < OLDEST_SERVER) {
      const reason = `it is version ${version?.text ?? "unknown"}, a PostgreSQL warehouse needs 15 or later (MERGE)`;
      throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: address, reason });
    }
    await client.query(NOTICE_LOST_CLIENT).catch(unlessLost);
    return connection;
  } catch (cause) {
    await close(connection);
    if (signal.aborted) throw signal.reason;
    throw warehouseError(cause, address);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** What the server says against a setting is no reason not to work without it. */
function unlessLost(cause: unknown): void {
  if (sqlState(cause) === null) throw cause;
}

/**
 * Runs statements whose time grows with the target and not with the flush: no bound that suits a flush suits them, and
 * one that is too short would fail at every attempt. In a transaction; an abort of the flush ends them.
 */
export async function queryUnbounded({ client, statementTimeoutMs }: Connection, statements: readonly string[]): Promise<void> {
  await client.query("SET LOCAL statement_timeout = 0");
  for (const text of statements) await client.query({ text, query_timeout: UNBOUNDED_MS } as pg.QueryConfig);
  await client.query(`SET LOCAL statement_timeout = ${statementTimeoutMs}`);
}

/** Ends the connection at once, in whatever it is doing: the server then rolls back. */
export async function close(connection: Connection): Promise<void> {
  connection.broken = true;
  await connection.client.end().catch(() => undefined);
}

/** SQLSTATEs that say that the server is not there for us now: appendix "PostgreSQL Error Codes". */
const UNREACHABLE = /^(08|57P0|53300$)/;
/** Invalid authorization; the database does not exist. */
const LOGIN = /^(28|3D)/;

/** What a failed statement or connection means, as a TailraceError. */
export function warehouseError(cause: unknown, address: string): TailraceError {
  if (cause instanceof TailraceError) return cause;
  const reason = reasonOf(cause);
  const state = sqlState(cause);
  if (state === null || UNREACHABLE.test(state))
    return new TailraceError("WAREHOUSE_UNREACHABLE", { warehouse: address, reason }, { cause });
  if (LOGIN.test(state)) return new TailraceError("WAREHOUSE_LOGIN", { warehouse: address, reason }, { cause });
  return new TailraceError("WAREHOUSE_REFUSED", { warehouse: address, reason }, { cause });
}

/**
 * Whether a statement failed because of a row: data exceptions (22), constraints (23), a view's CHECK OPTION (44), what a
 * trigger raises (P0001), and a key that is too long for its index (54000).
 */
export function isRowsFault(cause: unknown): boolean {
  return /^(22|23|44|P0001$|54000$)/.test(sqlState(cause) ?? "");
}

function sqlState(cause: unknown): string | null {
  return cause instanceof pg.DatabaseError ? (cause.code ?? "") : null;
}
