// R-version: the view of a table's rows under its present version, and targets of later versions.
import { describe, expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import type { VersionView } from "../../../src/core/warehouse.ts";
import type { TargetSpec } from "../../../src/core/warehouse.ts";
import { at, change, tableFlush, targetSpec } from "../staged.ts";
import { type OpenWarehouse, TARGET } from "./open-warehouse.ts";

const named = (name: string) => ({ schema: TARGET.schema, name });
const LATEST = named("orders_latest");

function version(number: number, columns: Parameters<typeof targetSpec>[2]): TargetSpec {
  const spec = targetSpec(number === 1 ? TARGET : named(`orders_v${number}`), ["id"], columns, "hard");
  return number === 1 ? spec : { ...spec, view: LATEST };
}

const first = version(1, { id: { kind: "int8" }, name: { kind: "text" }, n: { kind: "int4" } });
const second = version(2, { id: { kind: "int8" }, n: { kind: "text" }, name: { kind: "text" } });
const third = version(3, { name: { kind: "text" }, id: { kind: "int8" }, n: { kind: "int4" } });
const viewOf = ({ target }: TargetSpec): VersionView => ({ view: LATEST, first: TARGET, target });

export function versionViewsSuite(warehouse: OpenWarehouse): void {
  const { merge, sql } = warehouse;

  /** Rows of a snapshot, and its end. */
  const read = async (spec: TargetSpec, ...rows: Parameters<typeof tableFlush>[1]): Promise<void> => {
    await warehouse.session.ensureTarget(spec);
    const sweeps = [{ target: spec.target, deletes: spec.deletes, opening: at(1) }];
    await warehouse.worker.merge(warehouse.session, [tableFlush(spec, rows)], { sweeps });
  };
  const ensure = async (spec: TargetSpec): Promise<string | null> => warehouse.session.ensureView(viewOf(spec));
  const columns = async (): Promise<unknown> =>
    sql(
      "SELECT column_name::text FROM information_schema.columns WHERE lower(table_name) = 'orders_latest' ORDER BY ordinal_position",
    ).then((rows) => rows.flat().filter((name) => name?.startsWith("_tailrace_") !== true));

  describe("R-version: the view", () => {
    test("comes with the end of the version's snapshot, has the columns that the first target has in the same type, and moves on", async () => {
      await merge(first, [change(1, { id: 1n, name: "before", n: 1 })]);
      await merge(second, [change(1, { id: 1n, name: "half", n: "1" })]);
      expect([await ensure(second), await columns()]).toEqual([null, []]);
      await read(second, change(2, { id: 1n, name: "read", n: "1" }), change(2, { id: 2n, name: "other", n: "2" }));
      expect([await ensure(second), await ensure(second), await columns()]).toEqual([null, null, ["id", "name"]]);
      const rows = () => sql("SELECT id::text, name FROM analytics.orders_latest ORDER BY 1");
      expect(await rows()).toEqual([
        ["1", "read"],
        ["2", "other"],
      ]);
      await merge(third, [change(3, { id: 9n, name: "half", n: 3 })]);
      await ensure(third);
      expect(await rows()).toHaveLength(2); // still the version before, which is whole
      await read(third, change(4, { id: 9n, name: "third", n: 3 }));
      expect([await ensure(third), await columns(), await rows()]).toEqual([null, ["id", "name", "n"], [["9", "third"]]]);
    });

    test("stands in no way of its target: columns are widened under it, and it has them again", async () => {
      const wide = (kind: "int4" | "int8") =>
        version(2, { id: { kind: "int8" }, name: { kind: "text" }, n: { kind }, seen: { kind: "bool" } });
      await merge(first, [change(1, { id: 1n, name: "before", n: 1 })]);
      await read(wide("int4"), change(2, { id: 1n, name: "a", n: 1, seen: true }));
      expect([await ensure(second), await columns()]).toEqual([null, ["id", "name", "n"]]);
      await warehouse.session.ensureTarget(wide("int8"));
      expect(await columns()).toEqual(["id", "name", "n"]); // nobody misses it meanwhile
      await merge(wide("int8"), [change(3, { id: 2n, name: "b", n: 9_000_000_000n, seen: true })]);
      expect([await ensure(second), await columns()]).toEqual([null, ["id", "name"]]);
      expect(await sql("SELECT name FROM analytics.orders_latest ORDER BY id")).toEqual([["a"], ["b"]]);
    });

    test("of another version stays as the target of this one is altered; SQL that mends a target does away with its own", async () => {
      const soft = (spec: TargetSpec): TargetSpec => ({ ...spec, deletes: "soft" });
      const wide = version(3, { name: { kind: "text" }, id: { kind: "int8" }, n: { kind: "int8" } });
      await merge(first, [change(1, { id: 1n, name: "before", n: 1 })]);
      await merge(third, [change(1, { id: 1n, name: "other", n: 1 })]);
      await warehouse.session.ensureTarget(soft(second));
      await read(soft(second), change(2, { id: 1n, name: "read", n: "1" }));
      expect([await ensure(second), await columns()]).toEqual([null, ["id", "name"]]);
      await warehouse.session.ensureTarget(wide);
      expect(await columns()).toEqual(["id", "name"]);
      const error: unknown = await warehouse.session.ensureTarget(second).catch((cause: unknown) => cause);
      if (!(error instanceof TailraceError)) throw new Error("it fits");
      expect(error.code).toBe("TARGET_DIFFERS");
      const mends = /^run: (.*); or name/.exec(error.remedy)?.[1] ?? "";
      for (const statement of mends.split("; ")) await sql(statement);
      await warehouse.session.ensureTarget(second);
      expect([await ensure(second), await columns()]).toEqual([null, ["id", "name"]]);
    });

    test("is not made over what somebody else has made, and says so", async () => {
      await merge(first, [change(1, { id: 1n, name: "before", n: 1 })]);
      await read(second, change(2, { id: 1n, name: "a", n: "1" }));
      for (const [make, drop] of [
        ["CREATE TABLE analytics.orders_latest (mine int)", "DROP TABLE analytics.orders_latest"],
        ["CREATE VIEW analytics.orders_latest AS SELECT 1 AS mine", "DROP VIEW analytics.orders_latest"],
        ...(warehouse.kind.name === "duckdb"
          ? [["CREATE VIEW analytics.Orders_Latest AS SELECT 1 AS mine", "DROP VIEW analytics.Orders_Latest"] as const]
          : []),
      ] as const) {
        await sql(make);
        expect(await ensure(second)).toMatch(/^no view analytics.orders_latest: something else/);
        expect(await columns()).toEqual(["mine"]);
        await sql(drop);
      }
    });
  });

  test("R-version: a later version is not merged into a table that no sink has made, and goes on in one that a sink has", async () => {
    const key = warehouse.kind.name === "postgres" ? "PRIMARY KEY" : "NOT NULL";
    await sql(`CREATE SCHEMA analytics; CREATE TABLE analytics.orders_v2 (id bigint ${key}, name text)`);
    await expect(warehouse.session.ensureTarget(second)).rejects.toMatchObject({
      code: "NAME_COLLISION",
      message: expect.stringContaining("analytics.orders_v2") as string,
    });
    expect(await sql("SELECT count(*)::text FROM information_schema.columns WHERE table_name = 'orders_v2'")).toEqual([["2"]]);
    await sql("DROP TABLE analytics.orders_v2");
    await merge(second, [change(1, { id: 1n, name: "a", n: "1" })]);
    await sql("SELECT 1"); // another session
    await merge(second, [change(2, { id: 1n, name: "b", n: "1" })]);
    expect(await sql("SELECT name FROM analytics.orders_v2")).toEqual([["b"]]);
  });
}
