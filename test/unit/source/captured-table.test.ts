// A RELATION message against what is known of the table: the stream may be behind the catalog, or ahead of what was known.
import { describe, expect, test } from "vitest";
import type { Column, Table } from "../../../src/core/table.ts";
import type { Relation, RelationColumn } from "../../../src/postgres/pgoutput.ts";
import { inShapeOf, inWiderTypes, sameShape } from "../../../src/source/captured-table.ts";

const [INT4, INT8, TEXT, VARCHAR, NUMERIC, MOOD] = [23, 20, 25, 1043, 1700, 99_001];
const numericOf = (precision: number, scale: number): number => ((precision << 16) | scale) + 4;

const id: Column = { name: "id", type: { kind: "int4" }, typeOid: INT4, typeModifier: -1, keyPosition: 1 };
const note: Column = { name: "note", type: { kind: "text" }, typeOid: TEXT, typeModifier: -1, keyPosition: 0 };
const mood: Column = { name: "mood", type: { kind: "enum" }, typeOid: MOOD, typeModifier: -1, keyPosition: 0 };

function table(...columns: readonly Column[]): Table {
  return { oid: 1, schema: "public", name: "orders", columns, identity: "default" };
}

function relation(identity: Relation["identity"], ...columns: readonly (Column & Partial<RelationColumn>)[]): Relation {
  return {
    oid: 1,
    schema: "public",
    name: "orders",
    identity,
    columns: columns.map(({ name, typeOid, typeModifier, keyPosition }) => {
      return { name, typeOid, typeModifier, identity: identity === "f" || keyPosition > 0 };
    }),
  };
}

describe("the same shape", () => {
  test.each([
    ["the same columns and key", relation("d", id, note), true],
    ["REPLICA IDENTITY FULL, which tells no key", relation("f", id, note), true],
    ["a column more", relation("d", id, note, mood), false],
    ["another order", relation("d", note, id), false],
    ["another type", relation("d", id, { ...note, typeOid: VARCHAR }), false],
    ["another modifier", relation("d", id, { ...note, typeModifier: 24 }), false],
    ["another key", relation("d", { ...id, keyPosition: 0 }, { ...note, keyPosition: 1 }), false],
    ["no key any more", relation("n", { ...id, keyPosition: 0 }, note), false],
  ])("%s", (_, other, same) => {
    expect(sameShape(table(id, note), other)).toBe(same);
  });
});

describe("rows of the stream's past", () => {
  test("from before an ADD COLUMN lack the column", () => {
    expect(inShapeOf(relation("d", id, note), table(id, note, mood), [id.type, note.type], null)).toEqual(table(id, note));
  });

  test("from before a DROP COLUMN have it, as long as its type is known", () => {
    expect(inShapeOf(relation("d", id, mood), table(id), [id.type, mood.type], null)).toEqual(table(id, mood));
    expect(inShapeOf(relation("d", id, mood), table(id), [id.type, null], null)).toBeNull();
  });

  test("from before an ALTER TYPE have the type of then", () => {
    const wide = table(
      { ...id, type: { kind: "int8" }, typeOid: INT8 },
      { ...note, type: { kind: "decimal", precision: 12, scale: 2 }, typeOid: NUMERIC, typeModifier: numericOf(12, 2) },
    );
    const narrow = { ...note, type: { kind: "decimal", precision: 5, scale: 1 }, typeOid: NUMERIC, typeModifier: numericOf(5, 1) } as const;
    expect(inShapeOf(relation("d", id, narrow), wide, [id.type, narrow.type], null)?.columns).toEqual([id, narrow]);
  });

  test("have their own type where what is asked for by `as` does not go with the type of then", () => {
    const total = { ...note, name: "total", type: { kind: "decimal", precision: 5, scale: 1 }, typeOid: NUMERIC } as const;
    const asked = new Map([["total", "double"]] as const);
    const read = { ...total, type: { kind: "float8" }, sent: { type: total.type, as: "double" } } as const;
    const then = { ...total, type: note.type, typeOid: note.typeOid };
    expect(inShapeOf(relation("d", id, total), table(id, read), [id.type, total.type], asked)?.columns).toEqual([id, read]);
    expect(inShapeOf(relation("d", id, then), table(id, read), [id.type, note.type], asked)?.columns).toEqual([id, then]);
  });

  test.each([
    ["int2", "int4", true],
    ["int2", "int8", true],
    ["int4", "int8", true],
    ["int8", "int4", false],
    ["int4", "int4", false],
    ["float4", "float8", false],
    ["int4", "float8", false],
    ["text", "int4", false],
  ] as const)("of %s, which is %s now, are written under the schema of now: %s", (before, after, expected) => {
    const [past, now] = [before, after].map((kind) => table(id, { ...note, type: { kind } }));
    expect(inWiderTypes(past!, now!)).toEqual(expected ? now : past);
  });

  test.each([
    [6, 2, 16, 2, true],
    [16, 2, 6, 2, false],
    [6, 2, 16, 3, false],
  ])("of numeric(%i,%i), which is numeric(%i,%i) now, are written under the schema of now: %s", (p, s, precision, scale, expected) => {
    const past = table(id, { ...note, type: { kind: "decimal", precision: p, scale: s } });
    const now = table(id, { ...note, type: { kind: "decimal", precision, scale } });
    expect(inWiderTypes(past, now)).toEqual(expected ? now : past);
  });

  test("of int[], which is bigint[] now, are written under the schema of now", () => {
    const past = table(id, { ...note, type: { kind: "array", element: { kind: "int4" } } });
    const now = table(id, { ...note, type: { kind: "array", element: { kind: "int8" } } });
    expect(inWiderTypes(past, now)).toEqual(now);
    expect(inWiderTypes(now, past)).toEqual(now);
  });

  test("are refused under another key than the table's now", () => {
    const now = table({ ...id, keyPosition: 0 }, { ...note, keyPosition: 1 });
    expect(inShapeOf(relation("d", id, note), now, [id.type, note.type], null)).toBeNull();
    expect(inShapeOf(relation("d", id), now, [id.type], null)).toBeNull();
  });
});
