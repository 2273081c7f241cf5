// The benchmark's loads on a real server: they are counted by what arrives, so they must write what they say.
import { expect, test } from "vitest";
import { loadNames, loads } from "../../bench/loads.ts";
import { postgres } from "../support/servers.ts";

const CHANGES = 2_500;

const transactions = { narrow: 3, wide: 3, json: 3, full: 3, tx1: CHANGES, tx1m: 1, tables20: 3, tables200: 3, partitions64: 3 };

test.each(loadNames)("%s makes as many changes as it says, in transactions of its size", async (name) => {
  const load = loads[name];
  await using database = await (await postgres()).createDatabase();
  for (const statement of load.create) await database.sql(statement);
  for (const from of [0, CHANGES]) {
    if (load.before !== null) await database.sql(load.before(from, CHANGES));
    await database.sql("CREATE TABLE start AS SELECT pg_current_xact_id() AS xid");
    await database.sql(load.fill(from, CHANGES));
    const changed = load.tables.map(
      (table) => `SELECT xmin FROM ${table} WHERE xmin::text::bigint > (SELECT xid::text::bigint FROM start)`,
    );
    const [found] = await database.sql<{ changes: number; transactions: number }>(
      `SELECT count(*)::int AS changes, count(DISTINCT xmin::text)::int AS transactions FROM (${changed.join(" UNION ALL ")}) AS changed`,
    );
    expect(found).toEqual({ changes: CHANGES, transactions: transactions[name] });
    await database.sql("DROP TABLE start");
  }
});

test("a row of json has about 5 kB, and one of wide 50 columns", async () => {
  await using database = await (await postgres()).createDatabase();
  for (const name of ["json", "wide"] as const) {
    for (const statement of loads[name].create) await database.sql(statement);
    await database.sql(loads[name].fill(0, 100));
  }
  const [body] = await database.sql<{ bytes: number }>("SELECT avg(length(body::text))::int AS bytes FROM public.documents");
  expect(body?.bytes).toBeGreaterThan(4_500);
  expect(body?.bytes).toBeLessThan(5_500);
  const columns = await database.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'public.wide'::regclass AND attnum > 0");
  expect(columns).toHaveLength(50);
});
