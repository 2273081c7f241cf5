// R-silent-ddl: values that change without events, and rows that come without them, are read again.
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

async function withItems(
  make: readonly string[],
  work: (database: TestDatabase, scene: SourceScene) => Promise<void>,
  mode: "initial" | "no_data" = "initial",
): Promise<void> {
  await using database = await (await server).createDatabase("silent");
  for (const sql of make) await database.sql(sql);
  await using scene = await SourceScene.open(database, { snapshot: { mode, chunkRows: 100 } });
  await scene.while(async () => {
    await scene.untilLevel(database);
    if (mode === "initial") await scene.untilRead();
  });
  await work(database, scene);
}

const ITEMS = [
  "CREATE TABLE items (id int PRIMARY KEY, n int, note text)",
  "INSERT INTO items SELECT i, i, 'note ' || i FROM generate_series(1, 500) i",
];

/** Until a state has been written whose layouts are those of now: a difference has been dealt with. */
async function untilLooked(scene: SourceScene, table: string, column: string): Promise<void> {
  await eventually(
    `column ${column} in the state's layouts`,
    async () => (await scene.state())?.layouts.find(({ name }) => name === table)?.columns.some(([, name]) => name === column) === true,
    60_000,
  );
}

async function expectSame(database: TestDatabase, scene: SourceScene, table: string): Promise<void> {
  const rows = await database.sql(`SELECT * FROM ${table}`);
  const text = (list: readonly object[]): readonly string[] => list.map((row) => JSON.stringify(row)).sort();
  expect(text(await scene.target(table))).toEqual(text(rows));
}

function changes(scene: SourceScene): readonly string[] {
  return scene.warnings.flatMap((warning) => ("code" in warning && warning.code === "ROWS_CHANGED" ? [JSON.stringify(warning)] : []));
}

describe("while it streams", () => {
  test.each([
    ["a constant default", "ALTER TABLE items ADD x int DEFAULT 7", "x"],
    ["a volatile default", "ALTER TABLE items ADD x float8 DEFAULT random()", "x"],
    ["a type USING an expression", "ALTER TABLE items ALTER n TYPE int USING n * 10; ALTER TABLE items ADD seen int", "seen"],
    [
      "a column under the name of one that was dropped",
      "ALTER TABLE items DROP n; ALTER TABLE items ADD n int; ALTER TABLE items ADD seen int",
      "seen",
    ],
    ["a renamed column", "ALTER TABLE items RENAME n TO m", "m"],
  ])("R-silent-ddl: %s: the table is read again", async (_, sql, column) => {
    await withItems(ITEMS, async (database, scene) => {
      await scene.while(async () => {
        for (const statement of sql.split("; ")) await database.sql(statement);
        await database.sql("UPDATE items SET note = 'after' WHERE id % 50 = 0");
        await untilLooked(scene, "items", column);
        await scene.untilRead();
        await scene.untilLevel(database);
      });
      expect(changes(scene)).toHaveLength(1);
      await expectSame(database, scene, "items");
      expect((await scene.state())?.epoch).toBe(1);
    });
  });

  test("R-silent-ddl: VACUUM FULL and a column without a value owe no snapshot", async () => {
    await withItems(ITEMS, async (database, scene) => {
      await scene.while(async () => {
        await database.sql("VACUUM FULL items");
        await database.sql("ALTER TABLE items ADD x int");
        await untilLooked(scene, "items", "x");
        await database.sql("UPDATE items SET x = 1 WHERE id = 7");
        await scene.untilLevel(database);
      });
      expect(changes(scene)).toEqual([]);
      expect((await scene.events("items")).filter(({ op }) => op === "r")).toHaveLength(500);
    });
  });

  test("R-silent-ddl: rows that a table brings along when it becomes a partition are read, and no others", async () => {
    const parts = [
      "CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)",
      "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000)",
      "INSERT INTO parts SELECT i, i FROM generate_series(1, 500) i",
    ];
    await withItems(parts, async (database, scene) => {
      await scene.while(async () => {
        await database.sql("CREATE TABLE loaded (id int PRIMARY KEY, n int)");
        await database.sql("INSERT INTO loaded SELECT i, i FROM generate_series(1000, 1299) i");
        await database.sql("ALTER TABLE parts ATTACH PARTITION loaded FOR VALUES FROM (1000) TO (2000)");
        await scene.untilWarned("ROWS_CHANGED");
        await scene.untilRead();
        await database.sql("UPDATE parts SET n = 0 WHERE id % 100 = 0");
        await scene.untilLevel(database);
      });
      await expectSame(database, scene, "parts");
      expect((await scene.events("parts")).filter(({ op }) => op === "r")).toHaveLength(800);
    });
  });

  test("R-silent-ddl: without snapshots it is named", async () => {
    await withItems(
      ITEMS,
      async (database, scene) => {
        await scene.while(async () => {
          await database.sql("ALTER TABLE items ADD x int DEFAULT 7");
          await scene.untilWarned("snapshots are off");
        });
        expect(changes(scene)).toHaveLength(1);
      },
      "no_data",
    );
  });
});

test("R-silent-ddl: what was altered while the service was away is read again when it starts", async () => {
  await withItems(ITEMS, async (database, scene) => {
    await database.sql("ALTER TABLE items ADD x int DEFAULT 7");
    await database.sql("UPDATE items SET x = 8 WHERE id % 50 = 0");
    scene.forget();
    await scene.while(async () => {
      await untilLooked(scene, "items", "x");
      await scene.untilRead();
      await scene.untilLevel(database);
    });
    expect(changes(scene)).toHaveLength(1);
    await expectSame(database, scene, "items");
  });
});
