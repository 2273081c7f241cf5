// Values at the edge of every kind, as columns and as keys.
import { describe, expect, test } from "vitest";
import { change, deletion, targetSpec } from "../staged.ts";
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
      const title = "scale" in type ? `${type.kind}(${type.precision},${type.scale})` : type.kind;
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

    test("that a key can be of are found by it", async () => {
      for (const [index, { type, cases }] of samples.entries()) {
        if (
          type.kind === "json" ||
          type.kind === "jsonpath" ||
          (kind.name === "postgres" && cases.some(({ value }) => String(value).length > 2_000))
        )
          continue;
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
