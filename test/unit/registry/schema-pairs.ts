// Pairs of schemas, an earlier and a later version of one subject, with the verdict of our BACKWARD check on each. A test
// against Apicurio asks for its verdict on the same pairs; where it differs, `apicurio` says how and `why` gives the reason
// (docs/registry.md has the same list).
import { tableSchemas } from "../../../src/avro/schema.ts";
import type { ColumnType, ElementType } from "../../../src/core/table.ts";

export type Verdict = "compatible" | "incompatible" | "invalid";

export type SchemaPair = {
  readonly title: string;
  readonly before: unknown;
  readonly after: unknown;
  readonly ours: Verdict;
  readonly apicurio?: Verdict;
  readonly why?: string;
};

type Field = { readonly name: string; readonly type: unknown; readonly [attribute: string]: unknown };

function record(fields: readonly Field[], attributes: Readonly<Record<string, unknown>> = {}): unknown {
  return { type: "record", name: "Row", namespace: "shop", fields, ...attributes };
}

/** A record whose one field `value` is of the type. */
function holding(type: unknown): unknown {
  return record([{ name: "value", type }]);
}

function holds(title: string, before: unknown, after: unknown, ours: Verdict): SchemaPair {
  return { title, before: holding(before), after: holding(after), ours };
}

const LOGICAL = "R-logical: Apicurio compares base types only";

function logical(title: string, before: unknown, after: unknown): SchemaPair {
  return { title, before: holding(before), after: holding(after), ours: "incompatible", apicurio: "compatible", why: LOGICAL };
}

function decimal(precision: number, scale?: number): unknown {
  return { type: "bytes", logicalType: "decimal", precision, ...(scale === undefined ? {} : { scale }) };
}

function fixedDecimal(size: number, precision: number, scale: number): unknown {
  return { type: "fixed", name: "Amount", size, logicalType: "decimal", precision, scale };
}

const id: Field = { name: "id", type: "int" };
const timestampMicros = { type: "long", logicalType: "timestamp-micros" };
const timestampMillis = { type: "long", logicalType: "timestamp-millis" };
const date = { type: "int", logicalType: "date" };
const uuid = { type: "string", logicalType: "uuid" };
const colors = (symbols: readonly string[], more: object = {}): unknown => ({ type: "enum", name: "Color", symbols, ...more });
const fixed = (size: number, name = "Hash"): unknown => ({ type: "fixed", name, size });
const named = (name: string, fields: readonly Field[], more: object = {}): unknown => ({ type: "record", name, fields, ...more });

type Columns = Readonly<Record<string, ColumnType>>;

/** The value schema that Tailrace registers for a table with the key `id` and these columns. */
function envelope(columns: Columns): unknown {
  const others = Object.entries(columns).map(([name, type]) => ({ name, type, keyPosition: 0 }));
  const shape = {
    schema: "public",
    name: "orders",
    columns: [{ name: "id", type: { kind: "int8" } as ColumnType, keyPosition: 1 }, ...others],
  };
  return JSON.parse(tableSchemas(shape, "shop.public.orders").value);
}

function envelopes(title: string, before: Columns, after: Columns, ours: Verdict, apicurio?: Verdict): SchemaPair {
  const difference = apicurio === undefined ? {} : { apicurio, why: LOGICAL };
  return { title: `our envelope: ${title}`, before: envelope(before), after: envelope(after), ours, ...difference };
}

function list(element: ElementType): ColumnType {
  return { kind: "array", element };
}

const orders: Columns = {
  total: { kind: "decimal", precision: 10, scale: 2 },
  quantity: { kind: "int4" },
  at: { kind: "timestamptz" },
  note: { kind: "text" },
};
const { note: _note, ...ordersWithoutNote } = orders;

export const schemaPairs: readonly SchemaPair[] = [
  // fields
  { title: "the same schema", before: record([id]), after: record([id]), ours: "compatible" },
  {
    title: "a field with a default comes",
    before: record([id]),
    after: record([id, { name: "note", type: "string", default: "" }]),
    ours: "compatible",
  },
  {
    title: "a nullable field with default null comes",
    before: record([id]),
    after: record([id, { name: "note", type: ["null", "string"], default: null }]),
    ours: "compatible",
  },
  {
    title: "a nullable field without a default comes",
    before: record([id]),
    after: record([id, { name: "note", type: ["null", "string"] }]),
    ours: "incompatible",
  },
  {
    title: "a field without a default comes",
    before: record([id]),
    after: record([id, { name: "note", type: "string" }]),
    ours: "incompatible",
  },
  {
    title: "a field without a default goes",
    before: record([id, { name: "note", type: "string" }]),
    after: record([id]),
    ours: "compatible",
  },
  {
    title: "a field with a default goes",
    before: record([id, { name: "note", type: "string", default: "" }]),
    after: record([id]),
    ours: "compatible",
  },
  {
    title: "fields change places",
    before: record([id, { name: "note", type: "string" }]),
    after: record([{ name: "note", type: "string" }, id]),
    ours: "compatible",
  },
  {
    title: "a default goes from a field that stays",
    before: record([{ name: "note", type: "string", default: "" }]),
    after: record([{ name: "note", type: "string" }]),
    ours: "compatible",
  },
  {
    title: "a field is renamed",
    before: record([id, { name: "note", type: "string" }]),
    after: record([id, { name: "remark", type: "string" }]),
    ours: "incompatible",
  },
  {
    title: "a field is renamed with an alias",
    before: record([{ name: "note", type: "string" }]),
    after: record([{ name: "remark", type: "string", aliases: ["note"] }]),
    ours: "compatible",
  },
  {
    title: "a field's aliases fit two fields",
    before: record([
      { name: "a", type: "string" },
      { name: "b", type: "string" },
    ]),
    after: record([{ name: "c", type: "string", aliases: ["a", "b"] }]),
    ours: "incompatible",
    apicurio: "invalid",
    why: "Apicurio answers 422, ours 409: the schema by itself is valid",
  },
  { title: "an empty record gets a field with a default", before: record([]), after: record([{ ...id, default: 0 }]), ours: "compatible" },
  {
    title: "only doc and custom attributes change",
    before: record([id], { doc: "old", "tailrace.table": "a" }),
    after: record([{ ...id, "tailrace.kind": "int4" }], { doc: "new" }),
    ours: "compatible",
  },
  // null
  holds("a required value becomes nullable", "string", ["null", "string"], "compatible"),
  holds("a nullable value becomes required", ["null", "string"], "string", "incompatible"),
  holds("a union's branches change places", ["null", "string"], ["string", "null"], "compatible"),
  holds("a union gets a branch", ["null", "string"], ["null", "string", "long"], "compatible"),
  holds("a union loses a branch", ["null", "string", "long"], ["null", "string"], "incompatible"),
  holds("a union's branch is promoted", ["null", "int"], ["null", "long"], "compatible"),
  holds("a union's branch is demoted", ["null", "long"], ["null", "int"], "incompatible"),
  holds("a union of one branch becomes its type", ["string"], "string", "compatible"),
  holds("a union loses the branch that another can read", ["null", "int", "long"], ["null", "long"], "compatible"),
  // primitives
  holds("int → long", "int", "long", "compatible"),
  holds("int → float", "int", "float", "compatible"),
  holds("int → double", "int", "double", "compatible"),
  holds("long → float", "long", "float", "compatible"),
  holds("long → double", "long", "double", "compatible"),
  holds("float → double", "float", "double", "compatible"),
  holds("long → int", "long", "int", "incompatible"),
  holds("double → float", "double", "float", "incompatible"),
  holds("float → long", "float", "long", "incompatible"),
  holds("int → string", "int", "string", "incompatible"),
  holds("string → int", "string", "int", "incompatible"),
  holds("boolean → int", "boolean", "int", "incompatible"),
  holds("string → bytes", "string", "bytes", "compatible"),
  holds("bytes → string", "bytes", "string", "compatible"),
  { title: "a value that is no record: int → long", before: "int", after: "long", ours: "compatible" },
  // names
  { title: "the record is renamed", before: record([id]), after: record([id], { name: "Line" }), ours: "incompatible" },
  {
    title: "the record is renamed with an alias",
    before: record([id]),
    after: record([id], { name: "Line", aliases: ["Row"] }),
    ours: "compatible",
  },
  {
    title: "the record is renamed with an alias of another namespace",
    before: record([id]),
    after: record([id], { name: "Line", aliases: ["store.Row"] }),
    ours: "incompatible",
  },
  { title: "the record's namespace changes", before: record([id]), after: record([id], { namespace: "store" }), ours: "compatible" },
  holds("a nested record is renamed", named("Inner", [id]), named("Other", [id]), "incompatible"),
  holds("a nested record in a union is renamed", ["null", named("Inner", [id])], ["null", named("Other", [id])], "incompatible"),
  holds(
    "a nested record in a union moves to another namespace",
    ["null", named("Inner", [id])],
    ["null", named("Inner", [id], { namespace: "store" })],
    "compatible",
  ),
  holds("an enum is renamed", colors(["red"]), colors(["red"], { name: "Paint" }), "incompatible"),
  holds(
    "an enum is renamed with an alias of another namespace",
    colors(["red"]),
    colors(["red"], { name: "Paint", aliases: ["store.Color"] }),
    "incompatible",
  ),
  holds("a fixed is renamed", fixed(16), fixed(16, "Digest"), "incompatible"),
  // enums, fixed, arrays, maps
  holds("an enum gets a symbol", colors(["red"]), colors(["red", "green"]), "compatible"),
  holds("an enum loses a symbol", colors(["red", "green"]), colors(["red"]), "incompatible"),
  holds("an enum with a default loses a symbol", colors(["red", "green"]), colors(["red"], { default: "red" }), "compatible"),
  holds("an enum's symbols change places", colors(["red", "green"]), colors(["green", "red"]), "compatible"),
  holds("an enum becomes a string", colors(["red"]), "string", "incompatible"),
  holds("a fixed changes its size", fixed(16), fixed(20), "incompatible"),
  holds("a fixed becomes bytes", fixed(16), "bytes", "incompatible"),
  holds("array items are promoted", { type: "array", items: "int" }, { type: "array", items: "long" }, "compatible"),
  holds("array items are demoted", { type: "array", items: "long" }, { type: "array", items: "int" }, "incompatible"),
  holds("array items become nullable", { type: "array", items: "string" }, { type: "array", items: ["null", "string"] }, "compatible"),
  holds("map values are promoted", { type: "map", values: "float" }, { type: "map", values: "double" }, "compatible"),
  holds("map values are demoted", { type: "map", values: "double" }, { type: "map", values: "float" }, "incompatible"),
  holds("an array becomes a map", { type: "array", items: "string" }, { type: "map", values: "string" }, "incompatible"),
  holds("an array becomes its item", { type: "array", items: "string" }, "string", "incompatible"),
  // nested records
  holds(
    "a nested record gets a field with a default",
    named("Inner", [id]),
    named("Inner", [id, { name: "x", type: "int", default: 0 }]),
    "compatible",
  ),
  holds(
    "a nested record gets a field without a default",
    named("Inner", [id]),
    named("Inner", [id, { name: "x", type: "int" }]),
    "incompatible",
  ),
  holds(
    "a record in an array gets a field without a default",
    { type: "array", items: named("Inner", [id]) },
    { type: "array", items: named("Inner", [id, { name: "x", type: "int" }]) },
    "incompatible",
  ),
  {
    title: "a recursive record gets a nullable field",
    before: record([id, { name: "next", type: ["null", "Row"], default: null }]),
    after: record([id, { name: "next", type: ["null", "Row"], default: null }, { name: "x", type: ["null", "int"], default: null }]),
    ours: "compatible",
  },
  {
    title: "a recursive record's field is demoted",
    before: record([
      { name: "next", type: ["null", "Row"], default: null },
      { name: "x", type: "long" },
    ]),
    after: record([
      { name: "next", type: ["null", "Row"], default: null },
      { name: "x", type: "int" },
    ]),
    ours: "incompatible",
  },
  {
    title: "a broken record stands behind a union that has a way out of it",
    before: record([
      { name: "first", type: named("A", [id]) },
      { name: "second", type: "A" },
    ]),
    after: record([
      { name: "first", type: [named("A", [id, { name: "x", type: "int" }]), named("B", [id], { aliases: ["A"] })] },
      { name: "second", type: "A" },
    ]),
    ours: "incompatible",
  },
  // logical types
  holds("the same decimal", decimal(10, 2), decimal(10, 2), "compatible"),
  holds("a decimal with scale 0 written out", decimal(10), decimal(10, 0), "compatible"),
  logical("a decimal's scale grows", decimal(10, 2), decimal(10, 4)),
  holds("a decimal's precision grows", decimal(10, 2), decimal(12, 2), "compatible"),
  holds("a decimal's precision shrinks", decimal(12, 2), decimal(10, 2), "compatible"),
  logical("a decimal's precision and scale grow", decimal(10, 2), decimal(12, 4)),
  holds("a nullable decimal's precision grows", ["null", decimal(10, 2)], ["null", decimal(12, 2)], "compatible"),
  holds("a fixed decimal's precision grows within its size", fixedDecimal(8, 10, 2), fixedDecimal(8, 12, 2), "compatible"),
  logical("a fixed decimal's scale grows", fixedDecimal(8, 10, 2), fixedDecimal(8, 10, 4)),
  {
    ...logical("a fixed decimal is renamed with an alias, and its scale grows", fixedDecimal(8, 10, 2), {
      ...(fixedDecimal(8, 10, 4) as object),
      name: "Money",
      aliases: ["shop.Amount"],
    }),
  },
  holds("long → date", "long", date, "incompatible"),
  holds("a fixed decimal's precision and size grow", fixedDecimal(5, 10, 2), fixedDecimal(8, 12, 2), "incompatible"),
  logical("bytes become a decimal", "bytes", decimal(10, 2)),
  logical("a decimal becomes bytes", decimal(10, 2), "bytes"),
  logical("a decimal becomes a string", decimal(10, 2), "string"),
  logical("a nullable decimal's scale grows", ["null", decimal(10, 2)], ["null", decimal(10, 4)]),
  logical("a decimal's scale grows as it becomes nullable", decimal(10, 2), ["null", decimal(10, 4)]),
  logical("timestamp-millis → timestamp-micros", timestampMillis, timestampMicros),
  logical("long → timestamp-micros", "long", timestampMicros),
  logical("timestamp-micros → long", timestampMicros, "long"),
  logical("timestamp-micros → double", timestampMicros, "double"),
  logical("timestamp-micros → local-timestamp-micros", timestampMicros, { type: "long", logicalType: "local-timestamp-micros" }),
  logical("date → timestamp-micros", date, timestampMicros),
  logical("date → int", date, "int"),
  logical("uuid → string", uuid, "string"),
  logical("string → uuid", "string", uuid),
  logical("a time in an array", { type: "array", items: timestampMillis }, { type: "array", items: timestampMicros }),
  holds("date → string", date, "string", "incompatible"),
  // texts that are no schema
  { title: "the type is not known", before: record([id]), after: holding("integer"), ours: "invalid" },
  { title: "two fields of one name", before: record([id]), after: record([id, id]), ours: "invalid" },
  {
    title: "a default of another type",
    before: record([id]),
    after: record([{ name: "id", type: "int", default: "none" }]),
    ours: "invalid",
  },
  {
    title: "a default of the union's second branch",
    before: record([id]),
    after: record([id, { name: "x", type: ["null", "int"], default: 0 }]),
    ours: "compatible",
  },
  {
    title: "a default of no branch of the union",
    before: record([id]),
    after: record([id, { name: "x", type: ["null", "int"], default: "none" }]),
    ours: "invalid",
  },
  {
    title: "a default of a long beyond 2^53",
    before: '{"type":"record","name":"Row","fields":[]}',
    after: '{"type":"record","name":"Row","fields":[{"name":"x","type":"long","default":9007199254740993}]}',
    ours: "invalid",
    apicurio: "compatible",
    why: "a JSON number beyond 2^53 would lose digits here",
  },
  // what Tailrace registers
  envelopes("the same table", orders, orders, "compatible"),
  envelopes("a column comes", ordersWithoutNote, orders, "compatible"),
  envelopes("a column goes", orders, ordersWithoutNote, "compatible"),
  envelopes("integer → bigint", orders, { ...orders, quantity: { kind: "int8" } }, "compatible"),
  envelopes("integer → text", orders, { ...orders, quantity: { kind: "text" } }, "incompatible"),
  envelopes("integer → double precision", orders, { ...orders, quantity: { kind: "float8" } }, "compatible"),
  envelopes("bigint → integer", { ...orders, quantity: { kind: "int8" } }, orders, "incompatible"),
  envelopes("text → jsonb", orders, { ...orders, note: { kind: "jsonb" } }, "compatible"),
  envelopes("text → bytea", orders, { ...orders, note: { kind: "bytea" } }, "compatible"),
  envelopes(
    "numeric(10,2) → numeric(10,4)",
    orders,
    { ...orders, total: { kind: "decimal", precision: 10, scale: 4 } },
    "incompatible",
    "compatible",
  ),
  envelopes("integer[] → bigint[]", { ...orders, tags: list({ kind: "int4" }) }, { ...orders, tags: list({ kind: "int8" }) }, "compatible"),
  envelopes(
    "bigint[] → integer[]",
    { ...orders, tags: list({ kind: "int8" }) },
    { ...orders, tags: list({ kind: "int4" }) },
    "incompatible",
  ),
  envelopes("integer[] → text[]", { ...orders, tags: list({ kind: "int4" }) }, { ...orders, tags: list({ kind: "text" }) }, "incompatible"),
  envelopes("integer → integer[]", orders, { ...orders, quantity: list({ kind: "int4" }) }, "incompatible"),
  envelopes("text[] → text", { ...orders, tags: list({ kind: "text" }) }, { ...orders, tags: { kind: "text" } }, "incompatible"),
  envelopes(
    "timestamptz[] → timestamp[]",
    { ...orders, tags: list({ kind: "timestamptz" }) },
    { ...orders, tags: list({ kind: "timestamp" }) },
    "incompatible",
    "compatible",
  ),
  envelopes(
    "numeric(10,2)[] → numeric(10,4)[]",
    { ...orders, tags: list({ kind: "decimal", precision: 10, scale: 2 }) },
    { ...orders, tags: list({ kind: "decimal", precision: 10, scale: 4 }) },
    "incompatible",
    "compatible",
  ),
  envelopes("numeric(10,2) → numeric(12,2)", orders, { ...orders, total: { kind: "decimal", precision: 12, scale: 2 } }, "compatible"),
  envelopes("numeric(10,2) → numeric", orders, { ...orders, total: { kind: "numeric" } }, "incompatible", "compatible"),
  envelopes("timestamptz → timestamp", orders, { ...orders, at: { kind: "timestamp" } }, "incompatible", "compatible"),
  envelopes("timestamptz → bigint", orders, { ...orders, at: { kind: "int8" } }, "incompatible", "compatible"),
  envelopes("timestamptz → date", orders, { ...orders, at: { kind: "date" } }, "incompatible"),
];

/** The JSON text of a pair's side. */
export function schemaText(schema: unknown): string {
  return typeof schema === "string" && schema.startsWith("{") ? schema : JSON.stringify(schema);
}
