// What a snapshot needs and the stream does not: every row must be readable.
import { expect, test } from "vitest";
import { resolveTables } from "../../src/postgres/catalog.ts";
import { unreadableTables } from "../../src/postgres/server.ts";
import { Session } from "../../src/postgres/session.ts";
import { postgres, uniqueName } from "../support/servers.ts";

test("a table without SELECT, and one whose policies would leave rows out, are named with the grant, which mends it", async () => {
  await using database = await (await postgres()).createDatabase("unreadable");
  const role = uniqueName("reader");
  for (const table of ["free", "locked", "guarded"]) await database.sql(`CREATE TABLE ${table} (id int PRIMARY KEY)`);
  await database.sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY");
  await database.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'p'`);
  try {
    await database.sql(`GRANT SELECT ON free, guarded TO ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = "p";
    const look = async (): Promise<readonly string[]> => {
      await using session = await Session.open({ url: url.href, applicationName: "test" }, new AbortController().signal);
      const selection = { matches: (schema: string) => schema === "public", named: [], asked: () => null, overlooked: () => [] };
      const { tables } = await resolveTables(session, selection, null);
      return (await unreadableTables(session, tables)).map(({ message, remedy }) => `${message}: ${remedy}`);
    };
    const [guarded, locked, ...more] = await look();
    expect(more).toEqual([]);
    expect(guarded).toContain(
      `BYPASSRLS, for the row-level security of public.guarded: run as an administrator: ALTER ROLE ${role} BYPASSRLS`,
    );
    expect(locked).toContain(`SELECT on table public.locked: run as an administrator: GRANT SELECT ON public.locked TO ${role}`);
    await database.sql(`GRANT SELECT ON public.locked TO ${role}`);
    await database.sql(`ALTER ROLE ${role} BYPASSRLS`);
    expect(await look()).toEqual([]);
  } finally {
    await database.sql(`DROP OWNED BY ${role}`);
    await database.sql(`DROP ROLE ${role}`);
  }
});
