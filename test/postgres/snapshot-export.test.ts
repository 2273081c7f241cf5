// R-keyless: one snapshot for all chunks of a table, and the LSN from which on the stream has what it lacks.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatLsn } from "../../src/core/lsn.ts";
import type { Session } from "../../src/postgres/session.ts";
import type { ChunkPart } from "../../src/postgres/snapshot-chunk.ts";
import { exportSnapshot, type ExportedSnapshot, type ExportOptions } from "../../src/postgres/snapshot-export.ts";
import { blockCount } from "../../src/postgres/snapshot-plan.ts";
import type { SnapshotTable } from "../../src/postgres/snapshot-table.ts";
import { eventually } from "../support/eventually.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { collect, commits, connectionOf, openClient, untilOldest } from "./collect.ts";
import { errorOf, LIMITS, openReader, read, readRows, see } from "./snapshot-scene.ts";

/** Other tests use the server too, and a slot waits for all that they have open. */
const WAIT_MS = 60_000;

for (const [name, suite, server] of [
  ["PostgreSQL 18", describe, postgres],
  ["PostgreSQL 15", describeWithPostgres15, postgres15],
] as [string, typeof describe, () => Promise<SharedPostgres>][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    beforeAll(async () => {
      database = await (await server()).createDatabase("export");
      session = await openReader(database.url);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    const newSlot = (): string => uniqueName("tailrace_keyless");
    const take = (options: Partial<ExportOptions> = {}, signal = new AbortController().signal): Promise<ExportedSnapshot> =>
      exportSnapshot(connectionOf(database.url), { slot: newSlot(), waitMs: WAIT_MS, limits: LIMITS, ...options }, signal);
    const slots = async (): Promise<number> =>
      (await database.sql("SELECT FROM pg_replication_slots WHERE database = current_database() AND temporary")).length;
    const sessions = async (): Promise<number> =>
      (await database.sql("SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tailrace test%'"))
        .length;
    /** Until nobody but `session` is there: a backend goes a moment after its connection. */
    const alone = async (): Promise<boolean> => eventually("no other session is left", async () => (await sessions()) === 1);

    async function makeTable(rows: number): Promise<string> {
      const name = `public.${uniqueName("keyless")}`;
      await database.sql(`CREATE TABLE ${name} (n int, note text); ALTER TABLE ${name} REPLICA IDENTITY FULL;
        INSERT INTO ${name} SELECT g, repeat('x', 200) FROM generate_series(1, ${rows}) g`);
      return name;
    }
    const blocks = (from: number, to: number | null): ChunkPart => ({ kind: "blocks", from, to });

    /** All rows by ranges of ten blocks, as the first column's numbers. */
    async function numbers(table: SnapshotTable, under: string): Promise<readonly number[]> {
      const count = await blockCount(session, table);
      const seen: number[] = [];
      for (let from = 0; from === 0 || from < count; from += 10) {
        const part = blocks(from, from + 10 < count ? from + 10 : null);
        for (const row of await readRows(session, table, part, { under, mark: null })) seen.push(Number(row[0]));
      }
      return seen.sort((a, b) => a - b);
    }
    const upTo = (rows: number): readonly number[] => Array.from({ length: rows }, (_, i) => i + 1);

    test("R-keyless: every chunk sees what was committed below the consistent point, the stream has the rest, nothing is in both or in neither", async () => {
      const name = await makeTable(2_000);
      const [slot, publication] = [uniqueName("keyless"), uniqueName("keyless")];
      await database.sql(`CREATE PUBLICATION ${publication} FOR TABLE ${name}`);
      await database.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
      await using stream = await collect({ connection: connectionOf(database.url), slot, publication });
      await using writer = await openClient(database.url);
      let last = 2_000;
      let over = false;
      const write = async (): Promise<void> => {
        while (!over) await writer.query(`INSERT INTO ${name} VALUES (${++last}, 'late')`);
      };
      const writing = write();
      await eventually("it writes", () => last > 2_010);
      const table = await see(session, name);
      await using snapshot = await take();
      await eventually("it goes on", () => last > 2_100);
      const read = await numbers(table, snapshot.name);
      over = true;
      await writing;
      await stream.until(({ seen }) => commits(seen).length === last - 2_000);
      const late: number[] = [];
      let commitLsn = 0n;
      for (const each of stream.seen) {
        if (each.tag === "begin") commitLsn = each.finalLsn;
        if (each.tag === "row" && commitLsn >= snapshot.consistentPoint) late.push(Number(each.new?.[0]));
      }
      expect(read.length).toBeGreaterThan(2_000);
      expect([...read, ...late]).toEqual(upTo(last));
    });

    test("its slot is gone with the call, and disposing of it ends its transaction", async () => {
      await alone();
      const snapshot = await take();
      await eventually("its slot is gone", async () => (await slots()) === 0);
      expect(formatLsn(snapshot.consistentPoint)).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
      const table = await see(session, await makeTable(1));
      await snapshot[Symbol.asyncDispose]();
      await alone();
      const error = await errorOf(read(session, table, blocks(0, null), { under: snapshot.name }));
      expect(error).toMatchObject({ code: "SNAPSHOT_LOST", retry: "auto" });
    });

    test("a partitioned table's ranges of blocks are those of every partition", async () => {
      const name = uniqueName("parts");
      await database.sql(`CREATE TABLE ${name} (n int, note text) PARTITION BY RANGE (n);
        CREATE TABLE ${name}_1 PARTITION OF ${name} FOR VALUES FROM (0) TO (1001);
        CREATE TABLE ${name}_2 PARTITION OF ${name} FOR VALUES FROM (1001) TO (9999);
        ALTER TABLE ${name} REPLICA IDENTITY FULL; ALTER TABLE ${name}_1 REPLICA IDENTITY FULL; ALTER TABLE ${name}_2 REPLICA IDENTITY FULL;
        INSERT INTO ${name} SELECT g, repeat('x', 200) FROM generate_series(1, 3000) g`);
      await using snapshot = await take();
      expect(await numbers(await see(session, `public.${name}`), snapshot.name)).toEqual(upTo(3_000));
    });

    test("only the blocks of a range are read", async () => {
      const name = await makeTable(2_000);
      const [row] = await session.query(
        `EXPLAIN (ANALYZE, COSTS OFF, FORMAT JSON) SELECT * FROM ONLY ${name} WHERE ctid >= '(3,0)' AND ctid < '(5,0)'`,
      );
      expect(row?.["QUERY PLAN"]).toContain("Tid Range Scan");
    });

    test("a rewrite between two chunks moves rows between blocks: with the first snapshot alone some would be lost in silence", async () => {
      const name = await makeTable(2_000);
      const table = await see(session, name);
      await using snapshot = await take();
      await readRows(session, table, blocks(0, 10), { under: snapshot.name });
      await database.sql(`VACUUM FULL ${name}`);
      const error = await errorOf(read(session, table, blocks(10, null), { under: snapshot.name }));
      expect(error).toMatchObject({ code: "SNAPSHOT_LOST", message: expect.stringContaining(name) });
      await database.sql(`TRUNCATE ${name}`);
      await using naive = await openClient(database.url);
      await naive.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '${snapshot.name}'`);
      expect((await naive.query(`SELECT * FROM ${name}`)).rowCount).toBe(0);
      await naive.query("ROLLBACK");
    });

    test("R-keyless: the slot waits for who is open; who stays is named, in time, and nothing is left behind", async () => {
      await alone();
      await using writer = await openClient(database.url);
      await writer.query(`SET application_name = 'month end'; BEGIN; CREATE TABLE ${uniqueName("open")} (id int)`);
      await untilOldest(database, "month end");
      const since = performance.now();
      const error = await errorOf(take({ waitMs: 500 }));
      expect(error).toMatchObject({ code: "SLOT_WAITS", retry: "auto", message: expect.stringContaining("month end") });
      expect(performance.now() - since).toBeLessThan(20_000);
      await eventually("nothing is left", async () => (await slots()) === 0);
      await alone();

      const taking = take();
      await writer.query("COMMIT");
      await (await taking)[Symbol.asyncDispose]();
    });

    test("an abort while the slot waits is over at once", async () => {
      await using writer = await openClient(database.url);
      await writer.query(`BEGIN; CREATE TABLE ${uniqueName("open")} (id int)`);
      const abort = new AbortController();
      const taking = take({ waitMs: WAIT_MS }, abort.signal);
      await eventually("it waits", async () => {
        const waiting = await database.sql("SELECT FROM pg_locks WHERE locktype IN ('transactionid', 'virtualxid') AND NOT granted");
        return waiting.length > 0;
      });
      const since = performance.now();
      abort.abort(new Error("asked to stop"));
      await expect(taking).rejects.toThrow("asked to stop");
      expect(performance.now() - since).toBeLessThan(10_000);
      await writer.query("ROLLBACK");
    });

    test("settings that end idle transactions do not end it", async () => {
      const role = `idle_${randomBytes(3).toString("hex")}`;
      await database.sql(`CREATE ROLE ${role} LOGIN SUPERUSER REPLICATION PASSWORD 'x';
        ALTER ROLE ${role} SET idle_in_transaction_session_timeout = '100ms'`);
      const url = new URL(database.url);
      [url.username, url.password] = [role, "x"];
      const table = await see(session, await makeTable(10));
      await using snapshot = await exportSnapshot(
        connectionOf(url.href),
        { slot: newSlot(), waitMs: WAIT_MS, limits: LIMITS },
        new AbortController().signal,
      );
      await new Promise((resolve) => setTimeout(resolve, 500)); // five times the setting: the silence is the test
      expect(await numbers(table, snapshot.name)).toEqual(upTo(10));
      await snapshot[Symbol.asyncDispose]();
      await database.sql(`DROP ROLE ${role}`);
    });
  });
