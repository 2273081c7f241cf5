// A change that PostgreSQL can't send: its buffers hold a gibibyte, and a slot passes over nothing.
import { expect, test } from "vitest";
import { postgres } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

const server = postgres();
/** Compressed it is small on the disk; the server's memory holds it for moments. */
const large = (of: string): string => `repeat('${of}', 600 * 1024 * 1024)`;

test("an UPDATE that is larger than 1 GiB with its former values stops the source by name, and the way that is given leads on", async () => {
  await using database = await (await server).createDatabase("wide");
  await database.sql(`CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, ${large("a")}), (2, 'small')`);
  await database.sql("ALTER TABLE notes REPLICA IDENTITY FULL; CREATE TABLE others (id int PRIMARY KEY)");
  await using scene = await SourceScene.open(database); // it does not read what is there, and an event of 600 MB is not this test's matter
  await scene.while(async () => {
    await database.sql("INSERT INTO others VALUES (1)");
    await scene.untilRows("others", 1);
  });
  await database.sql(`UPDATE notes SET body = ${large("b")} WHERE id = 1`);
  const error = await scene.refusal();
  expect(error).toMatchObject({ code: "STREAM_ROW_WIDE", retry: "operator", message: expect.stringContaining("1073741823 bytes") });

  const { slot } = scene.options;
  await database.sql(`ALTER TABLE notes REPLICA IDENTITY DEFAULT; UPDATE notes SET body = 'small' WHERE id = 1`);
  expect(error.remedy).toContain(`SELECT pg_drop_replication_slot('${slot}')`);
  await database.sql(`SELECT pg_drop_replication_slot('${slot}')`);
  scene.options = { ...scene.options, snapshot: { ...scene.options.snapshot, mode: "initial" } };
  await scene.while(async () => {
    await scene.untilRead();
    await scene.untilLevel(database);
  });
  expect((await scene.target("notes")).map(({ id, body }) => [id, body]).sort()).toEqual([
    [1, "small"],
    [2, "small"],
  ]);
});
