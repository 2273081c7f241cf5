// The stream under TLS. The server's key in test/support/tls is nobody's secret: it is for 127.0.0.1 and these tests.
import { chmod, chown, copyFile, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TailraceError } from "../../src/core/errors.ts";
import { toLsn } from "../../src/core/lsn.ts";
import { openStream } from "../../src/postgres/stream.ts";
import type { PostgresServer } from "../../src/quickstart/postgres-server.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { openClient } from "./collect.ts";

const FILES = fileURLToPath(new URL("../support/tls/", import.meta.url));
const ROWS = 200_000;
const INSERT = 0x49; // 'I'

let server: PostgresServer;

beforeAll(async () => {
  server = await startTestPostgres(18, { wal_level: "logical" });
  await using client = await openClient(server.url);
  const [shown] = (await client.query<{ data_directory: string }>("SHOW data_directory")).rows;
  const folder = shown?.data_directory ?? "";
  const { uid, gid } = await stat(path.join(folder, "PG_VERSION"));
  for (const name of ["server.pem", "server.key"]) {
    const file = path.join(folder, name);
    await copyFile(path.join(FILES, name), file);
    await chmod(file, 0o600);
    await chown(file, uid, gid);
  }
  await client.query("ALTER SYSTEM SET ssl_cert_file = 'server.pem'");
  await client.query("ALTER SYSTEM SET ssl_key_file = 'server.key'");
  await client.query("ALTER SYSTEM SET ssl = on");
  await client.query("SELECT pg_reload_conf()");
  await client.query(`CREATE TABLE orders (id bigint PRIMARY KEY, note text, amount numeric, at timestamptz);
    CREATE PUBLICATION orders FOR TABLE orders`);
});
afterAll(() => server[Symbol.asyncDispose]());

/** Drains a slot of ROWS rows: how long from the first row to the last, ms, and whether the walsender's session is encrypted. */
async function drain(parameters: string, name: string): Promise<{ readonly ms: number; readonly encrypted: boolean }> {
  await using client = await openClient(server.url);
  await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
  await client.query(
    `INSERT INTO orders SELECT (SELECT count(*) FROM orders) + g, 'note ' || g, g / 3.0, now() FROM generate_series(1, ${ROWS}) g`,
  );
  let rows = 0;
  let begun = 0;
  let finished = (): void => undefined;
  const all = new Promise<void>((resolve) => (finished = resolve));
  const stream = await openStream(
    {
      connection: { url: `${server.url}${parameters}`, applicationName: name },
      slot: name,
      publication: "orders",
      from: toLsn(1n),
      binary: true,
      walSenderTimeoutMs: 60_000,
      onMessage: (bytes, start) => {
        if (bytes[start] !== INSERT) return;
        if (rows === 0) begun = performance.now();
        if (++rows === ROWS) finished();
      },
      onKeepalive: () => undefined,
    },
    AbortSignal.timeout(60_000),
  );
  await Promise.race([all, stream.ended]);
  const ms = performance.now() - begun;
  const [session] = (
    await client.query<{ ssl: boolean }>("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1", [
      name,
    ])
  ).rows;
  await stream[Symbol.asyncDispose]();
  return { ms, encrypted: session?.ssl ?? false };
}

test("a slot is drained under TLS at the pace of one without, though each message is a record of its own there", async () => {
  const verified = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(path.join(FILES, "ca.pem"))}`;
  const plain = await drain("", "plain");
  const encrypted = await drain(verified, "encrypted");
  expect([plain.encrypted, encrypted.encrypted]).toEqual([false, true]);
  expect(encrypted.ms).toBeLessThan(Math.max(plain.ms, 300) * 5); // a rest after each message made it sixteen times as long
});

test("a server whose certificate nobody vouches for is refused by name, and the password is not said", async () => {
  const url = new URL(server.url);
  url.password = "hidden";
  const refused: unknown = await openStream(
    {
      connection: { url: `${url.href}?sslmode=verify-full`, applicationName: "refused" },
      slot: "refused",
      publication: "orders",
      from: toLsn(1n),
      binary: true,
      walSenderTimeoutMs: 60_000,
      onMessage: () => undefined,
      onKeepalive: () => undefined,
    },
    AbortSignal.timeout(60_000),
  ).catch((cause: unknown) => cause);
  expect(refused).toBeInstanceOf(TailraceError);
  expect(JSON.stringify(refused)).toMatch(/certificate/);
  expect(JSON.stringify(refused)).not.toContain("hidden");
});
