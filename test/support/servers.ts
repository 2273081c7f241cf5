// Real servers for tests. The shared ones start when the first test asks, and each test keeps to itself: a database, a
// topic prefix, a subject of its own. Tests that stop or kill a server start one of their own (postgres.ts, kafka.ts,
// registry.ts).
import { randomBytes } from "node:crypto";
import pg from "pg";
import { describe, inject } from "vitest";
import type { ServerName } from "./shared-servers.ts";

export type TestDatabase = AsyncDisposable & {
  readonly name: string;
  /** Of the superuser, in this database. */
  readonly url: string;
  /** One statement, or several without parameters (then the last one's rows). */
  sql<Row extends Record<string, unknown> = Record<string, unknown>>(text: string, parameters?: readonly unknown[]): Promise<Row[]>;
};

export type SharedPostgres = {
  /** Of the superuser, in the database `postgres`, which belongs to all tests. */
  readonly url: string;
  /** A new, empty database; gone with its slots when disposed of. */
  createDatabase(prefix?: string): Promise<TestDatabase>;
};

/** PostgreSQL 18, or the one that TEST_PG_URL names. */
export async function postgres(): Promise<SharedPostgres> {
  return sharedPostgres(await address("postgres"));
}

/** Debian's PostgreSQL 15; inside describeWithPostgres15 only. */
export async function postgres15(): Promise<SharedPostgres> {
  return sharedPostgres(await address("postgres15"));
}

/** The shared broker, or those that TEST_KAFKA_BROKERS names; inside describeWithKafka only. */
export async function kafka(): Promise<{ readonly brokers: readonly string[] }> {
  return { brokers: (await address("kafka")).split(",") };
}

/** The shared registry, or the one that TEST_REGISTRY_URL names; inside describeWithRegistry or describeWithKafka only. */
export async function registry(): Promise<{ readonly url: string }> {
  return { url: await address("registry") };
}

/** A name that no other test has: for topic prefixes, slots, subjects. Lower-case letters, digits and underscores. */
export function uniqueName(prefix: string): string {
  return `${prefix}_${randomBytes(4).toString("hex")}`;
}

/** `describe`, skipped where there is no Kafka or no registry; why was said at the start of the run. */
export const describeWithKafka = describe.skipIf(isMissing("kafka") || isMissing("registry"));
export const describeWithFlink = describe.skipIf(isMissing("kafka") || isMissing("registry") || isMissing("flink"));
export const describeWithRegistry = describe.skipIf(isMissing("registry"));
export const describeWithPostgres15 = describe.skipIf(isMissing("postgres15"));

function isMissing(name: ServerName | "flink"): boolean {
  return inject("missing")[name] !== null;
}

async function address(name: ServerName): Promise<string> {
  const response = await fetch(`${inject("serversUrl")}/${name}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

function sharedPostgres(url: string): SharedPostgres {
  return {
    url,
    async createDatabase(prefix = "test") {
      const name = uniqueName(prefix);
      await query(url, `CREATE DATABASE ${pg.escapeIdentifier(name)}`);
      const own = new URL(url);
      own.pathname = `/${name}`;
      return {
        name,
        url: own.href,
        sql: async <Row>(text: string, parameters: readonly unknown[] = []) => (await query(own.href, text, parameters)) as Row[],
        [Symbol.asyncDispose]: () => dropDatabase(url, name),
      };
    },
  };
}

/** A slot keeps its database from being dropped, and a reader keeps its slot. */
async function dropDatabase(url: string, name: string): Promise<void> {
  await query(url, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active", [name]);
  const slots = (await query(url, "SELECT slot_name FROM pg_replication_slots WHERE database = $1", [name])) as { slot_name: string }[];
  for (const { slot_name } of slots) await dropSlot(url, slot_name);
  await query(url, `DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`);
}

async function dropSlot(url: string, slot: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await query(url, "SELECT pg_drop_replication_slot($1)", [slot]);
      return;
    } catch (error) {
      const stillActive = (error as { code?: string }).code === "55006"; // its terminated reader is on its way out
      if (!stillActive || attempt === 100) throw error;
      await query(url, "SELECT pg_sleep(0.05)");
    }
  }
}

async function query(url: string, text: string, parameters: readonly unknown[] = []): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined); // the query under way fails as well; one that a test has left may outlive its database
  await client.connect();
  try {
    // Without parameters pg speaks the simple protocol, which takes several statements and answers with a list.
    const answer = (parameters.length === 0 ? await client.query(text) : await client.query(text, [...parameters])) as
      pg.QueryResult | pg.QueryResult[];
    return (Array.isArray(answer) ? answer.at(-1) : answer)?.rows ?? [];
  } finally {
    await client.end();
  }
}
