// Root's PostgreSQL runs as a user without rights, and keeps its data elsewhere when that user can't enter the folder asked for.
import { chmod, mkdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PostgresOptions, type PostgresServer, startPostgres } from "../../../src/quickstart/postgres-server.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

let home: string;
let folder: string;
const elsewhere = new Set<string>();

beforeEach(async () => {
  home = await temporaryFolder("closed");
  await chmod(home, 0o700);
  folder = path.join(home, "quickstart");
});
afterEach(async () => {
  for (const used of [home, ...elsewhere]) await rm(used, { recursive: true, force: true });
  elsewhere.clear();
});

async function start(options: Partial<PostgresOptions> = {}): Promise<PostgresServer> {
  const server = await startPostgres({ dataDir: path.join(folder, "postgres"), settings: { fsync: "off" }, ...options });
  elsewhere.add(server.dataDir);
  return server;
}

async function systemId(server: PostgresServer): Promise<string> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query<{ id: string }>("SELECT system_identifier::text AS id FROM pg_control_system()");
  await client.end();
  return rows[0]?.id ?? "";
}

describe.runIf(process.getuid?.() === 0)("root's database that stands elsewhere", () => {
  test("goes on from there as long as the folder that asked for it is the same", async () => {
    const first = await start();
    const id = await systemId(first);
    await first.stop();
    expect(path.relative(home, first.dataDir)).toMatch(/^\.\./);
    const discarded: string[] = [];
    await using second = await start({ onDiscard: (line) => discarded.push(line) });
    expect({ made: second.made, id: await systemId(second), discarded }).toEqual({ made: false, id, discarded: [] });
  });

  test("is thrown away, and another made, when that folder was deleted, and one line says so", async () => {
    const first = await start();
    const id = await systemId(first);
    await first.stop();
    await rm(folder, { recursive: true });
    await mkdir(folder); // a new one under the old name
    const discarded: string[] = [];
    await using second = await start({ onDiscard: (line) => discarded.push(line) });
    expect(second.dataDir).toBe(first.dataDir);
    expect(second.made).toBe(true);
    expect(await systemId(second)).not.toBe(id);
    expect(discarded).toEqual([
      `threw away the database in ${first.dataDir}: the folder that it belonged to, ${folder}, was deleted since`,
    ]);
  });

  test("is not thrown away while somebody runs it", async () => {
    await using first = await start();
    await rm(folder, { recursive: true });
    await expect(start()).rejects.toThrow(`already run by process ${process.pid}`);
    expect(await systemId(first)).not.toBe("");
  });

  test("is missed by name, and not made anew, where something is kept that only the old one goes with", async () => {
    const first = await start();
    await first.stop();
    await rm(first.dataDir, { recursive: true });
    await expect(start({ make: false })).rejects.toThrow(`the database in ${first.dataDir} is gone`);
    await expect(stat(first.dataDir)).rejects.toThrow("ENOENT");
  });
});
