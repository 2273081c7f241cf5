// Generated columns, which a publication of PostgreSQL 18 sends when it is told to: existing rows and changes bring the same.
import { expect, test } from "vitest";
import { postgres, uniqueName } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

test("published generated columns are in both targets what they are at the source, of existing rows and of changes; unpublished ones are not there", async () => {
  await using database = await (await postgres()).createDatabase("generated");
  await using mart = await (await postgres()).createDatabase("mart");
  await using scene = await Scene.open();
  const slot = uniqueName("generated");
  await database.sql(`CREATE TABLE priced (id int PRIMARY KEY, price numeric(8, 2), tax numeric(8, 2) GENERATED ALWAYS AS (price * 0.2) STORED, note text);
    INSERT INTO priced (id, price, note) SELECT i, i * 1.5, 'note ' || i FROM generate_series(1, 50) i;
    CREATE PUBLICATION ${slot} FOR TABLE priced WITH (publish_generated_columns = stored)`);
  const source = (name: string, publication: string): Document => ({
    ...sourceDocument({
      name,
      url: database.url,
      tables: ["public.priced"],
      postgres: { slot: publication, publication },
      topics: { prefix: publication, partitions: 2 },
    }),
    snapshot: { mode: "initial" },
  });
  await scene.configure(
    source("shop", slot),
    sinkDocument({ name: "lake", source: "shop" }),
    sinkDocument({ name: "mart", source: "shop", warehouse: { postgres: { url: mart.url } } }),
  );
  await scene.start();

  const all = "SELECT id::text AS id, price::text AS price, tax::text AS tax, note FROM public.priced o ORDER BY o.id";
  const same = (): Promise<void> =>
    until(async () => {
      const expected = await database.sql(all);
      expect(await mart.sql(all)).toEqual(expected);
      expect(await scene.duckdb(all.replaceAll("::text", "::varchar"))).toEqual(expected);
    });
  await same();
  await database.sql(`UPDATE priced SET price = price + 1 WHERE id <= 10; UPDATE priced SET id = id + 100 WHERE id = 20;
    INSERT INTO priced (id, price) VALUES (60, 10), (61, NULL); DELETE FROM priced WHERE id = 30`);
  await same();

  const unsent = uniqueName("unsent");
  await scene.configure(
    source("plain", unsent),
    sinkDocument({ name: "plain-mart", source: "plain", warehouse: { postgres: { url: mart.url } } }),
  );
  await mart.sql("DROP TABLE public.priced");
  await scene.command("reload");
  await until(async () => {
    expect(await mart.sql("SELECT count(*)::int AS rows FROM public.priced")).toEqual(
      await database.sql("SELECT count(*)::int AS rows FROM priced"),
    );
  });
  const columns = await mart.sql<{ name: string }>(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'priced'",
  );
  expect(columns.map(({ name }) => name)).toEqual(expect.arrayContaining(["id", "price", "note"]));
  expect(columns.map(({ name }) => name)).not.toContain("tax");
});
