// R-sweep: rows that a complete snapshot has not brought again are gone.
import { describe, expect, test } from "vitest";
import { at, change, deletion, tableFlush, targetSpec, type Row } from "../staged.ts";
import { COLUMNS, hard, type OpenWarehouse, soft, TARGET } from "./open-warehouse.ts";

const { signal } = new AbortController();

export function sweepsSuite(warehouse: OpenWarehouse): void {
  const { merge, sql, rows, softRows, tombstones } = warehouse;

  /** One flush of these rows and a sweep. */
  const mergeAndSweep = async (spec: typeof hard, changes: readonly Row[], opening: string) => {
    await warehouse.session.ensureTarget(spec);
    const sweeps = [{ target: spec.target, deletes: spec.deletes, opening }];
    return warehouse.worker.merge(warehouse.session, [tableFlush(spec, changes)], { sweeps });
  };

  describe("R-sweep", () => {
    test("rows of the target below the opening mark go, those at or above it stay, and the floor keeps older ones out", async () => {
      await merge(hard, [
        change(1, { id: 1n, name: "gone" }),
        change(1, { id: 2n, name: "read again" }),
        change(6, { id: 3n, name: "newer" }),
      ]);
      await merge(hard, [deletion(3, { id: 4n })]);
      await mergeAndSweep(hard, [change(7, { id: 2n, name: "read again" }), change(5, { id: 5n, name: "at the mark" })], at(5));
      const left = [
        ["2", "read again", null],
        ["3", "newer", null],
        ["5", "at the mark", null],
      ];
      expect(await rows()).toEqual(left);
      expect(await tombstones()).toEqual([]);
      expect((await merge(hard, [change(4, { id: 1n, name: "redelivered" }), change(2, { id: 4n, name: "deleted" })])).merged).toEqual([0]);
      expect(await rows()).toEqual(left);
    });

    test("with soft deletes they are marked deleted with their last values, those that the sweep's own flush brought among them", async () => {
      await merge(soft, [change(1, { id: 1n, name: "gone", note: "x" }), change(1, { id: 2n, name: "old", note: "long" })]);
      await merge(soft, [deletion(2, { id: 3n })]);
      await mergeAndSweep(soft, [change(4, { id: 2n, name: "last" }, ["note"]), change(6, { id: 4n, name: "stays" })], at(5));
      const left = [
        ["1", "gone", "x", "true"],
        ["2", "last", "long", "true"],
        ["3", null, null, "true"],
        ["4", "stays", null, "false"],
      ];
      expect(await softRows()).toEqual(left);
      expect((await merge(soft, [change(4, { id: 1n, name: "redelivered" })])).merged).toEqual([0]);
      await merge(soft, [change(8, { id: 1n, name: "again" })]);
      expect((await softRows())[0]).toEqual(["1", "again", null, "false"]);
    });

    for (const spec of [hard, soft]) {
      test(`a second run of the same sweep, and a sweep of an older mark, change nothing (${spec.deletes} deletes)`, async () => {
        await mergeAndSweep(spec, [change(1, { id: 1n, name: "gone" }), change(9, { id: 2n, name: "stays" })], at(5));
        const all = () =>
          sql("SELECT * EXCLUDE (_tailrace_merged_ts) FROM analytics.orders").catch(() => sql("SELECT o.* FROM analytics.orders o"));
        const [before, floors] = [await all(), await sql("SELECT * FROM _tailrace.floors")];
        await mergeAndSweep(spec, [], at(5));
        await mergeAndSweep(spec, [], at(3));
        expect(await all()).toEqual(before);
        expect(await sql("SELECT * FROM _tailrace.floors")).toEqual(floors);
      });
    }

    test("one that is said again looks at no row of the target: that takes as long as to read all of it", async () => {
      await mergeAndSweep(hard, [change(9, { id: 2n, name: "stays" })], at(5));
      await sql(`INSERT INTO analytics.orders (id, name, _tailrace_seq) VALUES (1, 'seen by whoever looks', '${at(1)}')`);
      await mergeAndSweep(hard, [], at(5));
      await mergeAndSweep(hard, [], at(3));
      expect((await rows()).length).toBe(2);
      await mergeAndSweep(hard, [], at(6));
      expect((await rows()).length).toBe(1);
    });

    test("a target that is first made by the flush of a sweep, after the opening mark, loses what streamed before the mark; said again, the end has nothing to take", async () => {
      const streamed = [change(1, { id: 1n, name: "deleted in the gap" }), change(2, { id: 2n, name: "old" })];
      const read = [change(6, { id: 2n, name: "read" }), change(7, { id: 3n, name: "newer" })];
      await mergeAndSweep(hard, [...streamed.slice(0, 1), ...read], at(5));
      const left = [
        ["2", "read", null],
        ["3", "newer", null],
      ];
      expect(await rows()).toEqual(left);
      await mergeAndSweep(hard, streamed, at(5));
      expect(await rows()).toEqual(left);
    });

    test("a target that is dropped after a sweep and made again from the start of the log gets nothing that the sweep took, though the end is passed over", async () => {
      const log = [
        change(1, { id: 1n, name: "deleted in the gap" }),
        change(6, { id: 2n, name: "read" }),
        change(8, { id: 3n, name: "newer" }),
      ];
      await mergeAndSweep(hard, log, at(5));
      await sql("DROP TABLE analytics.orders");
      await merge(hard, log.slice(0, 1)).catch(() => undefined); // so a connection that is kept hears of it
      await sql("SELECT 1");
      await merge(hard, log.slice(0, 1));
      expect(await rows()).toEqual([]);
      await mergeAndSweep(hard, log.slice(1), at(5));
      expect(await rows()).toEqual([
        ["2", "read", null],
        ["3", "newer", null],
      ]);
    });

    test("a target that merges of hard deletes have made, and none of soft ones yet: its rows below the mark are marked deleted all the same", async () => {
      await merge(hard, [change(1, { id: 1n, name: "gone" }), change(6, { id: 2n, name: "stays" })]);
      const sweep = { target: TARGET, deletes: "soft", opening: at(5) } as const;
      for (const _ of ["once", "said again"]) {
        await warehouse.session.ensureMark(sweep);
        await warehouse.worker.merge(warehouse.session, [], { sweeps: [sweep] });
      }
      expect(await softRows()).toEqual([
        ["1", "gone", null, "true"],
        ["2", "stays", null, null],
      ]);
    });

    test("a target that does not exist, or that no merge has made, has its floor and nothing else", async () => {
      const other = { schema: "analytics", name: "other" };
      await merge(targetSpec({ schema: "analytics", name: "first" }, ["id"], COLUMNS), []);
      await sql("CREATE TABLE analytics.other (id BIGINT)");
      await warehouse.worker.merge(warehouse.session, [], {
        sweeps: [
          { target: TARGET, deletes: "hard", opening: at(5) },
          { target: other, deletes: "soft", opening: at(6) },
        ],
      });
      expect(await sql("SELECT target_name, sequence FROM _tailrace.floors ORDER BY 1")).toEqual([
        ["orders", at(5)],
        ["other", at(6)],
      ]);
      await merge(hard, [change(4, { id: 1n, name: "redelivered" }), change(6, { id: 2n, name: "newer" })]);
      expect(await rows()).toEqual([["2", "newer", null]]);
    });

    test("a sweep is there with its flush, or not at all", async () => {
      await merge(hard, [change(1, { id: 1n, name: "a" })]);
      const flush = warehouse.worker.flush([], { sweeps: [{ target: TARGET, deletes: "hard", opening: at(5) }] });
      const late = { ...flush, checkpoints: flush.checkpoints.map((move) => ({ ...move, expected: { topicId: "id", nextOffset: 7 } })) };
      await expect(warehouse.session.flush(late, signal)).rejects.toMatchObject({ code: "CHECKPOINT_MOVED" });
      expect(await rows()).toEqual([["1", "a", null]]);
      expect(await sql("SELECT sequence FROM _tailrace.floors")).toEqual([]);
    });
  });
}
