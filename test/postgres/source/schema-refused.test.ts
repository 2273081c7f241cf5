// What becomes of a source when the registry refuses a table's new schema, with schema_changes.incompatible: stop.
import { expect, test } from "vitest";
import { postgres } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();

test("R-logical: the source stops before the first event of a refused schema, and goes on whole once readers may have it", async () => {
  await using database = await (await server).createDatabase("refused");
  await database.sql("CREATE TABLE bills (id int PRIMARY KEY, total numeric(10,2)); CREATE TABLE notes (id int PRIMARY KEY, note text)");
  await using scene = await SourceScene.open(database);
  scene.options = { ...scene.options, incompatible: () => "stop" };
  await scene.while(async () => {
    await database.sql("INSERT INTO bills VALUES (1, 1.25)");
    await scene.untilRows("bills", 1);
  });
  // Nobody reads meanwhile: rows of both shapes wait in the WAL.
  await database.sql("INSERT INTO bills VALUES (2, 2.25); INSERT INTO notes VALUES (1, 'x')");
  await database.sql("ALTER TABLE bills ALTER total TYPE numeric(12,4)");
  await database.sql("INSERT INTO bills VALUES (3, 3.2525)");

  const error = await scene.refusal();
  const subject = `${scene.topic("bills")}-value`;
  expect(error).toMatchObject({ code: "SCHEMA_REFUSED", retry: "operator" });
  expect(error.message).toContain("table public.bills is refused (total: numeric(10,2) → numeric(12,4))");
  expect(error.message).toContain(`${subject}: Schema being registered is incompatible`);
  expect(error.message).toContain("the logical type changed from decimal(10,2) to decimal(12,4)");
  expect(error.remedy).toContain(
    `curl -X DELETE ${scene.registry.url}/subjects/${subject}; then tailrace resume DIR ${scene.options.name}`,
  );
  expect((await scene.refusal()).code).toBe("SCHEMA_REFUSED");

  await scene.registry.deleteSubject(subject, false);
  await scene.while(async () => {
    await scene.untilRows("bills", 3);
    await scene.untilRows("notes", 1);
  });
  const rows = await scene.rows("bills");
  expect(rows.map(({ id }) => id)).toEqual([1, 2, 3]);
  expect((await scene.events("bills")).map(({ op }) => op)).toEqual(["c", "c", "c"]);
});

test("a refused schema that comes while it streams stops the source there: what stood before is delivered once, also after the stop", async () => {
  await using database = await (await server).createDatabase("refused");
  await database.sql("CREATE TABLE bills (id int PRIMARY KEY, note int)");
  await using scene = await SourceScene.open(database);
  scene.options = { ...scene.options, incompatible: () => "stop" };
  await expect(
    scene.while(async () => {
      await database.sql("INSERT INTO bills SELECT i, i FROM generate_series(1, 500) i");
      await database.sql(
        "BEGIN; INSERT INTO bills VALUES (501, 501); ALTER TABLE bills ALTER note TYPE text; INSERT INTO bills VALUES (502, 'x'); COMMIT",
      );
      await scene.untilRows("bills", 502);
    }),
  ).rejects.toMatchObject({ code: "SCHEMA_REFUSED", message: expect.stringContaining("note: int4 → text") });
  await scene.registry.deleteSubject(`${scene.topic("bills")}-value`, false);
  await scene.while(async () => scene.untilRows("bills", 502));
  const ids = (await scene.rows("bills")).map(({ id }) => id);
  expect(ids).toEqual(Array.from({ length: 502 }, (_, index) => index + 1));
});
