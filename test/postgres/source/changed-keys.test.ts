// R-key: a table's key does not change under its topic, whatever the registry's level. What becomes of the table is its policy's: parked, a
// version, or stopped; the other tables go on.
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
type Policy = "park" | "version" | "stop";

async function shop(policy: Policy, work: (database: TestDatabase, scene: SourceScene) => Promise<void>, identity = ""): Promise<void> {
  await using database = await (await server).createDatabase("keys");
  await database.sql(`CREATE TABLE bills (id int PRIMARY KEY, owner int NOT NULL); CREATE TABLE notes (id int PRIMARY KEY); ${identity}`);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  scene.options = { ...scene.options, incompatible: () => policy };
  await work(database, scene);
}

const FULL = "ALTER TABLE bills REPLICA IDENTITY FULL";
const CHANGE = "ALTER TABLE bills DROP CONSTRAINT bills_pkey, ADD PRIMARY KEY (id, owner)";
const DIFFERENCE = "key: (id) → (id, owner)";
const WORDS = "its key was (id) and is (id, owner)";

async function expectSame(database: TestDatabase, scene: SourceScene, topic: string): Promise<void> {
  const inOrder = (rows: readonly object[]): readonly string[] => rows.map((row) => JSON.stringify(row)).sort();
  expect(inOrder(await scene.target(topic))).toEqual(inOrder(await database.sql("SELECT id, owner FROM bills")));
}

async function begun(database: TestDatabase, scene: SourceScene): Promise<void> {
  await scene.untilRead();
  await database.sql("INSERT INTO bills VALUES (1, 1), (2, 1)");
  await scene.untilRows("bills", 2);
}

/** `rows`: of the table, which is then in the version's topic. */
async function unparkedAsVersion(database: TestDatabase, scene: SourceScene, rows: number): Promise<void> {
  expect(await scene.unpark("bills")).toBe("versioned");
  await eventually("another session", () => scene.parked.length === 0 && scene.control !== null);
  await scene.untilRows("bills_v2", rows);
  await scene.untilRead();
  await scene.untilLevel(database);
  await expectSame(database, scene, "bills_v2");
}

describe.each([
  ["the key's columns in RELATION", ""],
  ["REPLICA IDENTITY FULL, of which RELATION says nothing", FULL],
])("with %s", (_, identity) => {
  test("park: the table is parked before the first row that only the new key tells apart, also at NONE; it goes on as a version once that is its policy", async () => {
    await shop(
      "park",
      async (database, scene) => {
        await scene.while(async () => {
          await begun(database, scene);
          for (const end of ["key", "value"]) await scene.registry.setCompatibility(`${scene.topic("bills")}-${end}`, "NONE");
          await database.sql("ANALYZE bills"); // the server sends the RELATION again: nothing has changed
          await database.sql("UPDATE bills SET owner = 2 WHERE id = 1");
          await scene.untilRows("bills", 3);
          await database.sql(
            `${CHANGE}; INSERT INTO bills VALUES (1, 3), (1, 4); DELETE FROM bills WHERE owner = 3; INSERT INTO notes VALUES (1)`,
          );
          await scene.untilRows("notes", 1);
          await eventually("the table parked", () => scene.parked.includes("public.bills"));
          expect(scene.warnings.find(({ message }) => message.startsWith("the table is parked"))).toMatchObject({
            difference: DIFFERENCE,
            words: expect.stringContaining(WORDS),
          });
          await expect(scene.unpark("bills")).rejects.toMatchObject({ code: "STILL_REFUSED", message: expect.stringContaining(WORDS) });
        });
        const ops = async (topic: string): Promise<readonly string[]> => (await scene.events(topic)).map(({ op }) => op);
        expect(await ops("bills")).toEqual(["c", "c", "u"]);
        expect(await ops(scene.parkedOf("bills"))).toEqual(["c", "c", "d"]);

        scene.options = { ...scene.options, incompatible: () => "version" };
        await scene.while(async () => {
          await database.sql("INSERT INTO bills VALUES (5, 5)");
          await scene.untilRows(scene.parkedOf("bills"), 3);
          expect(scene.parked).toEqual(["public.bills"]);
          await unparkedAsVersion(database, scene, 4);
          await database.sql("INSERT INTO bills VALUES (6, 6); DELETE FROM bills WHERE id = 2; INSERT INTO notes VALUES (2)");
          await scene.untilRows("bills_v2", 5);
          await scene.untilLevel(database);
          await expectSame(database, scene, "bills_v2");
        });
        expect(await ops("bills")).toEqual(["c", "c", "u"]);
        expect(await scene.state()).toMatchObject({ parked: [], versions: [{ version: 2, difference: DIFFERENCE }] });
        expect((await scene.rows("notes")).map(({ id }) => id)).toEqual([1, 2]);
      },
      identity,
    );
  });

  test("stop: the source stops before that row, and goes on once its readers may have the new key", async () => {
    await shop(
      "stop",
      async (database, scene) => {
        await expect(
          scene.while(async () => {
            await begun(database, scene);
            await database.sql(`${CHANGE}; INSERT INTO bills VALUES (1, 3)`);
            await scene.untilRows("bills", 3);
          }),
        ).rejects.toMatchObject({ code: "SCHEMA_REFUSED", message: expect.stringContaining(`${DIFFERENCE}): `) });
        expect(await scene.refusal()).toMatchObject({ code: "SCHEMA_REFUSED", message: expect.stringContaining(WORDS) });
        await scene.accept("bills");
        await scene.while(async () => scene.untilRows("bills", 3));
        expect((await scene.rows("bills")).map(({ owner }) => owner)).toEqual([1, 1, 3]);
      },
      identity,
    );
  });
});

test("park: rows of the former key that come when the catalog shows the new one are parked under their own key, before those of the new", async () => {
  await shop("park", async (database, scene) => {
    await scene.while(async () => begun(database, scene));
    await database.sql("INSERT INTO bills VALUES (3, 1); DELETE FROM bills WHERE id = 2");
    await database.sql(`${CHANGE}; INSERT INTO bills VALUES (3, 2)`);
    await scene.while(async () => {
      await scene.untilRows(scene.parkedOf("bills"), 2);
      await scene.untilLevel(database);
      const parked = await scene.events(scene.parkedOf("bills"));
      expect(parked.map(({ op, values }) => [op, values[0], values[1]])).toEqual([
        ["c", 3, 1],
        ["d", 2, null],
        ["c", 3, 2],
      ]);
      expect(parked.map(({ key }) => key.length)).toEqual([6, 6, 7]); // five bytes before a key of one column, and of two
      await scene.accept("bills");
      expect(await scene.unpark("bills")).toBe(4); // the delete's tombstone among them
    });
    expect((await scene.rows("bills")).map(({ id, owner }) => [id, owner])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [3, 2],
    ]);
  });
});

test("version: rows of the former key that were not read before go to the topic of before; the version begins behind them", async () => {
  await shop("version", async (database, scene) => {
    await scene.while(async () => begun(database, scene));
    await database.sql("INSERT INTO bills VALUES (3, 1); DELETE FROM bills WHERE id = 2");
    await database.sql(`${CHANGE}; INSERT INTO bills VALUES (3, 2)`);
    await scene.while(async () => {
      await scene.untilRows("bills_v2", 3);
      await scene.untilRead();
      await scene.untilLevel(database);
    });
    expect((await scene.events("bills")).map(({ op }) => op)).toEqual(["c", "c", "c", "d"]);
    await expectSame(database, scene, "bills_v2");
  });
});

test.each([
  ["REPLICA IDENTITY FULL", FULL],
  ["REPLICA IDENTITY DEFAULT", ""],
])(
  "a key that two statements change, with rows between them that have none (%s): all are parked, and a version follows",
  async (_, identity) => {
    await shop(
      "park",
      async (database, scene) => {
        await scene.while(async () => begun(database, scene));
        await database.sql("ALTER TABLE bills DROP CONSTRAINT bills_pkey; INSERT INTO bills VALUES (2, 2)");
        await database.sql("ALTER TABLE bills ADD PRIMARY KEY (id, owner); INSERT INTO bills VALUES (2, 3)");
        await scene.while(async () => {
          await scene.untilRows(scene.parkedOf("bills"), 2);
          scene.options = { ...scene.options, incompatible: () => "version" };
        });
        await scene.while(async () => {
          await unparkedAsVersion(database, scene, 4);
        });
      },
      identity,
    );
  },
);

test("while a table of REPLICA IDENTITY FULL has no key its rows are parked; it has a version once it has one again", async () => {
  await shop(
    "park",
    async (database, scene) => {
      await scene.while(async () => {
        await begun(database, scene);
        await database.sql("ALTER TABLE bills DROP CONSTRAINT bills_pkey; INSERT INTO bills VALUES (2, 2)");
        await scene.untilRows(scene.parkedOf("bills"), 1);
        scene.options = { ...scene.options, incompatible: () => "version" };
      });
      await scene.while(async () => {
        await expect(scene.unpark("bills")).rejects.toMatchObject({ code: "STILL_REFUSED", message: expect.stringContaining("is ():") });
        await database.sql("ALTER TABLE bills ADD PRIMARY KEY (id, owner); INSERT INTO bills VALUES (2, 3)");
        await scene.untilRows(scene.parkedOf("bills"), 2);
        await unparkedAsVersion(database, scene, 4);
      });
    },
    FULL,
  );
});

test("a version whose name is taken is refused by `unpark`, and the source goes on", async () => {
  await shop("park", async (database, scene) => {
    await database.sql("CREATE TABLE bills_v2 (id int PRIMARY KEY)");
    await scene.while(async () => {
      await begun(database, scene);
      await database.sql(`${CHANGE}; INSERT INTO bills VALUES (1, 3)`);
      await scene.untilRows(scene.parkedOf("bills"), 1);
      scene.options = { ...scene.options, incompatible: () => "version" };
    });
    await scene.while(async () => {
      await expect(scene.unpark("bills")).rejects.toMatchObject({ code: "NAME_COLLISION" });
      await database.sql("INSERT INTO notes VALUES (1)");
      await scene.untilRows("notes", 1);
      expect(scene.parked).toEqual(["public.bills"]);
    });
  });
});

test("a chunk that shows another key before any row does parks its table", async () => {
  await shop("park", async (database, scene) => {
    await scene.while(async () => {
      await begun(database, scene);
      await database.sql(CHANGE);
      await scene.control?.requestSnapshot([{ table: { schema: "public", name: "bills" }, where: null }], "a test");
      await eventually("the table parked", () => scene.parked.includes("public.bills"));
      await scene.untilRows(scene.parkedOf("bills"), 2);
    });
    expect((await scene.events("bills")).map(({ op }) => op)).toEqual(["c", "c"]);
  });
});

test("a table may get its first key: only the registry's level is asked", async () => {
  await shop("stop", async (database, scene) => {
    await database.sql("CREATE TABLE heap (id int NOT NULL); ALTER TABLE heap REPLICA IDENTITY FULL");
    await scene.while(async () => {
      await database.sql("INSERT INTO heap VALUES (1)");
      await scene.untilRows("heap", 1);
      await scene.untilRead();
    });
    await database.sql("ALTER TABLE heap ADD PRIMARY KEY (id), ADD note text; INSERT INTO heap VALUES (2, 'x')");
    expect(await scene.refusal()).toMatchObject({ code: "SCHEMA_REFUSED", message: expect.stringContaining("null can't be read as int") });
    await scene.registry.setCompatibility(`${scene.topic("heap")}-value`, "NONE");
    await scene.while(async () => scene.untilRows("heap", 2));
  });
});
