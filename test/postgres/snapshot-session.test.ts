// The sessions of chunks: what they are set to, and where they are not opened.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { exportSnapshot } from "../../src/postgres/snapshot-export.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { postgres } from "../support/servers.ts";
import { connectionOf } from "./collect.ts";
import { errorOf, LIMITS, openReader } from "./snapshot-scene.ts";

test("a session of chunks bears its name and its bounds, whatever the role has set", async () => {
  await using database = await (await postgres()).createDatabase("session");
  await database.sql(`ALTER DATABASE ${database.name} SET synchronous_commit = off; ALTER DATABASE ${database.name} SET row_security = on;
    ALTER DATABASE ${database.name} SET standard_conforming_strings = off`);
  await using session = await openReader(database.url, { lockMs: 1_234, statementMs: 5_678, idleMs: 9_123 });
  const show = async (name: string): Promise<string | null | undefined> => (await session.query(`SHOW ${name}`))[0]?.[name];
  const shown = [
    "application_name",
    "synchronous_commit",
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "row_security",
    "standard_conforming_strings",
  ];
  expect(await Promise.all(shown.map(show))).toEqual(["tailrace test snapshot", "local", "1234ms", "5678ms", "9123ms", "off", "on"]);
});

test("a standby is refused by name: it takes no marks, and knows nothing of the primary's transactions", { timeout: 120_000 }, async () => {
  await using server = await startTestPostgres(18);
  await server.stop("fast");
  await writeFile(path.join(server.dataDir, "standby.signal"), "", { mode: 0o644 });
  await server.restart();
  const opened = await errorOf(openReader(server.url));
  expect(opened).toMatchObject({ code: "NOT_PRIMARY", message: expect.stringContaining("marks") });
  const options = { slot: "s", waitMs: 1_000, limits: LIMITS };
  const exported = await errorOf(exportSnapshot(connectionOf(server.url), options, new AbortController().signal));
  expect(exported.code).toBe("NOT_PRIMARY");
});
