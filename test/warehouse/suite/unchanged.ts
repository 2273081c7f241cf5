// Columns whose value was not sent.
import { describe, expect, test } from "vitest";
import { at, change, deletion, targetSpec } from "../staged.ts";
import { COLUMNS, hard, type OpenWarehouse, soft, TARGET } from "./open-warehouse.ts";

export function unchangedSuite(warehouse: OpenWarehouse): void {
  const { merge, sql, rows, tombstones } = warehouse;

  describe("unchanged columns", () => {
    for (const spec of [hard, soft]) {
      test(`keep the target's value (${spec.deletes} deletes)`, async () => {
        await merge(spec, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "b", note: "kept" })]);
        const result = await merge(spec, [
          change(2, { id: 1n, name: "A" }, ["note"]),
          change(2, { id: 2n, note: "new" }, ["name"]),
          change(2, { id: 3n, name: "c" }),
        ]);
        expect(result).toMatchObject({ merged: [3], deadLetters: [] });
        expect(await rows()).toEqual([
          ["1", "A", "long"],
          ["2", "b", "new"],
          ["3", "c", null],
        ]);
      });

      test(`of a row that is not there, or is deleted, make a dead letter inside the flush; the rest goes on (${spec.deletes} deletes, R-dead)`, async () => {
        await merge(spec, [change(1, { id: 1n, name: "a", note: "long" }), change(1, { id: 2n, name: "b", note: "gone" })]);
        await merge(spec, [deletion(2, { id: 2n })]);
        const result = await merge(spec, [
          change(3, { id: 1n, name: "A" }, ["note"]),
          change(3, { id: 2n, name: "B" }, ["note"]),
          change(3, { id: 3n, name: "C" }, ["note"]),
        ]);
        expect(result.merged).toEqual([1]);
        expect(result.deadLetters.map(({ offset }) => offset)).toEqual([101, 102]);
        expect((await warehouse.openLetters()).map(([offset, code]) => [Number(offset), code])).toEqual([
          [101, "UNCHANGED_WITHOUT_ROW"],
          [102, "UNCHANGED_WITHOUT_ROW"],
        ]);
        const live =
          spec.deletes === "soft"
            ? "SELECT id::text, name, note FROM analytics.orders WHERE NOT _tailrace_deleted"
            : "SELECT id::text, name, note FROM analytics.orders";
        expect(await sql(live)).toEqual([["1", "A", "long"]]);
      });

      test(`of a row that the guard would drop make no dead letter (${spec.deletes} deletes, R-dead)`, async () => {
        await merge(spec, [change(4, { id: 1n, name: "a" }), deletion(4, { id: 2n })]);
        const late = [change(3, { id: 1n }, ["note"]), change(3, { id: 2n }, ["note"]), change(2, { id: 3n }, ["note"])];
        expect(await merge(spec, late, at(3))).toMatchObject({ merged: [0], deadLetters: [] });
      });

      test(`of a row that the same flush truncates make a dead letter (${spec.deletes} deletes)`, async () => {
        await merge(spec, [change(1, { id: 1n, name: "a", note: "long" })]);
        expect((await merge(spec, [change(6, { id: 1n }, ["note"])], at(5))).deadLetters.length).toBe(1);
      });
    }

    for (const deletes of ["hard", "soft"] as const)
      test(`of a composite key's row come from the row that has all of its key (${deletes} deletes)`, async () => {
        const spec = targetSpec(TARGET, ["id", "name"], COLUMNS, deletes);
        const all = [1n, 2n].flatMap((id) => ["a", "b"].map((name) => ({ id, name, note: `${id}${name}` })));
        await merge(
          spec,
          all.map((row) => change(1, row)),
        );
        const result = await merge(spec, [
          ...all.map(({ id, name }) => change(2, { id, name }, ["note"])),
          change(2, { id: 1n, name: "c" }, ["note"]),
          change(2, { id: 3n, name: "a" }, ["note"]),
        ]);
        expect(result).toMatchObject({ merged: [4], deadLetters: [{ offset: 104 }, { offset: 105 }] });
        expect(await sql("SELECT id::text, name, note FROM analytics.orders o ORDER BY o.id, name")).toEqual(
          all.map(({ id, name, note }) => [String(id), name, note]),
        );
        expect(await sql(`SELECT DISTINCT _tailrace_seq FROM analytics.orders`)).toEqual([[at(2)]]);
      });

    test("a dead letter leaves its key's tombstone where it was", async () => {
      await merge(hard, [deletion(2, { id: 1n })]);
      await merge(hard, [change(3, { id: 1n }, ["note"])]);
      expect(await tombstones()).toEqual([[at(2)]]);
    });
  });
}
