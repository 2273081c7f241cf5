// R-dead at the source: a dead letter keeps its row's values out of the log. What a later event of the row leaves unsent is not there either.
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { postgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
/** Stored out of line: an UPDATE that leaves it alone does not send it. */
const body = (of: string): string => `repeat('${of}', 8000)`;

async function notes(mode: "initial" | "no_data", work: (database: TestDatabase, scene: SourceScene) => Promise<void>): Promise<void> {
  await using database = await (await server).createDatabase("letters");
  await database.sql(
    `CREATE TABLE notes (id int PRIMARY KEY, amount numeric(12,2), body text); ALTER TABLE notes ALTER body SET STORAGE EXTERNAL`,
  );
  await using scene = await SourceScene.open(database, { snapshot: { mode } });
  await work(database, scene);
}

async function targetBody(scene: SourceScene, id: number): Promise<unknown> {
  const row = (await scene.target("notes")).find((each) => each.id === id);
  return row === undefined ? null : [Number(row.amount) / 100, String(row.body).slice(0, 1), String(row.body).length];
}

const letters = (scene: SourceScene): readonly unknown[] =>
  scene.warnings.filter(({ message }) => message === "dead letter").map((warning) => (warning as { readonly code?: unknown }).code);

async function untilLetters(scene: SourceScene, count: number): Promise<void> {
  await eventually(`${count} dead letters`, () => letters(scene).length >= count, 30_000);
}

describe("an update that leaves a column unsent that a dead letter before it has changed", () => {
  test.each([
    ["at once", false],
    ["after a restart", true],
  ])("has the row read again, by its key alone: %s", async (_, restarts) => {
    await notes("initial", async (database, scene) => {
      const spoil = async (): Promise<void> => {
        await scene.untilRead();
        await database.sql(`INSERT INTO notes VALUES (1, 1, ${body("a")}), (2, 1, ${body("a")})`);
        await database.sql(`UPDATE notes SET amount = 'NaN', body = ${body("b")} WHERE id = 1`);
        await untilLetters(scene, 1);
      };
      const mend = async (): Promise<void> => {
        await database.sql("UPDATE notes SET amount = 2 WHERE id = 1");
        await eventually(
          "the row as it is",
          async () => JSON.stringify(await targetBody(scene, 1)) === JSON.stringify([2, "b", 8_000]),
          30_000,
        );
        await scene.untilRead();
        await database.sql("UPDATE notes SET amount = 3 WHERE id = 1");
        await scene.untilLevel(database);
      };
      if (restarts) {
        await scene.while(async () => {
          await spoil();
          await scene.untilLevel(database);
        });
        scene.forget();
        await scene.while(mend);
      } else {
        await scene.while(async () => {
          await spoil();
          await mend();
        });
      }
      expect(await targetBody(scene, 1)).toEqual([3, "b", 8_000]);
      // Row 2 was not read for it, nor row 1 again for the last update.
      expect((await scene.events("notes")).map(({ op }) => op).filter((op) => op === "r")).toEqual(["r"]);
      expect(letters(scene)).toEqual(["VALUE_OUT_OF_RANGE"]);
    });
  });

  test("is a dead letter too where no snapshots are made, until the column is sent", async () => {
    await notes("no_data", async (database, scene) => {
      await scene.while(async () => {
        await database.sql(`INSERT INTO notes VALUES (1, 1, ${body("a")})`);
        await database.sql(`UPDATE notes SET amount = 'NaN', body = ${body("b")} WHERE id = 1`);
        await database.sql("UPDATE notes SET amount = 2 WHERE id = 1");
        await untilLetters(scene, 2);
        expect(await targetBody(scene, 1)).toEqual([1, "a", 8_000]);
        await database.sql("UPDATE notes SET body = body || '' WHERE id = 1");
        await database.sql("UPDATE notes SET amount = 3 WHERE id = 1");
        await scene.untilLevel(database);
      });
      expect(await targetBody(scene, 1)).toEqual([3, "b", 8_000]);
      expect(letters(scene)).toEqual(["VALUE_OUT_OF_RANGE", "BEHIND_DEAD_LETTER"]);
    });
  });

  test("of a row that a snapshot could not bring either has it read again", async () => {
    await notes("initial", async (database, scene) => {
      await database.sql(`INSERT INTO notes VALUES (1, 'NaN', ${body("b")}), (2, 1, ${body("a")})`);
      await scene.while(async () => {
        await scene.untilRead();
        expect(letters(scene)).toEqual(["VALUE_OUT_OF_RANGE"]);
        expect((await scene.rows("notes")).map(({ id }) => id)).toEqual([2]);
        await database.sql("UPDATE notes SET amount = 2 WHERE id = 1");
        await eventually(
          "the row as it is",
          async () => JSON.stringify(await targetBody(scene, 1)) === JSON.stringify([2, "b", 8_000]),
          30_000,
        );
      });
      expect(await targetBody(scene, 2)).toEqual([1, "a", 8_000]);
    });
  });
});

test("a key that no event can hold makes letters without a key, of existing rows and of changes; the other rows go on", async () => {
  await using database = await (await server).createDatabase("letters");
  await database.sql("CREATE TABLE visits (at timestamp PRIMARY KEY, note text)");
  const beyond = "294247-01-10 04:00:54.775807"; // of the microseconds since 1970 that a long holds none is left
  await database.sql(`INSERT INTO visits VALUES ('${beyond}', 'read'), ('2026-11-30', 'read')`);
  await using scene = await SourceScene.open(database, { snapshot: { mode: "initial" } });
  await scene.while(async () => {
    await scene.untilRead();
    await database.sql(
      `UPDATE visits SET note = 'changed'; DELETE FROM visits WHERE at = '${beyond}'; INSERT INTO visits VALUES ('2026-12-01', 'new')`,
    );
    await untilLetters(scene, 3);
    await scene.untilLevel(database);
  });
  expect(letters(scene)).toEqual(["VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE"]);
  expect((await scene.target("visits")).map(({ note }) => note).sort()).toEqual(["changed", "new"]);
  const topic = `${scene.options.topics.prefix}.dead_letters`;
  const [range] = await scene.log.offsets(topic, AbortSignal.timeout(30_000));
  const { records } = await scene.log.read({ topic, partition: 0, offset: range?.start ?? 0 }, 1 << 20, AbortSignal.timeout(30_000));
  const kept = records.map(({ key, value }) => [key, (JSON.parse(value?.toString() ?? "") as { readonly op: string }).op]);
  expect(kept).toEqual([
    [null, "r"],
    [null, "u"],
    [null, "d"],
  ]);
});
