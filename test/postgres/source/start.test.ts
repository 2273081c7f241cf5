// What a source finds when it starts again, on real servers of both versions: gaps, obstacles, and rows from before a change.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../../support/servers.ts";
import { SourceScene } from "./source-scene.ts";

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    const open: (() => Promise<unknown>)[] = [];
    beforeEach(async () => {
      database = await (await server()).createDatabase("source");
      open.push(async () => database[Symbol.asyncDispose]());
    });
    afterEach(async () => {
      for (const close of open.splice(0).reverse()) await close();
    });
    const sceneOf = async (url?: string): Promise<SourceScene> => {
      const scene = await SourceScene.open(database, url === undefined ? {} : { url });
      open.push(async () => scene[Symbol.asyncDispose]());
      return scene;
    };

    describe("a gap is named before an obstacle, which would hide it until it is mended", () => {
      let scene: SourceScene;
      let role: string;
      /** A source that has published a row, as a role that may stream and no longer publish. */
      beforeEach(async () => {
        role = uniqueName("clerk");
        await database.sql(`CREATE TABLE item (id int PRIMARY KEY); CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'clerk'; ALTER TABLE item OWNER TO ${role};
          GRANT CREATE ON DATABASE ${database.name} TO ${role}; GRANT ALL ON SCHEMA public TO ${role}`);
        const url = new URL(database.url);
        [url.username, url.password] = [role, "clerk"];
        scene = await sceneOf(url.href);
        await scene.while(async () => {
          await database.sql("INSERT INTO item VALUES (1)");
          await scene.untilRows("item", 1);
        });
        await database.sql(`ALTER TABLE item OWNER TO CURRENT_USER; REVOKE CREATE ON DATABASE ${database.name} FROM ${role}`);
        open.push(async () => database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`));
      });

      test("R-publication: a publication that is gone, and may not be made again", async () => {
        await database.sql(`DROP PUBLICATION ${scene.options.publication}`);
        expect((await scene.refusal()).code).toBe("PUBLICATION_MISSING");
      });

      test("R-slot: a slot that is gone, and a role that may not make one", async () => {
        await database.sql(`SELECT pg_drop_replication_slot('${scene.options.slot}'); ALTER ROLE ${role} NOREPLICATION`);
        expect((await scene.refusal()).code).toBe("SLOT_MISSING");
      });

      test("R-routing: a topic that is gone, and a new table that may not be published", async () => {
        await database.sql("CREATE TABLE other (id int PRIMARY KEY)");
        const topic = scene.topic("item");
        await scene.log.deleteTopic(topic, new AbortController().signal);
        expect(await scene.refusal()).toMatchObject({ code: "TOPIC_LOST", message: expect.stringContaining(`topic ${topic} `) });
      });

      test("without a gap the obstacle is named", async () => {
        await database.sql("CREATE TABLE other (id int PRIMARY KEY)");
        expect(await scene.refusal()).toMatchObject({
          code: "PRIVILEGE_MISSING",
          message: expect.stringContaining("ownership of table public.other"),
        });
      });
    });

    test("R-routing: a topic of barriers that is gone, or was made again, is named; the source does not make another", async () => {
      const { signal } = new AbortController();
      await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
      const scene = await sceneOf();
      const topic = `${scene.options.topics.prefix}.barriers`;
      await scene.while(async () => {
        await database.sql("INSERT INTO item VALUES (1)");
        await scene.untilRows("item", 1);
      });
      const [before] = await scene.log.topics([topic], signal);
      await scene.log.deleteTopic(topic, signal);
      for (const _ of ["first", "second"])
        expect(await scene.refusal()).toMatchObject({ code: "TOPIC_LOST", message: expect.stringContaining(`topic ${topic} `) });
      expect(await scene.log.topics([topic], signal)).toEqual([]);
      await scene.log.createTopic({ name: topic, partitions: 1, replication: -1, configs: {} }, signal);
      expect(await scene.refusal()).toMatchObject({ code: "TOPIC_LOST", message: expect.stringContaining(`it was ${before?.id}`) });
    });

    test("rows from before a DROP COLUMN are read, whatever the column's type, as long as the type is there", async () => {
      await database.sql(`CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(6, 2);
        CREATE TABLE item (id int PRIMARY KEY, feeling mood, address inet, cost price, note text)`);
      const scene = await sceneOf();
      await scene.while(async () => undefined);
      await database.sql("INSERT INTO item VALUES (1, 'ok', '10.0.0.1/8', 12.5, 'x')");
      await database.sql("ALTER TABLE item DROP COLUMN feeling, DROP COLUMN address, DROP COLUMN cost; INSERT INTO item VALUES (2, 'y')");
      await scene.while(async () => scene.untilRows("item", 2));
      expect(await scene.rows("item")).toEqual([
        { id: 1, feeling: "ok", address: "10.0.0.1/8", cost: 1250n, note: "x" },
        { id: 2, note: "y" },
      ]);
    });

    test("rows from before a column was widened are read, though the registry was first asked for the wider one", async () => {
      await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
      const scene = await sceneOf();
      await scene.while(async () => undefined);
      await database.sql(
        "ALTER TABLE item ADD n int2, ADD m int, ADD cost numeric(6, 2); INSERT INTO item VALUES (1, -2, 2147483647, -12.5)",
      );
      await database.sql("ALTER TABLE item ALTER n TYPE int, ALTER m TYPE int8, ALTER cost TYPE numeric(16, 2)");
      await database.sql("INSERT INTO item VALUES (2, 2147483647, 9223372036854775807, 12345678901234.56)");
      await scene.while(async () => scene.untilRows("item", 2));
      expect(await scene.rows("item")).toEqual([
        { id: 1, n: -2, m: 2_147_483_647n, cost: -1250n },
        { id: 2, n: 2_147_483_647, m: 9_223_372_036_854_775_807n, cost: 1_234_567_890_123_456n },
      ]);
    });

    test("rows from before a DROP TYPE are refused, and the column is named", async () => {
      await database.sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE item (id int PRIMARY KEY, feeling mood)");
      const scene = await sceneOf();
      await scene.while(async () => undefined);
      await database.sql("INSERT INTO item VALUES (1, 'ok')");
      await database.sql("ALTER TABLE item DROP COLUMN feeling; DROP TYPE mood");
      expect(await scene.refusal()).toMatchObject({ code: "SCHEMA_CHANGED", message: expect.stringContaining("column feeling") });
    });

    test("a table that was dropped with rows still unread is named, once, and the others go on", async () => {
      await database.sql("CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)");
      const scene = await sceneOf();
      await scene.while(async () => undefined);
      await database.sql("INSERT INTO gone VALUES (1); INSERT INTO item VALUES (1)");
      await database.sql("DROP TABLE gone; INSERT INTO item VALUES (2)");
      await scene.while(async () => scene.untilRows("item", 2));
      await scene.while(async () => undefined);
      expect(scene.warnings).toEqual([{ table: "public.gone", message: expect.stringMatching(/was dropped.*passed over/) }]);
    });

    test("a table that was made after the start and is published all the same is named", async () => {
      await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
      const scene = await sceneOf();
      await scene.while(async () => {
        await database.sql(`CREATE TABLE late (id int PRIMARY KEY); ALTER PUBLICATION ${scene.options.publication} ADD TABLE late`);
        await database.sql("INSERT INTO late VALUES (1); INSERT INTO item VALUES (1)");
        await scene.untilRows("item", 1);
      });
      expect(scene.warnings).toEqual([{ table: "public.late", message: expect.stringContaining("until a new session captures it") }]);
    });
  });
