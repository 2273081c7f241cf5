import pg from "pg";
import { expect, test } from "vitest";
import { createShop, fillShop, shopTables } from "../../../src/quickstart/shop.ts";
import { ShopLoad } from "../../../src/quickstart/shop-load.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";

async function openShop(): Promise<TestDatabase & { readonly written: readonly number[] }> {
  const database = await (await postgres()).createDatabase();
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await createShop(client);
  await createShop(client);
  const written = [await fillShop(client), await fillShop(client)];
  await client.end();
  return { ...database, written };
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(async () => isSo(), { timeout: 60_000, interval: 50 }).toBe(true);
}

test("a shop is filled with 20,000 rows, once", async () => {
  await using shop = await openShop();
  expect(shop.written).toEqual([20_000, 0]);
  const count = shopTables.map(({ name }) => `(SELECT count(*) FROM ${name})`).join(" + ");
  expect(await shop.sql(`SELECT (${count})::int AS rows`)).toEqual([{ rows: 20_000 }]);
  // Stored out of line: updates of other columns leave it unsent.
  const large = await shop.sql("SELECT count(*)::int AS n FROM products WHERE pg_column_size(description) >= 8000");
  expect(large).toEqual([{ n: 640 }]);
  expect(
    await shop.sql(
      "SELECT count(*)::int AS n FROM orders WHERE total <> (SELECT sum(quantity * unit_price) FROM order_items WHERE order_id = id)",
    ),
  ).toEqual([{ n: 0 }]);
});

test("the load changes every table in every way, lines get other keys, and it stops when told to", async () => {
  await using shop = await openShop();
  for (const { name } of shopTables) {
    await shop.sql(`CREATE TABLE seen_${name} (op text, moved boolean);
      CREATE FUNCTION note_${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen_${name} VALUES (TG_OP, TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'order_items' AND to_jsonb(OLD)->'line' <> to_jsonb(NEW)->'line'); RETURN NULL; END $$;
      CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ${name} FOR EACH ROW EXECUTE FUNCTION note_${name}()`);
  }
  const stop = new AbortController();
  const troubles: (string | null)[] = [];
  const options = {
    url: shop.url,
    perSecond: 2_000,
    maxOrders: 20_000,
    seed: 1,
    onTrouble: (reason: string | null) => troubles.push(reason),
  };
  const load = new ShopLoad(options, stop.signal);
  await until(() => load.transactions >= 400);
  stop.abort();
  await load.done;
  expect(troubles).toEqual([]);
  const ops = await shop.sql<{ name: string; ops: string[] }>(
    shopTables
      .map(({ name }) => `SELECT '${name}' AS name, array_agg(DISTINCT op ORDER BY op) AS ops FROM seen_${name}`)
      .join(" UNION ALL "),
  );
  expect(Object.fromEntries(ops.map((row) => [row.name, row.ops]))).toEqual({
    customers: ["INSERT", "UPDATE"],
    products: ["UPDATE"],
    orders: ["DELETE", "INSERT", "UPDATE"],
    order_items: ["DELETE", "INSERT", "UPDATE"],
    payments: ["DELETE", "INSERT", "UPDATE"],
  });
  expect(await shop.sql("SELECT count(*) > 0 AS some FROM seen_order_items WHERE moved")).toEqual([{ some: true }]);
});

test("a shop that is open for long keeps no more than its limit of orders", async () => {
  await using shop = await openShop();
  const stop = new AbortController();
  const load = new ShopLoad({ url: shop.url, perSecond: 2_000, maxOrders: 4_000, seed: 2, onTrouble: () => undefined }, stop.signal);
  await until(async () => ((await shop.sql<{ n: number }>("SELECT count(*)::int AS n FROM orders"))[0]?.n ?? Infinity) <= 4_000);
  stop.abort();
  await load.done;
});

test("a load whose session is ended goes on with another one, and says both once", async () => {
  await using shop = await openShop();
  const stop = new AbortController();
  const troubles: (string | null)[] = [];
  const load = new ShopLoad(
    { url: shop.url, perSecond: 200, maxOrders: 20_000, seed: 3, onTrouble: (reason) => troubles.push(reason) },
    stop.signal,
  );
  await until(() => load.transactions > 10);
  await shop.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shop' AND datname = current_database()");
  await until(() => troubles.length === 2);
  const before = load.transactions;
  await until(() => load.transactions > before + 10);
  stop.abort();
  await load.done;
  expect(troubles).toEqual([expect.stringMatching(/terminat/), null]);
});
