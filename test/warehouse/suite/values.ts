// Values at the edge of every kind, as columns and as keys.
import { describe, expect, test } from "vitest";
import { geometricFields, type ColumnType } from "../../../src/core/table.ts";
import type { Value } from "../../support/row-values.ts";
import { change, deletion, tableFlush, targetSpec } from "../staged.ts";
import { samples } from "../values.ts";
import { type OpenWarehouse, TARGET } from "./open-warehouse.ts";
const PLAIN_TEXT = {
  duckdb: "SET TimeZone = 'UTC';",
  postgres: "SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres;",
};

export function valuesSuite(warehouse: OpenWarehouse): void {
  const { kind, merge, sql } = warehouse;

  describe("values", () => {
    for (const { type, cases } of samples) {
      const title = titleOf(type);
      test(`of kind ${title} are found as they were, in inserts and through updates`, async () => {
        const spec = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, v: type, kept: type });
        const written = cases.map(({ value }, id) => change(1, { id, v: value, kept: value }));
        await merge(spec, [...written, change(1, { id: 1000 })]);
        await merge(spec, [...cases.map(({ value }, id) => change(2, { id, v: value }, ["kept"])), change(2, { id: 1000 })]);
        const text = await sql(`${PLAIN_TEXT[kind.name]} SELECT id::text, v::text, kept::text FROM analytics.orders o ORDER BY o.id`);
        const expected = cases.map(({ found }, id) => {
          const one = typeof found === "string" ? found : found[kind.name];
          return [String(id), one, one];
        });
        expect(text).toEqual([...expected, ["1000", null, null]]);
      });
    }

    test("and nulls are found in their rows and columns, however many come at once", async () => {
      const types = {
        id: { kind: "int4" },
        t: { kind: "text" },
        b: { kind: "bytea" },
        n: { kind: "decimal", precision: 12, scale: 2 },
      } as const;
      const spec = targetSpec(TARGET, ["id"], { ...types, moment: { kind: "timestamptz" } });
      const written = Array.from({ length: 5_000 }, (_, id) => ({
        id,
        t: id % 7 === 0 ? null : `${"é".repeat(id % 3)}${"x".repeat(id % 70)}${id}`,
        b: id % 5 === 0 ? null : Buffer.alloc(id % 30, id),
        n: id % 3 === 0 ? null : BigInt((id - 2_500) * 37),
        moment: id % 2 === 0 ? null : BigInt(id) * 1_000_000n,
      }));
      await merge(
        spec,
        written.map((row) => change(1, row)),
      );
      const bytes = kind.name === "postgres" ? "upper(encode(b, 'hex'))" : "hex(b)";
      const found = await sql(
        `SELECT id::text, t, ${bytes}, (n * 100)::bigint::text, extract(epoch FROM moment)::bigint::text FROM analytics.orders o ORDER BY o.id`,
      );
      const expected = written.map(({ id, t, b, n, moment }) => [
        ...[String(id), t, b?.toString("hex").toUpperCase() ?? null],
        ...[n?.toString() ?? null, moment === null ? null : String(moment / 1_000_000n)],
      ]);
      expect(found).toEqual(expected);
    });

    test("of arrays and hstore too, with more items than rows", async () => {
      const spec = targetSpec(TARGET, ["id"], {
        id: { kind: "int4" },
        texts: { kind: "array", element: { kind: "text" } },
        numbers: { kind: "array", element: { kind: "int4" } },
        flags: { kind: "array", element: { kind: "bool" } },
        pairs: { kind: "hstore" },
        ways: { kind: "array", element: { kind: "path" } },
      });
      const items = <T>(id: number, count: number, item: (at: number) => T): readonly (T | null)[] | null =>
        id % 11 === 0 ? null : Array.from({ length: count }, (_, at) => ((id + at) % 5 === 0 ? null : item(at)));
      const written = Array.from({ length: 5_000 }, (_, id) => ({
        id,
        texts: items(id, id % 4, (at) => `${"x".repeat((id + at) % 40)}${id}`),
        numbers: items(id, id === 2_100 ? 20_000 : id % 3, (at) => id * at),
        flags: items(id, id % 9, (at) => (id + at) % 2 === 0),
        ways: items(id, id === 2_101 ? 9_000 : id % 4, (at) => [
          at % 2 === 0,
          ...Array.from({ length: 1 + (id % 3) }, (_, x) => [x + 0.5, at]),
        ]),
        pairs: id % 11 === 0 ? null : Array.from({ length: id % 5 }, (_, at) => [`k${at}`, at === 2 ? null : "y".repeat((id + at) % 30)]),
      }));
      await merge(
        spec,
        written.map((row) => change(1, row)),
      );
      const lists = ["texts", "numbers", "flags"].map((name) => `${kind.name === "postgres" ? "array_to_json" : "to_json"}(${name})::text`);
      const entries = {
        postgres: "(SELECT string_agg(key || '=' || coalesce(value, 'null'), ',' ORDER BY key) FROM jsonb_each_text(pairs))",
        duckdb: "array_to_string(list_transform(map_entries(pairs), lambda pair: pair.key || '=' || coalesce(pair.value, 'null')), ',')",
      };
      const pairs = `CASE WHEN pairs IS NOT NULL THEN coalesce(${kind.name === "postgres" ? entries.postgres : entries.duckdb}, '') END`;
      // Each path by how many points it has and whether it is closed.
      const ways = {
        postgres: `array_to_json(ARRAY(SELECT CASE WHEN w IS NOT NULL THEN npoints(w) * 2 + isclosed(w)::int END FROM unnest(ways) WITH ORDINALITY each(w, place) ORDER BY place))::text`,
        duckdb: "to_json(list_transform(ways, lambda w: CASE WHEN w IS NOT NULL THEN len(w.points) * 2 + w.closed::INT END))::text",
      };
      lists.push(`CASE WHEN ways IS NOT NULL THEN ${kind.name === "postgres" ? ways.postgres : ways.duckdb} END`);
      const found = await sql(`SELECT id::text, ${[...lists, pairs].join(", ")} FROM analytics.orders o ORDER BY o.id`);
      const json = (value: Value): string | null => (value === null ? null : JSON.stringify(value));
      const counted = (value: Value): Value =>
        value === null
          ? null
          : (value as readonly Value[]).map((way) =>
              way === null ? null : ((way as readonly Value[]).length - 1) * 2 + Number((way as readonly Value[])[0]),
            );
      const printed = (value: readonly (readonly (string | null)[])[] | null): string | null =>
        value === null ? null : value.map((pair) => pair.map(String).join("=")).join(",");
      expect(found).toEqual(
        written.map((row) => [
          String(row.id),
          json(row.texts),
          json(row.numbers),
          json(row.flags),
          json(counted(row.ways)),
          printed(row.pairs),
        ]),
      );
    });

    test.each<[string, ColumnType, Value, Value]>([
      ["a decimal of too many digits", { kind: "decimal", precision: 4, scale: 2 }, 1_234_567n, 1_234n],
      ["a uuid that is none", { kind: "uuid" }, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380x11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
      ["an int2 of more than 16 bits", { kind: "int2" }, 40_000, 32_767],
      ["an array with such an int2", { kind: "array", element: { kind: "int2" } }, [1, 40_000, 2], [1, null, 2]],
    ])("that no row can hold cost that row and leave the session as it was: %s (R-dead)", async (_, type, bad, good) => {
      const spec = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, v: type });
      const rows = Array.from({ length: 3_000 }, (_, id) => change(1, { id, v: good }));
      const refused = [...rows, change(1, { id: 3_000, v: bad })];
      await expect(merge(spec, refused)).rejects.toMatchObject({ code: "ROW_REFUSED" });
      const { signal } = new AbortController();
      expect(await warehouse.session.refusal(tableFlush(spec, refused), signal)).toEqual(expect.any(String));
      expect(await warehouse.session.refusal(tableFlush(spec, rows), signal)).toBeNull();
      expect((await merge(spec, rows)).merged).toEqual([3_000]);
    });

    test("of text that is not UTF-8 have U+FFFD in its place", async () => {
      const spec = targetSpec(TARGET, ["id"], { id: { kind: "int4" }, name: { kind: "text" }, note: { kind: "text" } });
      const bad = (text: string): Buffer => Buffer.concat([Buffer.from(text), Buffer.of(0xe9, 0x20, 0xff)]);
      await merge(spec, [change(1, { id: 1, name: bad("é"), note: bad("x".repeat(100)) })]);
      expect(await sql("SELECT id::text, name, note FROM analytics.orders")).toEqual([
        ["1", "é\ufffd \ufffd", `${"x".repeat(100)}\ufffd \ufffd`],
      ]);
    });

    test("that a key can be of are found by it", async () => {
      for (const [index, { type, cases }] of samples.entries()) {
        const { kind: of } = type.kind === "array" ? type.element : type;
        // What no index of a source orders is no key.
        if (of === "json" || of === "composite" || of === "jsonpath" || of === "path" || of === "polygon" || of in geometricFields)
          continue;
        if (kind.name === "postgres" && cases.some(({ value }) => String(value).length > 2_000)) continue;
        const spec = targetSpec({ schema: "keys", name: `k${index}` }, ["k"], { k: type, v: { kind: "int4" } });
        const distinct = cases.filter(({ value }, at) => !cases.some((other, before) => before < at && other.value === value));
        await merge(
          spec,
          distinct.map(({ value }, v) => change(1, { k: value, v })),
        );
        await merge(
          spec,
          distinct.map(({ value }, v) => change(2, { k: value, v: v + 100 })),
        );
        expect(
          (
            await merge(
              spec,
              distinct.map(({ value }) => deletion(3, { k: value })),
            )
          ).merged,
          type.kind,
        ).toEqual([distinct.length]);
        expect(await sql(`SELECT k::text FROM keys.k${index}`), type.kind).toEqual([]);
      }
    });
  });
}

function titleOf(type: ColumnType): string {
  if (type.kind === "array") return `${titleOf(type.element)}[]`;
  return "scale" in type ? `${type.kind}(${type.precision},${type.scale})` : type.kind;
}
