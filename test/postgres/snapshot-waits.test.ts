// R-window-start: who is waited for, on a server of its own, since transactions of every database count.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PostgresServer } from "../../src/quickstart/postgres-server.ts";
import type { Session } from "../../src/postgres/session.ts";
import { describeHolder, transactionHolders, type Holder } from "../../src/postgres/snapshot-holders.ts";
import { writeMark } from "../../src/postgres/snapshot-mark.ts";
import { freshXid, waitForXmin } from "../../src/postgres/snapshot-waits.ts";
import { databaseOn, query } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { missingPostgres, startTestPostgres } from "../support/postgres.ts";
import { collect, connectionOf, newKeys, openClient } from "./collect.ts";
import { EVERYTHING, newMark, openReader, readRows, see } from "./snapshot-scene.ts";

for (const version of [18, 15] as const)
  describe.skipIf(missingPostgres(version) !== null)(`PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    let url: string;
    let session: Session;
    beforeAll(async () => {
      server = await startTestPostgres(version, { autovacuum: "off" }); // it would be waited for, too
      url = await databaseOn(server.url, "shop");
      await query(url, "CREATE TABLE item (id int PRIMARY KEY, note text)");
      session = await openReader(url);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });
    const signal = new AbortController().signal;

    /** The xmin of the last look. */
    async function waitTold(on: Session, xid: number, told: (holders: readonly Holder[]) => void): Promise<number> {
      let last = "";
      await waitForXmin(on, xid, (snapshot) => (last = snapshot), told, signal);
      return Number(last.split(":")[0]);
    }

    type Waiting = { readonly done: Promise<number>; readonly told: () => readonly Holder[] };

    /** Begins to wait for everything that is open now, and sees that it waits for somebody. */
    async function startWaiting(on: Session = session): Promise<Waiting> {
      let told: readonly Holder[] = [];
      const xid = await freshXid(on);
      const done = waitTold(on, xid, (holders) => (told = holders)).then((xmin) => xmin - xid);
      done.catch(() => undefined); // a test that has failed waits for it no more
      await Promise.race([eventually("somebody is waited for", () => told.length > 0), done]);
      return { done, told: () => told };
    }

    test("with nobody to wait for it is over at once, and a fresh id is above every older one", async () => {
      const [first, second] = [await freshXid(session), await freshXid(session)];
      expect(second).toBeGreaterThan(first);
      const told: unknown[] = [];
      expect(await waitTold(session, second, (holders) => told.push(holders))).toBeGreaterThan(second);
      expect(told).toEqual([]);
    });

    test("R-window-start: a session that has written is waited for and named, one that has only read is not", async () => {
      await using reader = await openClient(url);
      await reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item");
      await using writer = await openClient(url);
      await writer.query("SET application_name = 'month end'; BEGIN; INSERT INTO item VALUES (1, 'open')");
      const { done, told } = await startWaiting();
      expect(told()).toMatchObject([
        { gid: null, user: "postgres", application: "month end", database: "shop", state: "idle in transaction" },
      ]);
      expect(told()[0]?.since).toMatch(/^\d{4}-\d\d-\d\dT/);
      expect(describeHolder(told()[0]!)).toMatch(/^PID \d+ \(month end, user postgres, database shop\), idle in transaction since 2/);
      await writer.query("COMMIT");
      expect(await done).toBeGreaterThanOrEqual(0);
    });

    test("a subtransaction's id does not name its session twice", async () => {
      await using writer = await openClient(url);
      await writer.query(
        "BEGIN; INSERT INTO item VALUES (10, 'top'); SAVEPOINT s; INSERT INTO item VALUES (11, 'sub'); SAVEPOINT t; INSERT INTO item VALUES (12, 'sub')",
      );
      const { done, told } = await startWaiting();
      expect(told()).toHaveLength(1);
      await writer.query("ROLLBACK");
      await done;
    });

    test("R-window-start: a prepared transaction is waited for, by its name", async () => {
      await query(url, "BEGIN; INSERT INTO item VALUES (2, 'prepared'); PREPARE TRANSACTION 'it''s half way'");
      const { done, told } = await startWaiting();
      expect(told()).toMatchObject([{ pid: null, gid: "it's half way", user: "postgres", database: "shop", state: null }]);
      expect(describeHolder(told()[0]!)).toContain(`prepared transaction "it's half way" (user postgres, database shop), prepared since 2`);
      await query(url, "COMMIT PREPARED 'it''s half way'");
      await done;
    });

    test("a transaction of another database counts: snapshots are the cluster's", async () => {
      await using other = await openClient(server.url);
      await other.query("BEGIN; CREATE TABLE elsewhere (id int)");
      const { done, told } = await startWaiting();
      expect(told()).toMatchObject([{ database: "postgres" }]);
      await other.query("ROLLBACK");
      await done;
    });

    test("without pg_read_all_stats the session is named all the same, and what it does is said to be hidden", async () => {
      await query(url, "CREATE ROLE plain LOGIN PASSWORD 'plain'");
      const own = new URL(url);
      [own.username, own.password] = ["plain", "plain"];
      await using plain = await openReader(own.href);
      await using writer = await openClient(url);
      await writer.query("SET application_name = 'secret'; BEGIN; INSERT INTO item VALUES (3, 'open')");
      const { done, told } = await startWaiting(plain);
      expect(told()).toMatchObject([{ user: "postgres", application: "secret", database: "shop", state: null, since: null }]);
      expect(describeHolder(told()[0]!)).toMatch(
        /^PID \d+ \(secret, user postgres, database shop\), doing what only pg_read_all_stats shows$/,
      );
      await writer.query("ROLLBACK");
      await done;
    });

    test("a wait ends with its signal, at once", async () => {
      await using writer = await openClient(url);
      await writer.query("BEGIN; INSERT INTO item VALUES (4, 'open')");
      const abort = new AbortController();
      await using mine = await openReader(url, {}, abort.signal);
      const waiting = waitForXmin(
        mine,
        await freshXid(mine),
        () => undefined,
        () => abort.abort(new Error("asked to stop")),
        abort.signal,
      );
      const since = performance.now();
      await expect(waiting).rejects.toThrow("asked to stop");
      expect(performance.now() - since).toBeLessThan(10_000);
    });

    test("R-window: a commit that waits for its standby is in the stream while every snapshot still hides it; it is waited for by name", async () => {
      await query(url, "TRUNCATE item; INSERT INTO item VALUES (1, 'old')");
      await query(url, "CREATE PUBLICATION p FOR TABLE item");
      await query(url, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
      await using stream = await collect({ connection: connectionOf(url), slot: "s", publication: "p" });
      await query(server.url, "ALTER SYSTEM SET synchronous_standby_names = 'nowhere'");
      await query(server.url, "SELECT pg_reload_conf()");
      await eventually("the setting is there", async () => {
        const [row] = await query(url, "SHOW synchronous_standby_names");
        return row?.synchronous_standby_names === "nowhere";
      });
      await using writer = await openClient(url);
      await writer.query("SET application_name = 'patient'");
      const stuck = writer.query("UPDATE item SET note = 'new' WHERE id = 1");
      try {
        await stream.until(({ seen }) => seen.some((each) => each.tag === "commit"));
        const begin = stream.seen.find((each) => each.tag === "begin");
        const table = await see(session, "public.item");
        let snapshot = "";
        const mark = newMark(); // committed although nobody confirms it: synchronous_commit is local
        const rows = await readRows(session, table, EVERYTHING, { mark, seen: (seen) => (snapshot = seen) });
        expect(rows).toEqual([["1", "old"]]);
        const [xmin = "", xmax = "", running = ""] = snapshot.split(":");
        expect(Number(begin?.xid)).toBe(Number(xmin));
        expect(Number(xmax)).toBeGreaterThanOrEqual(Number(xmin));
        expect(running === "" ? xmin : running).toContain(String(begin?.xid));
        await stream.until(({ seen }) => seen.some((each) => each.tag === "message"));
        expect(newKeys(stream.seen)).toEqual(["1"]);

        await writeMark(session, newMark());
        const { told } = await startWaiting();
        expect(told()).toMatchObject([{ application: "patient", waitsFor: "SyncRep" }]);
        expect(describeHolder(told()[0]!)).toContain("committed, waiting for a synchronous standby");
        const later = await openReader(url);
        const others = await transactionHolders(later, null);
        expect(others.map(({ application }) => application)).toEqual(["patient"]);
        await later[Symbol.asyncDispose]();
      } finally {
        await query(server.url, "ALTER SYSTEM RESET synchronous_standby_names");
        await query(server.url, "SELECT pg_reload_conf()");
      }
      await stuck;
      const table = await see(session, "public.item");
      expect(await readRows(session, table)).toEqual([["1", "new"]]);
    });
  });
