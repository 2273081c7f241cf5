// What targets are made like, and which are taken as they are.
import { describe, expect, test } from "vitest";
import type { ColumnType, ElementType } from "../../../src/core/table.ts";
import { at, change, deletion, tableFlush, targetSpec } from "../staged.ts";
import { samples } from "../values.ts";
import { hard, type OpenWarehouse, soft, TARGET } from "./open-warehouse.ts";

const list = (element: ElementType): ColumnType => ({ kind: "array", element });

export function targetsSuite(warehouse: OpenWarehouse): void {
  const { kind, merge, sql, rows } = warehouse;

  describe("targets", () => {
    test("are made with their schema; only key columns are required", async () => {
      await warehouse.session.ensureTarget(soft);
      const columns = await sql(
        "SELECT column_name::text, is_nullable::text FROM information_schema.columns WHERE table_schema = 'analytics' ORDER BY ordinal_position",
      );
      expect(columns).toEqual([
        ["id", "NO"],
        ["name", "YES"],
        ["note", "YES"],
        ["_tailrace_seq", "YES"],
        ["_tailrace_commit_ts", "YES"],
        ["_tailrace_merged_ts", "YES"],
        ["_tailrace_deleted", "YES"],
      ]);
    });

    test("get the columns that they lack, and rows that somebody loaded count as older than every event", async () => {
      const key = kind.name === "postgres" ? "PRIMARY KEY" : "NOT NULL";
      await sql(
        `CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint ${key}); INSERT INTO analytics.orders VALUES (1), (2), (3)`,
      );
      await merge(hard, [change(1, { id: 1n, name: "a" }), deletion(1, { id: 2n })]);
      expect(await rows()).toEqual([
        ["1", "a", null],
        ["3", null, null],
      ]);
      await merge(hard, [], at(2));
      expect(await rows()).toEqual([]);
    });

    test("are taken as they were made, whatever types their columns have", async () => {
      const columns = Object.fromEntries(samples.map(({ type }, index) => [`c${index}`, type]));
      const every = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, ...columns });
      await warehouse.session.ensureTarget(every);
      expect(await sql("SELECT count(*)::text FROM analytics.orders")).toEqual([["0"]]); // and begins another session
      await warehouse.session.ensureTarget(every);
    });

    test("of other types are refused with the SQL that mends them", async () => {
      const key = kind.name === "postgres" ? "PRIMARY KEY" : "NOT NULL";
      await sql(`CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id numeric(9,2) ${key}, name text, note date)`);
      const error = (await warehouse.session.ensureTarget(hard).catch((cause: unknown) => cause)) as {
        code: string;
        message: string;
        remedy: string;
      };
      expect(error.code).toBe("TARGET_DIFFERS");
      expect(error.message).toMatch(
        /^target analytics\.orders does not fit: id is (?:numeric|decimal)\(9,2\), needed is bigint; note is date, needed is (text|varchar)$/i,
      );
      const mend = /^run: (.*); or name another table/.exec(error.remedy)?.[1] ?? "";
      await sql(mend);
      await merge(hard, [change(1, { id: 1n, note: "text" })]);
      expect(await rows()).toEqual([["1", null, "text"]]);
    });

    test("of types that no cast leads to have their column taken out by that SQL, and the sink adds it", async () => {
      const [key, bytes] = kind.name === "postgres" ? ["PRIMARY KEY", "bytea"] : ["NOT NULL", "blob"];
      await sql(
        `CREATE SCHEMA analytics;
        CREATE TABLE analytics.orders (id bigint ${key}, number int, moment timestamp, list int[], code uuid, content ${bytes}, note text);
        INSERT INTO analytics.orders VALUES (1, 5, now(), '{}', NULL, NULL, 'kept')`.replace(
          "'{}'",
          kind.name === "postgres" ? "'{}'" : "[]",
        ),
      );
      const spec = targetSpec(TARGET, ["id"], {
        id: { kind: "int8" },
        number: { kind: "date" },
        moment: { kind: "int8" },
        list: { kind: "int4" },
        code: { kind: "bool" },
        content: { kind: "uuid" },
        note: { kind: "text" },
      });
      const refused = (await warehouse.session.ensureTarget(spec).catch((cause: unknown) => cause)) as {
        code: string;
        message: string;
        remedy: string;
      };
      expect(refused.code).toBe("TARGET_DIFFERS");
      expect(refused.message.match(/the column goes with its values/g)).toHaveLength(5);
      await sql(/^run: (.*); or name another table/.exec(refused.remedy)?.[1] ?? "");
      await merge(spec, [change(1, { id: 2n, number: 3, moment: 4n, list: 5, code: true, note: "new" })]);
      expect(
        await sql("SELECT id::text, number::text, moment::text, list::text, code::text, note FROM analytics.orders ORDER BY id"),
      ).toEqual([
        ["1", null, null, null, null, "kept"],
        ["2", "1970-01-04", "4", "5", "true", "new"],
      ]);
    });

    test("are widened where an array's items ask for it; narrower rows of before are still taken", async () => {
      const narrow = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, list: list({ kind: "int4" }), kept: list({ kind: "int2" }) });
      const wide = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, list: list({ kind: "int8" }), kept: list({ kind: "int8" }) });
      await merge(narrow, [change(1, { id: 1, list: [1, null], kept: [1] })]);
      await merge(wide, [change(2, { id: 2, list: [9_007_199_254_740_993n], kept: [3_000_000_000n] })]);
      await merge(narrow, [change(3, { id: 2, list: [3] }, ["kept"]), change(3, { id: 1, list: [], kept: [] })]);
      const size = kind.name === "postgres" ? "cardinality" : "len";
      expect(await sql(`SELECT id::text, list[1]::text, ${size}(list)::text, kept[1]::text FROM analytics.orders o ORDER BY o.id`)).toEqual(
        [
          ["1", null, "0", null],
          ["2", "3", "1", "3000000000"],
        ],
      );
    });

    test("are widened where the types ask for it; narrower rows of before are still taken", async () => {
      const narrow = targetSpec(
        TARGET,
        ["id"],
        { id: { kind: "int4" }, small: { kind: "int2" }, real: { kind: "float4" }, amount: { kind: "decimal", precision: 6, scale: 2 } },
        "hard",
      );
      const wide = targetSpec(
        TARGET,
        ["id"],
        { id: { kind: "int8" }, small: { kind: "int8" }, real: { kind: "float8" }, amount: { kind: "decimal", precision: 16, scale: 2 } },
        "hard",
      );
      const all = async (): Promise<unknown> =>
        sql("SELECT id::text, small::text, real::text, amount::text FROM analytics.orders o ORDER BY o.id");
      const put = async (spec: typeof wide, changes: Parameters<typeof tableFlush>[1]): Promise<void> => {
        await warehouse.session.ensureTarget(spec);
        await warehouse.worker.merge(warehouse.session, [tableFlush(spec, changes)]);
      };
      await put(narrow, [change(1, { id: 1, small: 1, real: 0.5, amount: 150n }), change(1, { id: 2, small: 2, real: 0.5, amount: 250n })]);
      await put(wide, [change(2, { id: 3_000_000_000n, small: 9_007_199_254_740_993n, real: 0.1, amount: 12_345_678_901_234n })]);
      await put(narrow, [change(3, { id: 1, small: 7, real: 0.25, amount: -5n }), change(3, { id: 4, small: 4, real: 0.5, amount: 1n })]);
      await put(wide, [deletion(4, { id: 2n })]);
      expect(await all()).toEqual([
        ["1", "7", "0.25", "-0.05"],
        ["4", "4", "0.5", "0.01"],
        ["3000000000", "9007199254740993", "0.1", "123456789012.34"],
      ]);
    });

    test("that lack a key column, or were kept with soft deletes and now are not, are refused with the SQL too", async () => {
      await warehouse.session.ensureTarget(soft);
      await expect(warehouse.session.ensureTarget(hard)).rejects.toMatchObject({
        code: "TARGET_DIFFERS",
        message: expect.stringContaining("softly deleted") as string,
      });
      const other = targetSpec(TARGET, ["code"], { code: { kind: "text" } }, "soft");
      await expect(warehouse.session.ensureTarget(other)).rejects.toMatchObject({
        code: "TARGET_DIFFERS",
        message: expect.stringContaining("lacks key column code") as string,
      });
    });

    test("may have columns of other people: their values stay, their defaults work", async () => {
      await warehouse.session.ensureTarget(hard);
      await sql(`ALTER TABLE analytics.orders ADD COLUMN "by hand" ${kind.name === "postgres" ? "text" : "VARCHAR"} DEFAULT 'default'`);
      await merge(hard, [change(1, { id: 1n, name: "a", note: "long" })]);
      await sql(`UPDATE analytics.orders SET "by hand" = 'mine'`);
      await merge(hard, [change(2, { id: 1n, name: "b" }, ["note"]), change(2, { id: 2n, name: "c" })]);
      expect(await sql(`SELECT id::text, name, note, "by hand" FROM analytics.orders ORDER BY id`)).toEqual([
        ["1", "b", "long", "mine"],
        ["2", "c", null, "default"],
      ]);
    });

    test("may have any names: quotes, dots, spaces, letters of every alphabet, words of SQL", async () => {
      const target = { schema: 'we"ird.schema', name: "Täb'le \\ 表" };
      const spec = targetSpec(
        target,
        ['ke"y', "select"],
        { 'ke"y': { kind: "text" }, select: { kind: "int4" }, "Größe in µ'm": { kind: "text" } },
        "soft",
      );
      await warehouse.session.ensureTarget(spec);
      await warehouse.session.ensureTarget(spec);
      const row = { 'ke"y': "k", select: 1, "Größe in µ'm": "v" };
      await warehouse.worker.merge(warehouse.session, [tableFlush(spec, [change(1, row)])]);
      await warehouse.worker.merge(warehouse.session, [tableFlush(spec, [change(2, row, ["Größe in µ'm"])])]);
      await warehouse.worker.merge(warehouse.session, [tableFlush(spec, [], at(3))]);
      expect(await sql(`SELECT "Größe in µ'm", _tailrace_deleted::text FROM "we""ird.schema"."Täb'le \\ 表"`)).toEqual([["v", "true"]]);
    });

    test("can't have a captured column with a name of ours", async () => {
      const spec = targetSpec(TARGET, ["id"], { id: { kind: "int8" }, _tailrace_seq: { kind: "text" } });
      await expect(warehouse.session.ensureTarget(spec)).rejects.toMatchObject({ code: "NAME_COLLISION" });
    });
  });
}
