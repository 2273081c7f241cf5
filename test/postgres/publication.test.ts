// The publication as it is made, extended and compared, on real servers of both versions.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TailraceError } from "../../src/core/errors.ts";
import { resolveTables } from "../../src/postgres/catalog.ts";
import {
  compareFingerprints,
  dropPublication,
  ensurePublication,
  readPublication,
  type PublicationFingerprint,
} from "../../src/postgres/publication.ts";
import { Session } from "../../src/postgres/session.ts";
import type { CatalogTable } from "../../src/postgres/table-judgement.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { withClient } from "../support/databases.ts";
import { connectionOf } from "./collect.ts";

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("publication");
      await database.sql(`CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE no_key (id int, n int);
        CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)`);
      session = await Session.open(connectionOf(database.url), new AbortController().signal);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    const tables = async (...names: string[]): Promise<readonly CatalogTable[]> =>
      (
        await resolveTables(
          session,
          {
            matches: (schema, table) => schema === "public" && (names.includes(table) || names.includes("*")),
            named: [],
            asked: () => null,
            overlooked: () => [],
          },
          null,
        )
      ).tables;
    const read = async (publication: string): Promise<PublicationFingerprint> => {
      const seen = await readPublication(session, publication, await tables("*"));
      if (seen === null) throw new Error(`publication ${publication} is not there`);
      return seen;
    };
    const ensure = async (publication: string, create: boolean, ...names: string[]): Promise<PublicationFingerprint> =>
      ensurePublication(session, { name: publication, tables: await tables(...names), create });
    const errorOf = async (promise: Promise<unknown>): Promise<TailraceError> => {
      const error: unknown = await promise.then(
        () => null,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof TailraceError)) throw new Error(`expected a TailraceError, got ${String(error)}`);
      return error;
    };

    test("a table that somebody vacuums or rewrites is waited for, and who does is named", async () => {
      const publication = uniqueName("locked");
      await withClient(database.url, async (holder) => {
        await holder.query("SET application_name = 'nightly'");
        await holder.query("BEGIN; LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE"); // as VACUUM and CREATE INDEX CONCURRENTLY do
        const error = await errorOf(ensure(publication, true, "a", "b"));
        expect(error).toMatchObject({ code: "PUBLICATION_WAITS", retry: "auto", message: expect.stringMatching(/public\.a .*nightly/) });
        await holder.query("ROLLBACK");
      });
      expect((await ensure(publication, true, "a", "b")).tables).toHaveLength(2);
      await dropPublication(session, publication);
    });

    test("R-harmless: with public.* over a schema with a keyless table, the application's UPDATE on it still works", async () => {
      const publication = uniqueName("harmless");
      const made = await ensure(publication, true, "*");
      expect(made.tables.map((table) => table.name)).toEqual(["a", "b", "parts"]);
      await database.sql("INSERT INTO no_key VALUES (1, 1); UPDATE no_key SET n = 2; DELETE FROM no_key");
      // The naive use, which Tailrace never makes, does break the application.
      await database.sql(`CREATE PUBLICATION naive FOR ALL TABLES`);
      await expect(database.sql("UPDATE no_key SET n = 3")).rejects.toThrow("does not have a replica identity");
      await database.sql("DROP PUBLICATION naive");
    });

    test("it is made with all four operations and through the partition root, and found unchanged the next time", async () => {
      const publication = uniqueName("made");
      const made = await ensure(publication, true, "a", "parts");
      expect(made).toMatchObject({ insert: true, update: true, delete: true, truncate: true, viaRoot: true, generated: false });
      const again = await ensure(publication, true, "a", "parts");
      expect(compareFingerprints(made, again)).toBeNull();
      await dropPublication(session, publication);
      expect(await readPublication(session, publication, [])).toBeNull();
    });

    test("a table that is new in the configuration is added, and is no difference", async () => {
      const publication = uniqueName("grown");
      const before = await ensure(publication, true, "a");
      const after = await ensure(publication, true, "a", "b");
      expect(after.tables.map((table) => table.name)).toEqual(["a", "b"]);
      expect(compareFingerprints(before, after)).toBeNull();
    });

    test("with create: false a missing publication, table or operation is PUBLICATION_NOT_MADE with SQL that mends it", async () => {
      const publication = uniqueName("by_hand");
      for (const step of [() => ensure(publication, false, "a"), () => ensure(publication, false, "a", "b")]) {
        const error = await errorOf(step());
        expect(error.code).toBe("PUBLICATION_NOT_MADE");
        await database.sql(error.remedy.replace("run as the tables' owner: ", ""));
        await step();
      }
      await database.sql(`ALTER PUBLICATION ${publication} SET (publish = 'insert')`);
      const error = await errorOf(ensure(publication, true, "a"));
      expect(error.message).toContain("update, delete, truncate");
      await database.sql(error.remedy.replace("run as the tables' owner: ", ""));
      await ensure(publication, false, "a");
    });

    test("R-publication: each way in which changes can pass unpublished is a difference, by name", async () => {
      const publication = uniqueName("compared");
      await ensure(publication, true, "a", "b");
      for (const [sql, words] of [
        [
          `ALTER PUBLICATION ${publication} DROP TABLE b; ALTER PUBLICATION ${publication} ADD TABLE b`,
          "table public.b was taken out and added again",
        ],
        [`ALTER PUBLICATION ${publication} DROP TABLE b`, "table public.b is not in it any more"],
        [`ALTER PUBLICATION ${publication} SET TABLE a WHERE (id > 1), b`, "table public.a was taken out and added again"],
        [`ALTER PUBLICATION ${publication} SET (publish = 'insert, update, delete')`, "publishing TRUNCATE was turned off"],
        [`ALTER PUBLICATION ${publication} SET (publish_via_partition_root = false)`, "publish_via_partition_root was turned off"],
        [
          `DROP PUBLICATION ${publication}; CREATE PUBLICATION ${publication} FOR TABLE a, b WITH (publish_via_partition_root = true)`,
          "it was dropped and made again",
        ],
        [
          "DROP TABLE b; CREATE TABLE b (id int PRIMARY KEY); " + `ALTER PUBLICATION ${publication} ADD TABLE b`,
          "table public.b was dropped and made again",
        ],
      ] as const) {
        await database.sql(
          `ALTER PUBLICATION ${publication} SET TABLE a, b; ALTER PUBLICATION ${publication} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`,
        );
        const before = await read(publication);
        await database.sql(sql);
        expect(compareFingerprints(before, await read(publication))).toBe(words);
      }
    });

    test("R-harmless: nothing is published when a key was dropped since the tables were looked at", async () => {
      await database.sql("CREATE TABLE late (id int PRIMARY KEY)");
      const seen = await tables("late");
      await database.sql("ALTER TABLE late DROP CONSTRAINT late_pkey");
      const publication = uniqueName("late");
      const error = await errorOf(ensurePublication(session, { name: publication, tables: seen, create: true }));
      expect([error.code, error.message]).toEqual(["TABLE_WITHOUT_KEY", expect.stringContaining("public.late")]);
      expect(await readPublication(session, publication, seen)).toBeNull();
      await database.sql("DROP TABLE late");
    });

    test("a partition whose root is published is named: its rows would come by the root's name", async () => {
      const publication = uniqueName("root");
      await ensure(publication, true, "parts");
      const error = await errorOf(ensure(publication, true, "parts_1"));
      expect([error.code, error.message]).toEqual(["TABLE_UNSUPPORTED", expect.stringContaining("name the root instead")]);
    });

    test("a publication of all tables, or of a schema, serves as it is", async () => {
      const all = uniqueName("all");
      await database.sql(`CREATE PUBLICATION ${all} FOR ALL TABLES; CREATE PUBLICATION ${all}_schema FOR TABLES IN SCHEMA public`);
      for (const publication of [all, `${all}_schema`])
        expect((await ensure(publication, false, "a", "b")).tables.map((table) => table.name)).toEqual(["a", "b"]);
      await database.sql(`DROP PUBLICATION ${all}, ${all}_schema`);
    });

    test("a user who may not publish is told so, with the statement", async () => {
      const role = uniqueName("plain");
      await database.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'plain'`);
      const url = new URL(database.url);
      [url.username, url.password] = [role, "plain"];
      await using plain = await Session.open(connectionOf(url.href), new AbortController().signal);
      const error = await errorOf(ensurePublication(plain, { name: "plain", tables: await tables("a"), create: true }));
      expect([error.code, error.remedy]).toEqual([
        "PRIVILEGE_MISSING",
        expect.stringContaining('CREATE PUBLICATION "plain" FOR TABLE "public"."a"'),
      ]);
      await plain[Symbol.asyncDispose]();
      await database.sql(`DROP ROLE ${role}`);
    });
  });
