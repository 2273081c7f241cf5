// R-checkpoint: data and checkpoint move together, or not at all.
import { describe, expect, test } from "vitest";
import { KEPT_RUNS } from "../../../src/core/warehouse.ts";
import { at, change, letter, tableFlush, Worker } from "../staged.ts";
import { hard, type OpenWarehouse } from "./open-warehouse.ts";

const { signal } = new AbortController();

export function checkpointSuite(warehouse: OpenWarehouse): void {
  const { merge, sql, rows } = warehouse;

  describe("R-checkpoint", () => {
    test("what was merged and how far it was are read back together", async () => {
      await merge(hard, [change(1, { id: 1n })]);
      await merge(hard, [change(2, { id: 2n })]);
      const { fence, checkpoints } = await warehouse.session.acquire("lake");
      expect(checkpoints).toEqual([{ topic: "t", partition: 0, topicId: "id", nextOffset: 2, sequence: at(2) }]);
      expect(fence).toBe(2);
      expect((await warehouse.session.acquire("another")).checkpoints).toEqual([]);
    });

    test("a flush from a place that is not the checkpoint changes nothing", async () => {
      await warehouse.session.ensureTarget(hard);
      const flush = warehouse.worker.flush([tableFlush(hard, [change(1, { id: 1n, name: "first" })])]);
      await warehouse.session.flush(flush, signal);
      const replay = { ...flush, tables: [tableFlush(hard, [change(2, { id: 1n, name: "second" })])] };
      await expect(warehouse.session.flush(replay, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
      const elsewhere = {
        ...replay,
        checkpoints: flush.checkpoints.map((move) => ({ ...move, expected: { topicId: "id", nextOffset: 5 }, nextOffset: 6 })),
      };
      await expect(warehouse.session.flush(elsewhere, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
      expect(await rows()).toEqual([["1", "first", null]]);
      expect((await warehouse.session.acquire("lake")).checkpoints[0]?.nextOffset).toBe(1);
    });

    test("a topic that was made again has another id: its row is replaced by who knows the old one, and by nobody else", async () => {
      await merge(hard, [change(1, { id: 1n })]);
      const flush = warehouse.worker.flush([]);
      const [move] = flush.checkpoints;
      const another = { ...flush, checkpoints: [{ ...move!, topicId: "new", expected: { topicId: "new", nextOffset: 1 } }] };
      await expect(warehouse.session.flush(another, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
      const replaced = { ...flush, checkpoints: [{ ...move!, topicId: "new", nextOffset: 0, expected: { topicId: "id", nextOffset: 1 } }] };
      await warehouse.session.flush(replaced, signal);
      expect((await warehouse.session.acquire("lake")).checkpoints).toMatchObject([{ topicId: "new", nextOffset: 0 }]);
      await warehouse.worker.acquire(warehouse.session);
      await expect(warehouse.session.flush({ ...replaced, fence: warehouse.worker.fence }, signal)).rejects.toMatchObject({
        code: "CHECKPOINT_MOVED",
      });
    });

    test("a sink that is forgotten leaves no checkpoint and no open letter, and the others keep theirs", async () => {
      await merge(hard, [change(1, { id: 1n })]);
      await warehouse.worker.merge(warehouse.session, [], { deadLetters: [letter(1)] });
      const { fence } = await warehouse.session.acquire("lake");
      expect(await warehouse.session.forget("another")).toEqual({ checkpoints: 0, deadLetters: 0 });
      expect(await warehouse.session.forget("lake")).toEqual({ checkpoints: 1, deadLetters: 1 });
      expect(await warehouse.session.forget("lake")).toEqual({ checkpoints: 0, deadLetters: 0 });
      expect(await warehouse.session.openKeys("lake")).toEqual([]);
      expect(await rows()).toEqual([["1", null, null]]);
      // A worker of before must not be taken for a new one.
      expect(await warehouse.session.acquire("lake")).toEqual({ fence: fence + 1, checkpoints: [] });
    });

    test("one partition that moved spoils the flush of all", async () => {
      await merge(hard, [change(1, { id: 1n })]);
      const flush = warehouse.worker.flush([tableFlush(hard, [change(2, { id: 2n })])]);
      const [move] = flush.checkpoints;
      const both = { ...flush, checkpoints: [move!, { ...move!, partition: 1, expected: { topicId: "id", nextOffset: 3 } }] };
      const error = await warehouse.session.flush(both, signal).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ code: "CHECKPOINT_MOVED", message: "another worker moved the checkpoint of t partition 1" });
      expect((await rows()).length).toBe(1);
      const right = { ...flush, checkpoints: [move!, { ...move!, partition: 1, expected: null }] };
      await warehouse.session.flush(right, signal);
      expect((await warehouse.session.acquire("lake")).checkpoints.map(({ partition, nextOffset }) => [partition, nextOffset])).toEqual([
        [0, 2],
        [1, 2],
      ]);
    });

    test("a worker that another one has replaced can't flush any more", async () => {
      await warehouse.session.ensureTarget(hard);
      const old = new Worker();
      await old.acquire(warehouse.session);
      await warehouse.worker.acquire(warehouse.session);
      await expect(old.merge(warehouse.session, [tableFlush(hard, [change(1, { id: 1n })])])).rejects.toMatchObject({
        code: "CHECKPOINT_MOVED",
      });
      expect(await rows()).toEqual([]);
      await merge(hard, [change(1, { id: 1n, name: "by the new one" })]);
      expect(await rows()).toEqual([["1", "by the new one", null]]);
    });

    test("a flush says when a table's rows are staged: once a table that has some, before it is durable", async () => {
      const said: string[] = [];
      const flush = warehouse.worker.flush([tableFlush(hard, [change(1, { id: 1n })]), tableFlush(hard, [])], {
        onStaged: () => said.push("staged"),
      });
      await warehouse.session.ensureTarget(hard);
      await warehouse.session.flush(flush, signal).then(() => said.push("durable"));
      expect(said).toEqual(["staged", "durable"]);
    });

    test("every flush is a row of the runs table", async () => {
      await warehouse.session.ensureTarget(hard);
      await warehouse.worker.merge(warehouse.session, [
        tableFlush(hard, [change(1, { id: 1n }), change(2, { id: 2n }), change(3, { id: 3n }, ["note"])]),
      ]);
      const run =
        "SELECT sink, events::text, merged::text, dead_letters::text, first_sequence, last_sequence, (finished_at > started_at)::text FROM _tailrace.runs";
      expect(await sql(run)).toEqual([["lake", "3", "2", "1", at(1), at(3), "true"]]);
    });

    test("the runs table keeps the last ones of each sink, whoever else has some", async () => {
      const run = (sink: string, n: string): string =>
        `SELECT '${sink}', now(), now(), ${n}, 0, 0, '', '' FROM generate_series(1, ${KEPT_RUNS + 300}) AS g(n)`;
      const columns = "(sink, started_at, finished_at, events, merged, dead_letters, first_sequence, last_sequence)";
      await sql(
        `INSERT INTO _tailrace.runs ${columns} ${run("lake", "g.n")}; INSERT INTO _tailrace.runs ${columns} ${run("other", "g.n")}; SELECT ''`,
      );
      await warehouse.worker.merge(warehouse.session, []);
      expect(await sql("SELECT sink, count(*)::text, max(events)::text FROM _tailrace.runs GROUP BY sink ORDER BY 1")).toEqual([
        ["lake", String(KEPT_RUNS), String(KEPT_RUNS + 300)],
        ["other", String(KEPT_RUNS + 300), String(KEPT_RUNS + 300)],
      ]);
    });

    test("prepare and ensureTarget can be repeated", async () => {
      await merge(hard, [change(1, { id: 1n })]);
      await warehouse.session.prepare();
      await warehouse.session.ensureTarget(hard);
      expect((await warehouse.session.acquire("lake")).checkpoints.length).toBe(1);
      expect((await rows()).length).toBe(1);
    });
  });

  describe("aborting", () => {
    test("a flush that is aborted in the middle changes nothing, and the next session goes on", async () => {
      await warehouse.session.ensureTarget(hard);
      const many = tableFlush(
        hard,
        Array.from({ length: 60_000 }, (_, id) => change(1, { id: BigInt(id), name: "n" })),
      );
      const controller = new AbortController();
      const reason = new Error("enough");
      setTimeout(() => controller.abort(reason), 30);
      await expect(warehouse.session.flush(warehouse.worker.flush([many]), controller.signal)).rejects.toBe(reason);
      expect(await rows()).toEqual([]);
      expect((await warehouse.session.acquire("lake")).checkpoints).toEqual([]);
    });

    test("what was aborted before it began is not begun", async () => {
      const reason = new Error("enough");
      await expect(warehouse.session.flush(warehouse.worker.flush([]), AbortSignal.abort(reason))).rejects.toBe(reason);
      await expect(warehouse.place.warehouse.open(AbortSignal.abort(reason))).rejects.toBe(reason);
      expect((await warehouse.session.acquire("lake")).checkpoints).toEqual([]);
    });
  });
}
