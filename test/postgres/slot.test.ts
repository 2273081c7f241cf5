// Slots and the facts about the server, on real servers of both versions.
import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TailraceError } from "../../src/core/errors.ts";
import {
  missingPrivileges,
  readServer,
  readTimelineHistory,
  serverProblems,
  wrongServer,
  type Publishing,
} from "../../src/postgres/server.ts";
import { Session } from "../../src/postgres/session.ts";
import { createSlot, dropSlot, judgeSlot, readSlot } from "../../src/postgres/slot.ts";
import { eventually } from "../support/eventually.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName, type SharedPostgres, type TestDatabase } from "../support/servers.ts";
import { collect, connectionOf, openClient, untilOldest } from "./collect.ts";

for (const [name, suite, server, version] of [
  ["PostgreSQL 18", describe, postgres, 18],
  ["PostgreSQL 15", describeWithPostgres15, postgres15, 15],
] as [string, typeof describe, () => Promise<SharedPostgres>, number][])
  suite(name, () => {
    let database: TestDatabase;
    let session: Session;
    const signal = new AbortController().signal;
    beforeAll(async () => {
      database = await (await server()).createDatabase("slot");
      await database.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE a");
      session = await Session.open(connectionOf(database.url), signal);
    });
    afterAll(async () => {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    test("a slot is made for pgoutput, follows a failover where the server can, and is dropped", async () => {
      const slot = uniqueName("made");
      const start = await createSlot(session, { name: slot });
      const seen = await readSlot(session, slot);
      expect(seen).toMatchObject({
        plugin: "pgoutput",
        database: database.name,
        temporary: false,
        twoPhase: false,
        failover: version >= 17,
        activePid: null,
        invalidationReason: null,
      });
      expect(judgeSlot(seen, { database: database.name, recorded: start })).toEqual({ kind: "usable", confirmed: start });
      await dropSlot(session, slot);
      await dropSlot(session, slot);
      expect(await readSlot(session, slot)).toBeNull();
    });

    test("a temporary slot goes with its session", async () => {
      const slot = uniqueName("temporary");
      await using short = await Session.open(connectionOf(database.url), signal);
      await createSlot(short, { name: slot, temporary: true });
      expect(await readSlot(session, slot)).toMatchObject({ temporary: true, failover: false });
      await short[Symbol.asyncDispose]();
      await eventually("the slot is gone", async () => (await readSlot(session, slot)) === null);
    });

    test("a slot in use is judged active, with the name of its reader", async () => {
      const slot = uniqueName("active");
      await createSlot(session, { name: slot });
      await using _reader = await collect({ connection: connectionOf(database.url), slot, publication: "p" });
      expect(judgeSlot(await readSlot(session, slot), { database: database.name, recorded: null })).toMatchObject({
        kind: "active",
        application: "tailrace test",
      });
    });

    test("a slot that can't be made because of an open transaction names who holds it up, and leaves nothing", async () => {
      await using writer = await openClient(database.url);
      await writer.query("SET application_name = 'month end'; BEGIN; INSERT INTO a VALUES (1)");
      await untilOldest(database, "month end");
      const slot = uniqueName("waits");
      const error: unknown = await createSlot(session, { name: slot, timeoutMs: 500 }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "SLOT_WAITS", message: expect.stringContaining("month end") });
      await writer.query("ROLLBACK");
      expect(await readSlot(session, slot)).toBeNull();
      await createSlot(session, { name: slot });
    });

    test("a slot is made when a transaction has ended that was open for longer than a lock is waited for elsewhere", async () => {
      await using writer = await openClient(database.url);
      await writer.query("SET application_name = 'slow'; BEGIN; INSERT INTO a VALUES (2)");
      await untilOldest(database, "slow");
      const slot = uniqueName("patient");
      const making = createSlot(session, { name: slot, timeoutMs: 30_000 });
      making.catch(() => undefined); // awaited below
      await sleep(6_000);
      await writer.query("ROLLBACK");
      expect(await making).toBeGreaterThan(0n);
      expect(await session.query("SHOW lock_timeout")).toEqual([{ lock_timeout: "5s" }]);
    });

    test("the server's facts, of which none is a problem here", async () => {
      const facts = await readServer(session);
      expect(facts).toMatchObject({
        walLevel: "logical",
        inRecovery: false,
        timeline: 1,
        encoding: "UTF8",
        user: { superuser: true, replication: true, createOnDatabase: true },
      });
      expect(Math.floor(facts.version / 10_000)).toBe(version);
      expect(facts.systemIdentifier).toMatch(/^\d{15,20}$/);
      expect(wrongServer(facts, session.peer)).toBeNull();
      expect(serverProblems(facts, true)).toEqual([]);
      expect(await readTimelineHistory(connectionOf(database.url), facts.timeline, signal)).toEqual([]);
    });

    test("each missing privilege is named with the statement that grants it, and the statements suffice", async () => {
      const role = uniqueName("plain");
      await database.sql(`CREATE ROLE ${role}_owner; ALTER TABLE a OWNER TO ${role}_owner; ALTER PUBLICATION p OWNER TO ${role}_owner;
        CREATE ROLE ${role} LOGIN PASSWORD 'plain'`);
      const url = new URL(database.url);
      [url.username, url.password] = [role, "plain"];
      await using plain = await Session.open(connectionOf(url.href), signal);
      const [table] = await database.sql<{ oid: number }>("SELECT 'a'::regclass::oid AS oid");
      const tables = [{ schema: "public", name: "a", oid: table?.oid ?? 0 }];
      const missing = async (publishing: Publishing | null): Promise<readonly TailraceError[]> =>
        missingPrivileges(plain, await readServer(plain), publishing);
      const messages = (errors: readonly TailraceError[]): string[] =>
        errors.map((error) => error.message.replace(`user ${role} lacks `, ""));
      const making = { publication: "new", exists: false, tables };
      expect(messages(await missing(null))).toEqual(["the REPLICATION attribute"]);
      expect(messages(await missing({ publication: "p", exists: true, tables }))).toEqual([
        "the REPLICATION attribute",
        "ownership of publication p",
        "ownership of table public.a",
      ]);
      const before = await missing(making);
      expect(messages(before)).toEqual(["the REPLICATION attribute", `CREATE on database ${database.name}`, "ownership of table public.a"]);
      for (const error of before) await database.sql(error.remedy.replace("run as an administrator: ", ""));
      expect(await missing(making)).toEqual([]);
      await plain.query("CREATE PUBLICATION made_by_plain FOR TABLE public.a");
      await plain[Symbol.asyncDispose]();
      await database.sql(`DROP PUBLICATION made_by_plain; ALTER TABLE a OWNER TO CURRENT_USER; ALTER PUBLICATION p OWNER TO CURRENT_USER;
        DROP OWNED BY ${role}; DROP ROLE ${role}, ${role}_owner`);
    });

    test("a database whose encoding is SQL_ASCII is refused by name", async () => {
      const ascii = uniqueName("ascii");
      await session.query(`CREATE DATABASE ${ascii} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`);
      const url = new URL(database.url);
      url.pathname = `/${ascii}`;
      {
        await using inside = await Session.open(connectionOf(url.href), signal);
        const problems = serverProblems(await readServer(inside), true);
        expect(problems.map(({ code, message }) => [code, message])).toEqual([["DATABASE_ENCODING", expect.stringContaining(ascii)]]);
      }
      await session.query(`DROP DATABASE ${ascii} WITH (FORCE)`);
    });

    test("logins that fail are named, and no message or cause holds the password; nothing of them is kept", async () => {
      const listeners = getEventListeners(signal, "abort").length;
      for (const [edit, code] of [
        [(url: URL) => (url.pathname = "/nowhere"), "DATABASE_LOGIN"],
        [(url: URL) => (url.username = "nobody"), "DATABASE_LOGIN"],
        [(url: URL) => (url.port = "1"), "DATABASE_UNREACHABLE"],
        [(url: URL) => (url.hostname = "nowhere.invalid"), "DATABASE_UNREACHABLE"],
      ] as const) {
        const url = new URL(database.url);
        url.password = "s3cret";
        edit(url);
        const error: unknown = await Session.open(connectionOf(url.href), signal).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code });
        expect(JSON.stringify([error, String(error), (error as Error).stack, String((error as Error).cause)])).not.toContain("s3cret");
        expect(getEventListeners(signal, "abort")).toHaveLength(listeners); // a server may be away for days, and asked every minute
      }
      const unreadable: unknown = await Session.open(connectionOf("postgres://user:s3cret@host:port/x"), signal).catch(
        (thrown: unknown) => thrown,
      );
      expect(unreadable).toMatchObject({ code: "DATABASE_UNREACHABLE" });
      expect(JSON.stringify([unreadable, String(unreadable), String((unreadable as Error).cause)])).not.toContain("s3cret");
    });

    test("a session that was ended between two statements says why at the next one", async () => {
      await using mine = await Session.open(connectionOf(database.url), signal);
      const pid = Number((await mine.query("SELECT pg_backend_pid() AS pid"))[0]?.pid);
      await database.sql("SELECT pg_terminate_backend($1)", [pid]);
      const isGone = async (): Promise<boolean> => (await database.sql("SELECT FROM pg_stat_activity WHERE pid = $1", [pid])).length === 0;
      await eventually("it is gone", isGone);
      await expect(mine.query("SELECT 1")).rejects.toMatchObject({
        code: "DATABASE_UNREACHABLE",
        message: expect.stringContaining("terminating connection due to administrator command"),
      });
    });

    test("an abort ends a statement that runs, with the signal's reason", async () => {
      const abort = new AbortController();
      await using mine = await Session.open(connectionOf(database.url), abort.signal);
      const running = mine.query("SELECT pg_sleep(20)");
      abort.abort(new Error("asked to stop"));
      await expect(running).rejects.toThrow("asked to stop");
    });
  });
