// What servers of both versions send for each kind of change, in text and in binary.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { collect, commits, connectionOf, type Seen } from "./collect.ts";

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    beforeAll(async () => {
      database = await (await server()).createDatabase("pgoutput");
      await database.sql(`CREATE TABLE item (id int PRIMARY KEY, note text, big text); ALTER TABLE item ALTER big SET STORAGE EXTERNAL;
        CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE parts (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE parts_1 (gone int, day int NOT NULL, id int NOT NULL); ALTER TABLE parts_1 DROP COLUMN gone;
        ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (10);
        CREATE PUBLICATION p FOR TABLE item, whole, parts WITH (publish_via_partition_root = true)`);
    });
    afterAll(() => database[Symbol.asyncDispose]());

    /** The rows and other messages of statements, each in a transaction of its own. */
    async function changes(statements: readonly string[], binary = false): Promise<readonly Seen[]> {
      const slot = uniqueName("pgoutput");
      await database.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
      for (const statement of statements) await database.sql(statement);
      await using reader = await collect({ connection: connectionOf(database.url), slot, publication: "p", binary });
      await reader.until(({ seen }) => commits(seen).length === statements.length);
      return reader.seen.filter((each) => each.tag === "row" || (each.tag === "other" && each.name !== "R"));
    }
    const inserted = (...row: (string | null)[]): Seen => ({ tag: "row", operation: "I", old: null, new: row });

    test("an unchanged TOAST value is not sent; a changed key comes with the old one", async () => {
      const big = "x".repeat(5_000);
      expect(
        await changes([
          `INSERT INTO item VALUES (1, 'a', '${big}')`,
          "UPDATE item SET note = 'b'",
          "UPDATE item SET id = 2",
          "UPDATE item SET big = NULL",
          "DELETE FROM item",
        ]),
      ).toEqual([
        inserted("1", "a", big),
        { tag: "row", operation: "U", old: null, new: ["1", "b", undefined] },
        { tag: "row", operation: "U", old: { kind: "K", row: ["1", null, null] }, new: ["2", "b", undefined] },
        { tag: "row", operation: "U", old: null, new: ["2", "b", null] },
        { tag: "row", operation: "D", old: { kind: "K", row: ["2", null, null] }, new: null },
      ]);
    });

    test("with REPLICA IDENTITY FULL the whole old row comes with every update", async () => {
      expect(await changes(["INSERT INTO whole VALUES (1, 'a')", "UPDATE whole SET b = 'c'", "DELETE FROM whole"])).toEqual([
        inserted("1", "a"),
        { tag: "row", operation: "U", old: { kind: "O", row: ["1", "a"] }, new: ["1", "c"] },
        { tag: "row", operation: "D", old: { kind: "O", row: ["1", "c"] }, new: null },
      ]);
    });

    test("a partition's rows come in the root's order of columns", async () => {
      expect(await changes(["INSERT INTO parts VALUES (7, 3)", "DELETE FROM parts_1"])).toEqual([
        inserted("7", "3"),
        { tag: "row", operation: "D", old: { kind: "K", row: ["7", "3"] }, new: null },
      ]);
    });

    test("binary values", async () => {
      expect(await changes(["INSERT INTO item VALUES (258, 'é', NULL)", "TRUNCATE item"], true)).toEqual([
        inserted("00000102", "c3a9", null),
        { tag: "other", name: "T" },
      ]);
    });
  });
