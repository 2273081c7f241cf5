// What a server of either version says when it ends or refuses a stream. Each has a server of its own, to be shut down.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import pg from "pg";
import { TailraceError } from "../../src/core/errors.ts";
import { toLsn } from "../../src/core/lsn.ts";
import type { PostgresServer } from "../../src/quickstart/postgres-server.ts";
import { Session } from "../../src/postgres/session.ts";
import { createSlot, judgeSlot, readSlot } from "../../src/postgres/slot.ts";
import { missingPostgres, startTestPostgres, type PostgresVersion } from "../support/postgres.ts";
import { collect, commits, connectionOf, type Collector } from "./collect.ts";

describe.for([15, 18] as const)("PostgreSQL %i", (version: PostgresVersion) => {
  describe.skipIf(missingPostgres(version) !== null)("a server of its own", () => {
    let server: PostgresServer;
    const signal = new AbortController().signal;
    const sql = async (text: string): Promise<void> => {
      const client = new pg.Client({ connectionString: server.url });
      client.on("error", () => undefined); // the query under way fails as well
      await client.connect();
      await client.query(text).finally(() => client.end());
    };
    const open = (slot: string, publication = "p", url = server.url): Promise<Collector> =>
      collect({ connection: connectionOf(url), slot, publication });
    const errorOf = async (promise: Promise<unknown>): Promise<TailraceError> => {
      const error: unknown = await promise.then(
        () => null,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof TailraceError)) throw new Error(`expected a TailraceError, got ${String(error)}`);
      return error;
    };

    beforeAll(async () => {
      server = await startTestPostgres(version, { max_slot_wal_keep_size: "1MB", min_wal_size: "32MB", max_wal_size: "32MB" });
      await sql("CREATE TABLE item (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE item; CREATE ROLE plain LOGIN PASSWORD 'plain'");
    });
    afterAll(() => server[Symbol.asyncDispose]());

    test("R-publication: a missing publication ends the stream as PUBLICATION_MISSING, by a warning or an error", async () => {
      await sql("SELECT pg_create_logical_replication_slot('unpublished', 'pgoutput')");
      await using reader = await open("unpublished", "nowhere");
      await sql("INSERT INTO item VALUES (1)");
      expect((await errorOf(reader.stream.ended)).code).toBe("PUBLICATION_MISSING");
    });

    test("a slot of another database is SLOT_FOREIGN", async () => {
      await sql("CREATE DATABASE other");
      await sql("SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')");
      const other = new URL(server.url);
      other.pathname = "/other";
      expect((await errorOf(open("elsewhere", "p", other.href))).code).toBe("SLOT_FOREIGN");
    });

    test("a role without REPLICATION is PRIVILEGE_MISSING with the statement that mends it", async () => {
      const plain = new URL(server.url);
      plain.username = plain.password = "plain";
      const error = await errorOf(open("elsewhere", "p", plain.href));
      expect([error.code, error.remedy]).toEqual(["PRIVILEGE_MISSING", 'run as an administrator: ALTER ROLE "plain" REPLICATION']);
    });

    test("a slot whose WAL was removed is judged lost, and SLOT_LOST when it is streamed from all the same", async () => {
      await using session = await Session.open(connectionOf(server.url), signal);
      await createSlot(session, { name: "left_behind" });
      for (let round = 0; round < 5; round++)
        await sql("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)); SELECT pg_switch_wal(); CHECKPOINT");
      const verdict = judgeSlot(await readSlot(session, "left_behind"), { database: "postgres", recorded: null });
      expect(verdict).toEqual({ kind: "lost", reason: "wal_removed" });
      expect((await errorOf(open("left_behind"))).code).toBe("SLOT_LOST");
    });

    test("R-harmless: a server that shuts down does not wait for ever for what is not durable in our log", async () => {
      await sql("SELECT pg_create_logical_replication_slot('last', 'pgoutput')");
      await using reader = await open("last");
      await sql("INSERT INTO item VALUES (2)");
      await reader.until(({ seen }) => commits(seen).length === 1);
      const since = performance.now();
      const [, error] = await Promise.all([server.stop("fast"), errorOf(reader.stream.ended)]);
      expect([error.code, error.retry]).toEqual(["STREAM_LOST", "auto"]);
      expect(performance.now() - since).toBeLessThan(19_000); // after 20 s it would have been killed
      // Nothing was acknowledged, so it is all there after the restart.
      await server.restart();
      await using again = await collect({ connection: connectionOf(server.url), slot: "last", publication: "p", from: toLsn(1n) });
      await again.until(({ seen }) => commits(seen).length === 1);
    });

    test("a killed server is STREAM_LOST", async () => {
      await sql("SELECT pg_create_logical_replication_slot('killed', 'pgoutput')");
      await using reader = await open("killed");
      await server.kill();
      expect((await errorOf(reader.stream.ended)).code).toBe("STREAM_LOST");
      expect((await errorOf(open("killed"))).code).toBe("DATABASE_UNREACHABLE");
    });
  });
});
