// What a flush does to the rows of its targets.
import { describe, expect, test } from "vitest";
import { at, change, deletion, tableFlush, targetSpec } from "../staged.ts";
import { COLUMNS, hard, type OpenWarehouse, TARGET } from "./open-warehouse.ts";

export function mergingSuite(warehouse: OpenWarehouse): void {
  const { kind, merge, sql, rows, tombstones } = warehouse;

  describe("merging", () => {
    test("inserts, updates and hard deletes arrive, and the rows that changed are counted", async () => {
      expect(
        (await merge(hard, [change(1, { id: 1n, name: "a" }), change(2, { id: 2n, name: "b" }), change(3, { id: 3n, name: "c" })])).merged,
      ).toEqual([3]);
      expect(
        (await merge(hard, [change(4, { id: 1n, name: "A", note: "x" }), deletion(5, { id: 2n }), deletion(6, { id: 9n })])).merged,
      ).toEqual([2]);
      expect(await rows()).toEqual([
        ["1", "A", "x"],
        ["3", "c", null],
      ]);
    });

    test("each row says its sequence, when it was committed and when it was merged", async () => {
      await merge(hard, [change(7, { id: 1n })]);
      const seconds = kind.name === "duckdb" ? "epoch(now())" : "extract(epoch FROM now())";
      const committed =
        kind.name === "duckdb" ? "epoch_us(_tailrace_commit_ts)" : "(extract(epoch FROM _tailrace_commit_ts) * 1000000)::bigint";
      const age = `(${seconds} - ${seconds.replace("now()", "_tailrace_merged_ts")}) BETWEEN 0 AND 60`;
      expect(await sql(`SELECT _tailrace_seq, ${committed}::text, (${age})::text FROM analytics.orders`)).toEqual([
        [at(7), "1700000000000000", "true"],
      ]);
    });

    test("a row that is older than the target's, or is the target's, changes nothing (R-sequence)", async () => {
      await merge(hard, [change(5, { id: 1n, name: "new" })]);
      expect((await merge(hard, [change(4, { id: 1n, name: "old" })])).merged).toEqual([0]);
      expect((await merge(hard, [change(5, { id: 1n, name: "again" })])).merged).toEqual([0]);
      expect((await merge(hard, [deletion(4, { id: 1n })])).merged).toEqual([0]);
      expect(await rows()).toEqual([["1", "new", null]]);
      expect(await tombstones()).toEqual([]);
    });

    test("sequences are ordered by epoch, then commit, then ordinal", async () => {
      await merge(hard, [{ row: { id: 1n, name: "a" }, at: at(0xff, 9, 1) }]);
      await merge(hard, [{ row: { id: 1n, name: "lower ordinal" }, at: at(0xff, 8, 1) }]);
      await merge(hard, [{ row: { id: 1n, name: "b" }, at: at(0x100, 0, 1) }]);
      await merge(hard, [{ row: { id: 1n, name: "c" }, at: at(1, 0, 2) }]);
      await merge(hard, [{ row: { id: 1n, name: "older epoch" }, at: at(0xffff, 0, 1) }]);
      expect(await rows()).toEqual([["1", "c", null]]);
    });

    test("keys of several columns identify a row together", async () => {
      const spec = targetSpec(TARGET, ["a", "b"], { a: { kind: "int4" }, b: { kind: "text" }, v: { kind: "int4" } });
      await merge(spec, [change(1, { a: 1, b: "x", v: 1 }), change(1, { a: 1, b: "y", v: 2 }), change(1, { a: 2, b: "x", v: 3 })]);
      await merge(spec, [change(2, { a: 1, b: "y", v: 20 }), deletion(2, { a: 2, b: "x" })]);
      expect(await sql("SELECT a::text, b, v::text FROM analytics.orders ORDER BY a, b")).toEqual([
        ["1", "x", "1"],
        ["1", "y", "20"],
      ]);
    });

    test("a table of key columns only is merged", async () => {
      const spec = targetSpec(TARGET, ["id"], { id: { kind: "int8" } });
      await merge(spec, [change(1, { id: 1n }), change(1, { id: 2n })]);
      await merge(spec, [change(2, { id: 1n }), deletion(2, { id: 2n })]);
      expect(await sql("SELECT id::text, _tailrace_seq FROM analytics.orders")).toEqual([["1", at(2)]]);
    });

    test("a key whose text changed and whose value did not, deleted and made again in one flush, is one row", async () => {
      const spec = targetSpec(TARGET, ["k"], { k: { kind: "numeric" }, v: { kind: "text" } });
      await merge(spec, [change(1, { k: "1.0", v: "before" })]);
      await merge(spec, [deletion(2, { k: "1.0" }), { row: { k: "1.00", v: "after" }, at: at(2, 1) }]);
      expect(await sql("SELECT k::text, v FROM analytics.orders")).toEqual([["1.00", "after"]]);
    });

    test("more rows than one chunk of the bulk path, with nulls, all arrive and are all updated", async () => {
      const many = Array.from({ length: 5_000 }, (_, id) => ({
        id: BigInt(id),
        name: id % 3 === 0 ? null : `n${id}`,
        note: "x".repeat(id % 300),
      }));
      expect(
        (
          await merge(
            hard,
            many.map((row) => change(1, row)),
          )
        ).merged,
      ).toEqual([5_000]);
      expect(
        (
          await merge(
            hard,
            many.map((row) => change(2, { ...row, note: null })),
          )
        ).merged,
      ).toEqual([5_000]);
      const counts = "SELECT count(*)::text, count(name)::text, count(note)::text, count(DISTINCT id)::text FROM analytics.orders";
      expect(await sql(counts)).toEqual([["5000", "3333", "0", "5000"]]);
      expect(await sql("SELECT id::text FROM analytics.orders WHERE name <> concat('n', id)")).toEqual([]);
    });

    test("a flush of several tables merges all of them, and counts each", async () => {
      const other = targetSpec({ schema: "raw", name: "items" }, ["id"], COLUMNS);
      await warehouse.session.ensureTarget(hard);
      await warehouse.session.ensureTarget(other);
      const result = await warehouse.worker.merge(warehouse.session, [
        tableFlush(hard, [change(1, { id: 1n })]),
        tableFlush(other, [change(1, { id: 1n }), change(1, { id: 2n })]),
        tableFlush(hard, []),
      ]);
      expect(result).toMatchObject({ merged: [1, 2, 0], deadLetters: [] });
      expect(await sql("SELECT count(*)::text FROM raw.items")).toEqual([["2"]]);
    });
  });
}
