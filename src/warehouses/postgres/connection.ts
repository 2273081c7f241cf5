// One connection to a PostgreSQL warehouse: how it is made, what its errors mean, and that it is not used after it broke.
import pg from "pg";
import { reasonOf, TailraceError } from "../../core/errors.ts";

/** MERGE came with 15. */
const OLDEST_SERVER = 150_000;

/** Bounds of one statement, ms. A merge of 100,000 rows takes seconds; a lock is waited for as long as an ALTER TABLE should last. */
const STATEMENT_TIMEOUT_MS = 600_000;
const LOCK_TIMEOUT_MS = 30_000;
/** A worker whose machine vanished must not keep its sink's row locked for longer. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 120_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** The client's own bound, for a server that no longer answers at all; it must outlast the server's. */
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 30_000;

const SETTINGS = `SET standard_conforming_strings = on;
SET statement_timeout = ${STATEMENT_TIMEOUT_MS};
SET lock_timeout = ${LOCK_TIMEOUT_MS};
SET idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS};
SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS text`;

export type Connection = {
  readonly client: pg.Client;
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
export async function connect(url: string, address: string, signal: AbortSignal): Promise<Connection> {
  signal.throwIfAborted();
  const client = new pg.Client({
    connectionString: url,
    application_name: "tailrace",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
  });
  const connection: Connection = { client, staging: new Map(), fitting: new Set(), broken: false };
  // Without a listener an idle connection that is lost would end the process.
  client.on("error", () => (connection.broken = true));
  client.on("end", () => (connection.broken = true));
  const abort = (): void => void close(connection);
  signal.addEventListener("abort", abort);
  try {
    await client.connect();
    const answers = (await client.query(SETTINGS)) as unknown as pg.QueryResult<{ number: number; text: string }>[];
    const version = answers.at(-1)?.rows[0];
    if (version === undefined || version.number < OLDEST_SERVER) {
      const reason = `it is version ${version?.text ?? "unknown"}, a PostgreSQL warehouse needs 15 or later (MERGE)`;
      throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: address, reason });
    }
    return connection;
  } catch (cause) {
    await close(connection);
    if (signal.aborted) throw signal.reason;
    throw warehouseError(cause, address);
  } finally {
    signal.removeEventListener("abort", abort);
  }
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
