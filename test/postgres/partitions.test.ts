// What PostgreSQL leaves unsent of a partitioned table that is published through its root: `check` and the operations page
// warn of it, and a version that sends it makes this fail.
import { describe, expect, test } from "vitest";
import { Session } from "../../src/postgres/session.ts";
import { createSlot } from "../../src/postgres/slot.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres } from "../support/servers.ts";
import { collect, connectionOf, newKeys, type Seen } from "./collect.ts";

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    test("a partition that is truncated, detached, dropped, or attached with rows, sends nothing; rows written through either table do", async () => {
      await using database = await (await server()).createDatabase("partitions");
      await database.sql(`CREATE TABLE item (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE item_0 PARTITION OF item FOR VALUES FROM (0) TO (10); CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (10) TO (20);
        CREATE TABLE item_2 PARTITION OF item FOR VALUES FROM (20) TO (30); CREATE TABLE item_3 (id int PRIMARY KEY); INSERT INTO item_3 VALUES (30);
        CREATE PUBLICATION p FOR TABLE item WITH (publish_via_partition_root = true)`);
      const slot = uniqueName("slot");
      await using session = await Session.open(connectionOf(database.url), new AbortController().signal);
      await createSlot(session, { name: slot });

      await database.sql("INSERT INTO item VALUES (1), (11), (21); INSERT INTO item_1 VALUES (12); DELETE FROM item_1 WHERE id = 12");
      await database.sql("TRUNCATE item_0");
      await database.sql("ALTER TABLE item DETACH PARTITION item_1");
      await database.sql("DROP TABLE item_2");
      await database.sql("ALTER TABLE item ATTACH PARTITION item_3 FOR VALUES FROM (30) TO (40)");
      await database.sql("INSERT INTO item VALUES (2); TRUNCATE item; INSERT INTO item VALUES (3)");

      await using reader = await collect({ connection: connectionOf(database.url), slot, publication: "p" });
      await reader.until(({ seen }) => newKeys(seen).includes("3"));
      expect(reader.seen.flatMap(wordOf)).toEqual(["+1", "+11", "+21", "+12", "-12", "+2", "truncate", "+3"]);
    });
  });

function wordOf(seen: Seen): readonly string[] {
  if (seen.tag === "row") return [seen.new === null ? `-${seen.old?.row[0]}` : `+${seen.new[0]}`];
  return seen.tag === "other" && seen.name === "T" ? ["truncate"] : [];
}
