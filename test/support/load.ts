// An application that never rests: small and large transactions on several tables, over few keys, so that the same row is
// inserted, changed, moved and deleted again and again. What is right in the end, the database itself says.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/** Every table that the load writes to. */
export const loadTables = ["accounts", "orders", "documents", "readings"].map((name) => ({ schema: "public", name }));

const SCHEMA = `
  CREATE TYPE order_state AS ENUM ('open', 'paid', 'sent');
  CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance numeric(14,2), tags jsonb, changed_at timestamptz);
  -- Keys of two columns that change.
  CREATE TABLE orders (region text, number int, state order_state, lines int, placed_on date, PRIMARY KEY (region, number));
  -- Bodies are TOASTed, uncompressed, and mostly left alone.
  CREATE TABLE documents (id int PRIMARY KEY, title text, version int NOT NULL DEFAULT 0, body text, seal bytea);
  ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL;
  -- Emptied now and then.
  CREATE TABLE readings (id int PRIMARY KEY, value double precision, ok boolean);`;

/** Makes the tables, which are empty. */
export async function createLoadTables(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(SCHEMA).finally(() => client.end());
}

export type LoadOptions = {
  readonly url: string;
  /** Transactions a second, at most. */
  readonly perSecond?: number;
  /** The same one brings the same statements in the same order. */
  readonly seed?: number;
};

/** Rows of each table at most. Fewer: more changes of one row in one flush. */
const KEYS = 150;
const REGIONS = ["north", "south", "east"];
/** A server that is away is asked again after this, ms. */
const RECONNECT_MS = 200;
/** A server that does not answer for this long is given up, ms. */
const ANSWER_MS = 5_000;

/** One connection at a time, made anew when the server goes away, until stop(). */
export class Load {
  /** Transactions whose COMMIT was answered, statements that committed by themselves among them. */
  committed = 0;
  /** Connections that were lost or refused. One of the transactions may have been committed all the same. */
  failures = 0;
  readonly #url: string;
  readonly #pauseMs: number;
  readonly #random: Random;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor({ url, perSecond = 60, seed = 1 }: LoadOptions) {
    this.#url = url;
    this.#pauseMs = 1_000 / perSecond;
    this.#random = new Random(seed);
    this.#done = this.#run();
    this.#done.catch(() => undefined); // stop() tells
  }

  /** Resolves after the last transaction; rejects when a statement was refused, which is a fault of this file. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const client = new pg.Client({ connectionString: this.#url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
      client.on("error", () => undefined); // the statement under way fails as well
      try {
        await client.connect();
        await this.#session(client);
      } catch (error) {
        if (isRefusal(error)) throw error;
        this.failures += 1;
        await this.#pause(RECONNECT_MS);
      } finally {
        // The end of a connection that is gone already may never be told.
        await Promise.race([client.end().catch(() => undefined), sleep(1_000)]);
      }
    }
  }

  async #session(client: pg.Client): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const started = performance.now();
      await client.query(transaction(this.#random));
      this.committed += 1;
      await this.#pause(this.#pauseMs - (performance.now() - started));
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

/** What the server says of a statement; of a server that goes away or comes up, class 57 and 53, it is no fault of the statement. */
function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !/^(57P|53|08)/.test(error.code ?? "");
}

/** One transaction as the text of a simple query; without BEGIN its statements are one transaction as well. */
function transaction(random: Random): string {
  const kind = random.below(100);
  if (kind < 45) return statement(random);
  if (kind < 85) return wrapped(Array.from({ length: 2 + random.below(6) }, () => statement(random)));
  if (kind < 88) return `BEGIN; ${statement(random)}; ${statement(random)}; ROLLBACK`;
  if (kind < 92) return wrapped([statement(random), "SAVEPOINT a", statement(random), "ROLLBACK TO a", statement(random)]);
  if (kind < 94) return wrapped(["TRUNCATE readings", fillReadings(random)]);
  if (kind < 95) return "TRUNCATE readings";
  // Larger than one round of the source.
  if (kind < 97) return wrapped([newDocuments(random, 1, KEYS), ...Array.from({ length: 3 }, () => statement(random))]);
  return wrapped([fillReadings(random), fillOrders(random), `UPDATE accounts SET balance = balance + 1, changed_at = clock_timestamp()`]);
}

function wrapped(statements: readonly string[]): string {
  return `BEGIN; ${statements.join("; ")}; COMMIT`;
}

function statement(random: Random): string {
  const id = 1 + random.below(KEYS);
  const order = `region = '${random.of(REGIONS)}' AND number = ${id}`;
  switch (random.below(14)) {
    case 0:
    case 1:
      return `INSERT INTO accounts VALUES (${id}, 'Ada ${id}', ${random.below(1e6)}.25, '{"a": [${id}, null]}', clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET balance = accounts.balance * 1.01, owner = excluded.owner || '''ü'`;
    case 2:
      return `UPDATE accounts SET balance = balance - 1, tags = NULL WHERE id BETWEEN ${id} AND ${id + 10}`;
    case 3:
      return `DELETE FROM accounts WHERE id = ${id}`;
    case 4:
      // A key that changes.
      return `UPDATE accounts SET id = ${id} WHERE id = ${1 + random.below(KEYS)} AND NOT EXISTS (SELECT FROM accounts WHERE id = ${id})`;
    case 5:
    case 6:
      return fillOrders(random);
    case 7:
      return `UPDATE orders SET state = 'sent', lines = lines + 1 WHERE ${order}`;
    case 8:
      return `UPDATE orders SET region = '${random.of(REGIONS)}x', number = number + ${random.below(3)} WHERE ${order}
        AND NOT EXISTS (SELECT FROM orders WHERE region LIKE '%x' AND number BETWEEN ${id} AND ${id + 2})`;
    case 9:
      return `DELETE FROM orders WHERE number BETWEEN ${id} AND ${id + 5}`;
    case 10:
      return newDocuments(random, id, id + 2);
    case 11:
      // The body is not sent.
      return `UPDATE documents SET version = version + 1, title = 'v' || version WHERE id BETWEEN ${id} AND ${id + 5}`;
    case 12:
      return random.below(2) === 0
        ? `DELETE FROM documents WHERE id = ${id}`
        : `UPDATE documents SET seal = '\\x00ff', body = NULL WHERE id = ${id}`;
    default:
      return fillReadings(random);
  }
}

function fillOrders(random: Random): string {
  const from = 1 + random.below(KEYS);
  return `INSERT INTO orders SELECT '${random.of(REGIONS)}', n, 'open', n, date '2024-02-29' + n FROM generate_series(${from}, ${from + 8}) n
    ON CONFLICT (region, number) DO UPDATE SET state = 'paid', placed_on = NULL`;
}

function newDocuments(random: Random, from: number, to: number): string {
  return `INSERT INTO documents SELECT n, 'new', 0, repeat(md5((n + ${random.below(1e6)})::text), 150), NULL FROM generate_series(${from}, ${to}) n
    ON CONFLICT (id) DO UPDATE SET version = documents.version + 1, body = excluded.body`;
}

function fillReadings(random: Random): string {
  const from = 1 + random.below(KEYS);
  return `INSERT INTO readings SELECT n, n + 0.25, n % 2 = 0 FROM generate_series(${from}, ${from + 15}) n
    ON CONFLICT (id) DO UPDATE SET value = readings.value + 0.5, ok = NOT readings.ok`;
}

/** A linear congruential generator, modulus 2^32: enough here, and the same everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `end` − 1. */
  below(end: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * end);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
