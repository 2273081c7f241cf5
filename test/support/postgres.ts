// PostgreSQL servers for tests, each in a temporary folder: 18 from npm, 15 from Debian where it is installed.
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { type PostgresServer, startPostgres } from "../../src/quickstart/postgres-server.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export type PostgresVersion = 15 | 18;

/** Where Debian and its like install it. */
const POSTGRES_15 = "/usr/lib/postgresql/15/bin";

/** Why this version can't run here, and what to do about it; null when it can. */
export function missingPostgres(version: PostgresVersion): string | null {
  if (version === 18 || existsSync(path.join(POSTGRES_15, "postgres"))) return null;
  return "PostgreSQL 15 is not installed: apt-get install postgresql-15";
}

/**
 * Settings of every test server. fsync is off: no test pulls a plug, and a killed process loses nothing that it had
 * handed to the system. The limits leave room for many tests with a slot each.
 */
const SETTINGS = {
  fsync: "off",
  max_connections: 300,
  max_replication_slots: 100,
  max_wal_senders: 100,
  max_prepared_transactions: 10,
  shared_buffers: "64MB",
};

/** A server of the caller's own, to stop, kill and restart. Disposing of it deletes its data. */
export async function startTestPostgres(
  version: PostgresVersion = 18,
  settings: Readonly<Record<string, string | number | boolean>> = {},
): Promise<PostgresServer> {
  const missing = missingPostgres(version);
  if (missing !== null) throw new Error(missing);
  const folder = await temporaryFolder("postgres");
  const server = await startPostgres({
    dataDir: path.join(folder, "data"),
    settings: { ...SETTINGS, ...settings },
    ...(version === 15 ? { binaries: POSTGRES_15 } : {}),
  });
  return Object.defineProperties(server, {
    [Symbol.asyncDispose]: {
      value: async () => {
        await server.stop("immediate");
        await rm(folder, { recursive: true, force: true });
      },
    },
  });
}
