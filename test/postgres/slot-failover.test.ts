// R-slot on a real promotion: a new timeline alone is no gap.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { parseLsn, toLsn } from "../../src/core/lsn.ts";
import { readServer, readTimelineHistory, wrongServer } from "../../src/postgres/server.ts";
import { Session } from "../../src/postgres/session.ts";
import { createSlot, judgeSlot, readSlot } from "../../src/postgres/slot.ts";
import { clusterProblem, switchPoint } from "../../src/postgres/timeline.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { collect, commits, connectionOf } from "./collect.ts";

test(
  "R-slot: after a promotion the slot goes on, and only what was published past the switch point is a loss",
  { timeout: 120_000 },
  async () => {
    await using server = await startTestPostgres(18);
    const settings = connectionOf(server.url);
    const signal = new AbortController().signal;
    const before = await withSession(async (session) => {
      await session.query("CREATE TABLE public.item (id int PRIMARY KEY)");
      await session.query("CREATE PUBLICATION p FOR TABLE public.item");
      await createSlot(session, { name: "s" });
      await session.query("INSERT INTO public.item VALUES (1)");
      return readServer(session);
    });
    await server.stop("fast");
    await writeFile(path.join(server.dataDir, "standby.signal"), "", { mode: 0o644 });
    await server.restart();

    await withSession(async (session) => {
      const standby = await readServer(session);
      expect(wrongServer(standby, session.peer)?.code).toBe("NOT_PRIMARY");
      await session.query("SELECT pg_promote()");
      const now = await readServer(session);
      expect([before.timeline, now.timeline, now.inRecovery]).toEqual([1, 2, false]);
      const history = await readTimelineHistory(settings, now.timeline, signal);
      const point = switchPoint(history, 1) ?? toLsn(0n);
      expect(point).toBeGreaterThan(before.walEnd);
      const known = { systemIdentifier: before.systemIdentifier, timeline: 1, published: before.walEnd };
      expect(clusterProblem(known, { ...now, history })).toBeNull();
      expect(clusterProblem({ ...known, published: parseLsn("FF/0") }, { ...now, history })).toMatchObject({ code: "WAL_REWOUND" });
      expect(judgeSlot(await readSlot(session, "s"), { database: "postgres", recorded: before.walEnd }).kind).toBe("usable");
    });
    await using reader = await collect({ connection: settings, slot: "s", publication: "p" });
    await reader.until(({ seen }) => commits(seen).length === 1);

    async function withSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
      await using session = await Session.open(settings, signal);
      return await work(session);
    }
  },
);
