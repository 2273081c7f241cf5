import avro from "avsc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EventDecoder } from "../../../src/avro/decoder.ts";
import { tableSchemas } from "../../../src/avro/schema.ts";
import { readValueSchema } from "../../../src/avro/shape.ts";
import { keyColumns } from "../../../src/core/table.ts";
import { column, rows, table } from "./rows.ts";

const orders = table([
  column("id", "int8", 2),
  column("Größe in cm", { kind: "decimal", precision: 12, scale: 2 }),
  column("address", { kind: "other", typeName: "inet" }),
  column("day", "date", 1),
]);
const { key, value } = tableSchemas(orders, "shop.public.orders");

type Json = Readonly<Record<string, unknown>>;

test("the same table gives the same text, and one without a key has no key schema and no moved_from", () => {
  expect(tableSchemas(structuredClone(orders), "shop.public.orders")).toEqual({ key, value });
  const keyless = tableSchemas(table([column("note", "text")]), "shop.public.notes");
  expect(keyless.key).toBeNull();
  expect(keyless.value).not.toContain("moved_from");
});

test("the envelope has Debezium's names and our fields in the design's order", () => {
  const envelope = JSON.parse(value) as { fields: readonly Json[] } & Json;
  expect(envelope).toMatchObject({ type: "record", name: "Envelope", namespace: "shop.public.orders" });
  expect(envelope.fields.map((field) => field.name)).toEqual(["before", "after", "source", "op", "ts_ms", "unchanged", "moved_from"]);
  const source = envelope.fields[2]?.type;
  expect(source).toMatchObject({ type: "record", name: "Source", namespace: "io.debezium.connector.postgresql" });
  expect(JSON.parse(key ?? "")).toMatchObject({ type: "record", name: "Key", namespace: "shop.public.orders" });
});

test("key columns are required, in key order in the key; every other one is nullable with a default of null", () => {
  const fields = (JSON.parse(key ?? "") as { fields: readonly Json[] }).fields;
  expect(fields).toEqual([
    { name: "day", type: { type: "int", logicalType: "date" }, "tailrace.kind": "date", "tailrace.key": 1 },
    { name: "id", type: "long", "tailrace.kind": "int8", "tailrace.key": 2 },
  ]);
  expect(value).toContain(
    JSON.stringify({
      name: "Gr_u00f6_u00dfe_u0020in_u0020cm",
      type: ["null", { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 }],
      default: null,
      "tailrace.kind": "decimal",
      "tailrace.column": "Größe in cm",
    }),
  );
});

test("a geometric record is defined where it comes first and named from then on, in the key's schema too, and avsc takes both", () => {
  const places = table([
    column("at", "point", 1),
    column("way", "path"),
    column("area", "polygon"),
    column("stops", { kind: "array", element: { kind: "point" } }),
  ]);
  const schemas = tableSchemas(places, "shop.public.places");
  const definitions = (text: string | null): number => text!.split('"name":"Point"').length - 1;
  expect([definitions(schemas.key), definitions(schemas.value)]).toEqual([1, 1]);
  for (const text of [schemas.key!, schemas.value]) expect(() => avro.Type.forSchema(JSON.parse(text) as avro.Schema)).not.toThrow();
  expect(readValueSchema(schemas.value).columns.map(({ type }) => type)).toEqual(places.columns.map(({ type }) => type));
});

test("the shape comes back from the schemas exactly: names, types, places in the key", () => {
  fc.assert(
    fc.property(rows(), ({ table: random }) => {
      const schemas = tableSchemas(random, "a-b.c d.e");
      const shape = readValueSchema(schemas.value);
      const expected = random.columns.map(({ name, type, keyPosition }) => ({ name, type, keyPosition }));
      expect(shape).toMatchObject({ schema: random.schema, name: random.name, columns: expected });
      if (schemas.key === null) return;
      const { fields } = JSON.parse(schemas.key) as { readonly fields: readonly Readonly<Record<string, unknown>>[] };
      expect(fields.map((field) => field["tailrace.column"] ?? field.name)).toEqual(keyColumns(random).map(({ name }) => name));
    }),
  );
});

test("a registry may order, space and qualify the schema's text its own way", () => {
  const reordered = JSON.stringify(JSON.parse(value), null, 2).replaceAll('"Value"\n', '"shop.public.orders.Value"\n');
  expect(readValueSchema(reordered)).toEqual(readValueSchema(value));
});

test("a schema that is not ours is refused by name", () => {
  const foreign = [
    "{",
    "null",
    '"string"',
    '{"type":"record","name":"Envelope","fields":[]}',
    value.replace('"ordinal","type":"long"', '"ordinal","type":"int"'),
    value.replace('"name":"op"', '"name":"operation"'),
    value.replace('"tailrace.kind":"int8"', '"tailrace.kind":"int16"'),
    value.replace('"tailrace.kind":"int8"', '"tailrace.kind":"bool"'),
    value.replaceAll("tailrace.table", "other.table"),
    value.replace('"type":["null","Value"]', '"type":["null",null]'),
  ];
  for (const schema of foreign) {
    expect(schema).not.toBe(value);
    expect(() => new EventDecoder(schema), schema).toThrow(expect.objectContaining({ code: "EVENT_UNREADABLE" }));
  }
});

test("two columns that Avro would call the same are refused by name", () => {
  const colliding = table([column("a b", "int4"), column("a_u0020b", "int4")]);
  expect(() => tableSchemas(colliding, "t")).toThrow(/"a b" and column "a_u0020b" would both be called a_u0020b/);
});

test("adding and dropping a column is compatible in both directions, and so is a key that appears", () => {
  const before = avro.Type.forSchema(JSON.parse(tableSchemas(table([column("id", "int8", 1)]), "t").value) as avro.Schema);
  const wider = tableSchemas(table([column("id", "int8", 1), column("note", "text")]), "t").value;
  const after = avro.Type.forSchema(JSON.parse(wider) as avro.Schema);
  expect(() => before.createResolver(after)).not.toThrow();
  expect(() => after.createResolver(before)).not.toThrow();
});
