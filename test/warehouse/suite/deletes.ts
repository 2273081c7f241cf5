// What hard and soft deletes, and TRUNCATE, leave behind.
import { describe, expect, test } from "vitest";
import { at, change, deletion, keyBytes, targetSpec, type Row } from "../staged.ts";
import { COLUMNS, hard, type OpenWarehouse, soft } from "./open-warehouse.ts";

export function deletesSuite(warehouse: OpenWarehouse): void {
  const { kind, merge, sql, rows, softRows, tombstones } = warehouse;

  describe("R-tombstone", () => {
    test("an insert that is older than its key's hard delete stays out, a newer one takes the tombstone away", async () => {
      await merge(hard, [change(1, { id: 1n, name: "a" })]);
      await merge(hard, [deletion(3, { id: 1n })]);
      expect(await tombstones()).toEqual([[at(3)]]);
      expect((await merge(hard, [change(2, { id: 1n, name: "older" })])).merged).toEqual([0]);
      expect((await merge(hard, [change(3, { id: 1n, name: "same" })])).merged).toEqual([0]);
      expect(await rows()).toEqual([]);
      expect((await merge(hard, [change(4, { id: 1n, name: "newer" })])).merged).toEqual([1]);
      expect(await rows()).toEqual([["1", "newer", null]]);
      expect(await tombstones()).toEqual([]);
    });

    test("a delete of a row that is not there leaves a tombstone too", async () => {
      await merge(hard, [deletion(3, { id: 1n })]);
      await merge(hard, [change(2, { id: 1n, name: "late" })]);
      expect(await rows()).toEqual([]);
    });

    test("a key has one tombstone, with its highest sequence", async () => {
      await merge(hard, [deletion(3, { id: 1n })]);
      await merge(hard, [deletion(2, { id: 1n })]);
      expect(await tombstones()).toEqual([[at(3)]]);
      await merge(hard, [deletion(4, { id: 1n })]);
      expect(await tombstones()).toEqual([[at(4)]]);
    });

    test("a tombstone is of its target only", async () => {
      const other = targetSpec({ schema: "analytics", name: "other" }, ["id"], COLUMNS);
      await merge(hard, [deletion(3, { id: 1n })]);
      await merge(other, [change(2, { id: 1n, name: "another table" })]);
      expect(await sql("SELECT name FROM analytics.other")).toEqual([["another table"]]);
    });

    test("tombstones that nothing in the log is older than go, of that target only", async () => {
      const other = targetSpec({ schema: "analytics", name: "other" }, ["id"], COLUMNS);
      await merge(hard, [deletion(3, { id: 1n }), deletion(4, { id: 2n }), deletion(5, { id: 3n })]);
      await merge(other, [deletion(2, { id: 1n })]);
      const { expired } = await warehouse.worker.merge(warehouse.session, [], { expiries: [{ target: hard.target, sequence: at(4) }] });
      expect(expired).toEqual([1]);
      expect(await tombstones()).toEqual([[at(2)], [at(4)], [at(5)]]);
      expect((await merge(hard, [change(3, { id: 2n, name: "replayed" })])).merged).toEqual([0]);
    });

    test("TRUNCATE empties the target up to its sequence and keeps older rows out from then on", async () => {
      await merge(hard, [change(1, { id: 1n, name: "before" }), change(6, { id: 2n, name: "of a partition that is ahead" })]);
      await merge(hard, [deletion(3, { id: 3n })]);
      await merge(hard, [change(2, { id: 4n, name: "below" }), change(7, { id: 5n, name: "above" })], at(5));
      const left = [
        ["2", "of a partition that is ahead", null],
        ["5", "above", null],
      ];
      expect(await rows()).toEqual(left);
      expect(await tombstones()).toEqual([]);
      expect((await merge(hard, [change(4, { id: 1n, name: "replayed" }), deletion(4, { id: 8n })])).merged).toEqual([0]);
      expect(await rows()).toEqual(left);
      expect(await tombstones()).toEqual([]);
    });

    test("a replayed TRUNCATE changes nothing, and does not lower the floor", async () => {
      await merge(hard, [change(9, { id: 1n, name: "newer" })], at(8));
      await merge(hard, [], at(5));
      await merge(hard, [change(6, { id: 2n, name: "between" })]);
      expect(await rows()).toEqual([["1", "newer", null]]);
    });

    test("TRUNCATE of a target with soft deletes marks its rows deleted, with its sequence", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a" }), change(9, { id: 2n, name: "b" })]);
      await merge(soft, [], at(5));
      expect(await softRows()).toEqual([
        ["1", "a", null, "true"],
        ["2", "b", null, "false"],
      ]);
      expect((await merge(soft, [change(4, { id: 1n, name: "late" })])).merged).toEqual([0]);
      expect((await merge(soft, [change(6, { id: 1n, name: "again" })])).merged).toEqual([1]);
      expect((await softRows())[0]).toEqual(["1", "again", null, "false"]);
    });
  });

  test("a key's bytes are what tombstones are kept by", async () => {
    await merge(hard, [deletion(1, { id: 1n })]);
    const hex = kind.name === "postgres" ? "encode(key, 'hex')" : "lower(hex(key))";
    expect(await sql(`SELECT target_schema, target_name, ${hex} FROM _tailrace.tombstones`)).toEqual([
      ["analytics", "orders", keyBytes(hard, { id: 1n }).toString("hex")],
    ]);
  });

  describe("soft deletes", () => {
    test("a deleted row keeps its values and is marked; a newer insert revives it", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a", note: "x" }), change(1, { id: 2n, name: "b" })]);
      expect((await merge(soft, [deletion(2, { id: 1n })])).merged).toEqual([1]);
      expect(await softRows()).toEqual([
        ["1", "a", "x", "true"],
        ["2", "b", null, "false"],
      ]);
      expect((await merge(soft, [change(1, { id: 1n, name: "late" })])).merged).toEqual([0]);
      await merge(soft, [change(3, { id: 1n, name: "again" })]);
      expect((await softRows())[0]).toEqual(["1", "again", null, "false"]);
    });

    test("a delete of a row that is not there makes a deleted row of its key, which guards as a tombstone does", async () => {
      expect((await merge(soft, [deletion(3, { id: 1n })])).merged).toEqual([1]);
      await merge(soft, [change(2, { id: 1n, name: "late" })]);
      expect(await softRows()).toEqual([["1", null, null, "true"]]);
      expect(await tombstones()).toEqual([]);
    });

    test("a delete brings the values that were folded into it, whatever is in the target", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a", note: "x" }), change(1, { id: 2n, name: "a", note: "x" })]);
      await merge(soft, [deletion(2, { id: 2n })]);
      const complete = (id: bigint): Row => deletion(3, { id, name: "b", note: null });
      expect((await merge(soft, [complete(1n), complete(2n), complete(3n)])).merged).toEqual([3]);
      expect(await softRows()).toEqual([
        ["1", "b", null, "true"],
        ["2", "b", null, "true"],
        ["3", "b", null, "true"],
      ]);
      expect((await merge(soft, [complete(1n), deletion(2, { id: 2n, name: "older", note: "older" })])).merged).toEqual([0]);
    });

    test("a delete with unchanged columns keeps the live row's; where there is none it leaves all as it is (R-dead)", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "of a former life", note: "former" })]);
      await merge(soft, [deletion(2, { id: 2n })]);
      const folded = (id: bigint): Row => deletion(3, { id, name: "b" }, ["note"]);
      expect(await merge(soft, [folded(1n), folded(2n), folded(3n)])).toMatchObject({ merged: [3], deadLetters: [] });
      expect(await softRows()).toEqual([
        ["1", "b", "long", "true"],
        ["2", "of a former life", "former", "true"],
        ["3", null, null, "true"],
      ]);
    });

    test("a TRUNCATE leaves the values that were folded before it", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "a", note: "x" })]);
      const staged = [
        deletion(5, { id: 1n, name: "b" }, ["note"]),
        deletion(4, { id: 2n, name: "deleted before", note: null }),
        deletion(5, { id: 3n, name: "inserted and truncated", note: null }),
        change(6, { id: 4n, name: "after" }),
      ];
      const expected = [
        ["1", "b", "long", "true"],
        ["2", "deleted before", null, "true"],
        ["3", "inserted and truncated", null, "true"],
        ["4", "after", null, "false"],
      ];
      expect((await merge(soft, staged, at(5))).merged).toEqual([4]);
      expect(await softRows()).toEqual(expected);
      expect((await merge(soft, staged, at(5))).merged).toEqual([0]);
      expect(await softRows()).toEqual(expected);
    });

    test("a deleted row that is deleted again stays as it is", async () => {
      await merge(soft, [change(1, { id: 1n, name: "a" })]);
      await merge(soft, [deletion(2, { id: 1n })]);
      await merge(soft, [deletion(3, { id: 1n })]);
      expect(await softRows()).toEqual([["1", "a", null, "true"]]);
    });
  });
}
