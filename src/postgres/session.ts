// A session on the source's database: SQL that is bounded in time, and errors in Tailrace's words.
import { Client, type ClientConfig, type QueryResult } from "pg";
import { TailraceError } from "../core/errors.ts";
import { CopyOut, type CopyTaker } from "./copy-out.ts";
import { databaseError, serverMessage, type Peer } from "./database-errors.ts";
import { ReadingSocket } from "./reading-socket.ts";

/** How to reach a database. */
export type ConnectionSettings = {
  /** postgres:// with user and password, TLS and `options` as libpq has them. Holds a secret: it must never be printed. */
  readonly url: string;
  /** What pg_stat_activity and pg_stat_replication show: `tailrace <source>`. */
  readonly applicationName: string;
};

/** A row in PostgreSQL's text form: no type is guessed, null is null. */
export type Row = Readonly<Record<string, string | null>>;

/** A Buffer goes in the binary form of the parameter's type. */
export type Parameter = string | number | boolean | null | Buffer | readonly (string | number)[];

export type SessionOptions = {
  /** Bound of each statement in ms; STATEMENT_MS when not given. */
  readonly statementMs?: number;
  /** Further run-time settings, as `lock_timeout` in ms; no spaces in values. */
  readonly startup?: Readonly<Record<string, string | number>>;
};

export type QueryOptions = {
  /** Bound of this statement in ms; the session's when not given. */
  readonly timeoutMs?: number;
  /** SQL that lifts a missing privilege, for PRIVILEGE_MISSING. */
  readonly grant?: string;
  /** Refuses more than one statement, whatever stands in the text. */
  readonly single?: boolean;
  /** Prepares the statement under this name, once a session: for one that takes longer to plan than to run, and runs often. */
  readonly prepared?: string;
};

const CONNECT_MS = 10_000;
/** Longer than any catalog query needs on a busy server; shorter than an operator's patience. */
const STATEMENT_MS = 30_000;
/** DDL on a publication queues behind VACUUM; it must not wait there for hours. */
const LOCK_MS = 5_000;
/** What the client grants beyond the server's own statement_timeout before it gives the connection up. */
const GRACE_MS = 5_000;

/** Settings that make text output, name lookup and the wording of levels the same whatever the role or database has set. */
const SESSION_SETTINGS = {
  DateStyle: "ISO",
  IntervalStyle: "iso_8601",
  TimeZone: "UTC",
  bytea_output: "hex",
  extra_float_digits: "1",
  client_min_messages: "warning",
  search_path: "",
} as const;

/**
 * With this money's text form is `-$1,234.56` in every database: the number that is stored, with a point before its last two digits.
 * It is not for the sessions that ask the catalogs, since there the database's own lc_monetary tells what the number counts.
 */
export const MONEY_TEXT = { lc_monetary: "C" } as const;

const asText = { getTypeParser: () => (value: string) => value };

/** One connection, for one statement at a time. Disposing it closes the socket. */
export class Session implements AsyncDisposable {
  readonly peer: Peer;
  readonly #client: Client;
  readonly #signal: AbortSignal;
  readonly #statementMs: number;
  #version: number | undefined;
  /** What ended the connection between two statements; of the next one the client says only that it can't be made. */
  #lost: Error | null = null;
  readonly #abort = (): void => {
    this.#client.connection.stream.destroy();
  };

  private constructor(client: Client, statementMs: number, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
    this.#statementMs = statementMs;
    this.peer = peerOf(client);
    client.on("error", (error) => (this.#lost ??= error)); // without a listener it would end the process
    signal.addEventListener("abort", this.#abort, { once: true });
  }

  /**
   * Connects. With `replication` it is a walsender's session, which takes replication commands and plain SQL but no
   * parameters. Throws DATABASE_UNREACHABLE, DATABASE_LOGIN, PRIVILEGE_MISSING, SLOT_LIMIT; the signal's reason after abort.
   */
  static async open(
    settings: ConnectionSettings,
    signal: AbortSignal,
    kind: "sql" | "replication" = "sql",
    options: SessionOptions = {},
  ): Promise<Session> {
    signal.throwIfAborted();
    const { statementMs = STATEMENT_MS, startup = {} } = options;
    const config = clientConfig(settings, { statement_timeout: statementMs, lock_timeout: LOCK_MS, ...startup });
    const client = newClient({ ...(kind === "sql" ? config : forReplication(config)), stream: () => new ReadingSocket() });
    const session = new Session(client, statementMs, signal);
    try {
      await client.connect();
      return session;
    } catch (error) {
      signal.removeEventListener("abort", session.#abort);
      client.connection.stream.destroy();
      throw session.#failed(error, `ALTER ROLE ${quoteIdentifier(session.peer.user)} REPLICATION`);
    }
  }

  /**
   * Runs one statement (or several, separated by semicolons, of which no rows are given). Throws DATABASE_UNREACHABLE,
   * PRIVILEGE_MISSING, UNEXPECTED; the signal's reason after abort.
   */
  async query(sql: string, values: readonly Parameter[] = [], options: QueryOptions = {}): Promise<readonly Row[]> {
    const { timeoutMs = this.#statementMs, grant, prepared, single = false } = options;
    try {
      if (timeoutMs !== this.#statementMs) await this.#client.query(`SET statement_timeout = ${timeoutMs}`);
      // By the extended protocol, which takes one statement; a field that the client reads and its type declarations lack.
      const query = { text: sql, types: asText, query_timeout: timeoutMs + GRACE_MS, ...(single ? { queryMode: "extended" } : {}) };
      const result: QueryResult<Record<string, string | null>> | readonly unknown[] = await this.#client.query(
        values.length === 0 ? query : { ...query, name: prepared, values: [...values] },
      );
      if (timeoutMs !== this.#statementMs) await this.#client.query(`SET statement_timeout = ${this.#statementMs}`);
      return "rows" in result ? result.rows : [];
    } catch (error) {
      throw this.#failed(error, grant);
    }
  }

  /**
   * Runs a COPY … TO STDOUT and hands each of its messages to `take`; true when all came. When `take` returns false the rest is
   * not waited for: the connection is given up, and this session with it. Throws as query(), and what `take` throws.
   */
  async copyOut(sql: string, take: CopyTaker, options: Pick<QueryOptions, "grant"> = {}): Promise<boolean> {
    const { stream } = this.#client.connection;
    const giveUp = setTimeout(() => stream.destroy(), this.#statementMs + GRACE_MS);
    try {
      const complete = await this.#client.query(new CopyOut(sql, take)).ended;
      if (!complete) stream.destroy();
      return complete;
    } catch (error) {
      throw this.#failed(error, options.grant);
    } finally {
      clearTimeout(giveUp);
    }
  }

  /** Runs a statement whose one row has one column `json`, and gives its parsed value; null when there is no row. */
  async json<T>(sql: string, values: readonly Parameter[] = [], options: QueryOptions = {}): Promise<T | null> {
    const text = (await this.query(sql, values, options))[0]?.json;
    return text === undefined || text === null ? null : (JSON.parse(text) as T);
  }

  /** Runs `work` in a transaction: committed when it resolves, rolled back when it throws. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.query("BEGIN");
    try {
      const result = await work();
      await this.query("COMMIT");
      return result;
    } catch (error) {
      await this.query("ROLLBACK").catch(() => undefined); // a lost connection has rolled it back
      throw error;
    }
  }

  /** server_version_num, as 180004. */
  async version(): Promise<number> {
    this.#version ??= Number((await this.query("SHOW server_version_num"))[0]?.server_version_num);
    return this.#version;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener("abort", this.#abort);
    const giveUp = setTimeout(this.#abort, 1_000);
    await this.#client.end().catch(() => undefined);
    clearTimeout(giveUp);
  }

  #failed(error: unknown, grant: string | undefined): unknown {
    if (this.#signal.aborted) return this.#signal.reason;
    const mapped = databaseError(serverMessage(error) === null ? (this.#lost ?? error) : error, this.peer, grant);
    // Without words of the server the answer may still be under way: nobody may read it as that of the next statement.
    if (mapped.code === "DATABASE_UNREACHABLE") this.#client.connection.stream.destroy();
    return mapped;
  }
}

/** The client library's configuration. `startup`: further run-time settings, as `statement_timeout` in ms. */
export function clientConfig(settings: ConnectionSettings, startup: Readonly<Record<string, string | number>>): ClientConfig {
  const given = new URLSearchParams(settings.url.split("?").slice(1).join("?")).get("options") ?? "";
  const own = Object.entries({ ...SESSION_SETTINGS, ...startup }).map(([name, value]) => `-c ${name}=${value}`);
  const options = encodeURIComponent([given, ...own].join(" ").trim());
  // In a connection string the later of two parameters wins, and any of them wins over the same field beside the string.
  // An escaped `=` would be escaped again by pg-connection-string when the password holds a bare space or percent sign.
  const parameters = `application_name=${encodeURIComponent(settings.applicationName)}&options=${options}`.replaceAll("%3D", "=");
  return {
    connectionString: `${settings.url}${settings.url.includes("?") ? "&" : "?"}${parameters}`,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

/** Where the settings lead, for messages: no secrets. Throws DATABASE_UNREACHABLE when the url can't be read. */
export function peerFor(settings: ConnectionSettings): Peer {
  return peerOf(newClient(clientConfig(settings, {})));
}

/** A string constant, for a session with standard_conforming_strings on. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name as SQL takes it in any place. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The same as a walsender's session; a field that the client reads and its type declarations lack. */
export function forReplication(config: ClientConfig): ClientConfig {
  return { ...config, ...{ replication: "database" } };
}

/** A client that is not connected yet. Throws DATABASE_UNREACHABLE when the connection string can't be read. */
export function newClient(config: ClientConfig): Client {
  try {
    return new Client(config);
  } catch (error) {
    throw new TailraceError(
      "DATABASE_UNREACHABLE",
      { address: "postgres.url", reason: "it can't be read as a connection string" },
      { cause: (error as Error).name },
    );
  }
}

function peerOf(client: Client): Peer {
  return { address: `${client.host}:${client.port}/${client.database ?? ""}`, user: client.user ?? "" };
}
