// What three readers of Debezium's Avro envelope ask of its schemas, as they document it or as their code that judges a schema says, each
// rule with its source, held against the schemas of a table with a column of every kind. None of them runs here: Flink's classes do in
// test/e2e/foreign-readers.test.ts, and what did not run is not named as a reader in docs/.
import { expect, test } from "vitest";
import { tableSchemas, type AvroField, type AvroType, type TableSchemas } from "../../../src/avro/schema.ts";
import { columnKinds, type ColumnKind, type ColumnType } from "../../../src/core/table.ts";
import { column, composite, table } from "./rows.ts";

const types: Readonly<Partial<Record<ColumnKind, ColumnType>>> = {
  decimal: { kind: "decimal", precision: 38, scale: 4 },
  money: { kind: "money", precision: 19, scale: 2 },
  range: { kind: "range", typeName: "tstzrange" },
  composite: composite("address", { street: { kind: "text" }, seen: { kind: "array", element: { kind: "timestamptz" } } }),
  array: { kind: "array", element: { kind: "decimal", precision: 12, scale: 2 } },
  other: { kind: "other", typeName: "pair" },
};
const columns = columnKinds.map((kind) => column(`a_${kind}`, types[kind] ?? ({ kind } as ColumnType)));
const everyKind = table([column("id", "int8", 1), column("region", "text", 2), ...columns]);
const topic = "shop.public.orders";

/** A type with its names resolved. */
type Node = { readonly kind: string; readonly json: AvroType; readonly name?: string; readonly fields?: readonly AvroField[] };

class Schema {
  readonly root: Node;
  readonly #named = new Map<string, Node>();

  constructor(text: string) {
    this.root = this.node(JSON.parse(text) as AvroType);
    this.walk(this.root, () => undefined); // the names that are used before one has come by them
  }

  node(type: AvroType): Node {
    if (typeof type === "string") return this.#named.get(type) ?? { kind: type, json: type };
    if (Array.isArray(type)) return { kind: "union", json: type };
    const { type: base, name, namespace, fields, logicalType } = type as unknown as Readonly<Record<string, unknown>>;
    if (base !== "record") return { kind: String(logicalType ?? base), json: type };
    const record = { kind: "record", json: type, name: name as string, fields: fields as readonly AvroField[] };
    this.#named.set(namespace === undefined ? record.name : `${namespace as string}.${record.name}`, record);
    return record;
  }

  branches(union: Node): readonly Node[] {
    return (union.json as readonly AvroType[]).map((branch) => this.node(branch));
  }

  field(record: Node, name: string): Node | null {
    const found = record.fields?.find((field) => field.name === name);
    return found === undefined ? null : this.node(found.type);
  }

  /** The branch that is not null, or the type itself; null when there are several. */
  present(node: Node): Node | null {
    if (node.kind !== "union") return node;
    const [one, ...more] = this.branches(node).filter(({ kind }) => kind !== "null");
    return more.length === 0 ? (one ?? null) : null;
  }

  /** Calls `visit` with every type in the schema and with the records that it stands in. */
  walk(node: Node, visit: (node: Node, inside: readonly Node[], isBranch: boolean) => void, inside: readonly Node[] = []): void {
    visit(node, inside, false);
    if (node.kind === "record" && !inside.includes(node)) {
      for (const { type } of node.fields ?? []) this.walk(this.node(type), visit, [...inside, node]);
    } else if (node.kind === "union") {
      for (const branch of this.branches(node)) {
        if (branch.kind === "null") visit(branch, inside, true);
        else this.walk(branch, visit, inside);
      }
    } else if (node.kind === "array" || node.kind === "map") {
      const { items, values } = node.json as unknown as { readonly items?: AvroType; readonly values?: AvroType };
      this.walk(this.node((items ?? values)!), visit, inside);
    }
  }
}

type Judge = (schemas: TableSchemas) => readonly string[];

/**
 * Apache Flink 2.3, "Debezium Format" in its manual's chapter on table formats, and DebeziumAvroDeserializationSchema: a reader schema of
 * `before` and `after`, nullable records of the table's columns, and a string `op`; other fields are passed over. AvroSchemaConverter:
 * decimals of up to 38 digits; no timestamp of microseconds (declared as BIGINT) and no time of microseconds.
 */
const flink: Judge = ({ value }) => {
  const schema = new Schema(value);
  const said: string[] = [];
  for (const name of ["before", "after"]) {
    const field = schema.field(schema.root, name);
    const isNullable = field?.kind === "union" && schema.branches(field).some(({ kind }) => kind === "null");
    if (!isNullable || schema.present(field)?.kind !== "record") said.push(`${name} is no nullable record`);
  }
  if (schema.field(schema.root, "op")?.kind !== "string") said.push("op is no string");
  schema.walk(schema.root, ({ json }) => {
    if (precisionOf(json) > 38) said.push(`a decimal of ${precisionOf(json)} digits`);
  });
  return said;
};

/**
 * Materialize, manual page "CREATE SOURCE: Kafka/Redpanda", section "Debezium envelope": row data before and after the change, a null
 * `before` is an insert, a null `after` a delete. `typecheck_debezium` (src/sql, statement `CREATE SOURCE`): `after` is there, `before` is a
 * record of the very type of `after`. `schema_to_relationdesc` (src/interchange/src/avro/schema.rs): null stands in unions only, a union has
 * one other branch wherever it is no record's field (as a field it becomes several columns), no record in itself, decimals of up to 39
 * digits. The envelope is an upsert by the message's key: its fields are columns of the row with the same types.
 */
const materialize: Judge = ({ key, value }) => {
  const schema = new Schema(value);
  const [before, after] = ["before", "after"].map((name) => schema.field(schema.root, name));
  const said: string[] = [];
  if (after === null || after === undefined) said.push("after is missing");
  const [was, is] = [before, after].map((field) => (field === null || field === undefined ? null : schema.present(field)));
  if (was?.kind !== "record") said.push("before is no record");
  if (was !== is) said.push("before and after are of two types");
  schema.walk(schema.root, (node, inside, isBranch) => {
    if (node.kind === "null" && !isBranch) said.push("null outside a union");
    if (node.kind === "union" && schema.present(node) === null) said.push("a union of more than null and one type");
    if (inside.includes(node)) said.push(`${node.name ?? ""} holds itself`);
    if (precisionOf(node.json) > 39) said.push(`a decimal of ${precisionOf(node.json)} digits`);
  });
  if (key === null) said.push("no key");
  else if (is !== null && is !== undefined) said.push(...keyObjections(new Schema(key), schema, is));
  return said;
};

/**
 * RisingWave, manual page "Data formats and encoding options" (DEBEZIUM, AVRO: with a schema registry, and a table with a primary key), and
 * its code: subjects `<topic>-key` and `<topic>-value`, the key's fields are the primary key, the columns are those of the record in
 * `before` (src/connector/src/parser/debezium/avro_parser.rs); rows come from `after`, of a delete from `before`, `op` is a string
 * (unified/debezium.rs). Types (src/connector/codec/src/decoder/avro/schema.rs): these, no circular reference, null in unions only.
 */
const risingwave: Judge = ({ key, value }) => {
  const known = [
    "string",
    "int",
    "long",
    "boolean",
    "float",
    "double",
    "decimal",
    "date",
    "bytes",
    "enum",
    "array",
    "map",
    "record",
    "uuid",
  ];
  const moments = [
    "time-micros",
    "time-millis",
    "timestamp-micros",
    "timestamp-millis",
    "local-timestamp-micros",
    "local-timestamp-millis",
  ];
  const schema = new Schema(value);
  const said: string[] = [];
  const field = schema.field(schema.root, "before");
  const row = field === null ? null : schema.present(field);
  if (row?.kind !== "record") return ["before holds no record"];
  if (schema.field(schema.root, "after") === null) said.push("after is missing");
  if (schema.field(schema.root, "op")?.kind !== "string") said.push("op is no string");
  schema.walk(row, (node, inside, isBranch) => {
    if (node.kind === "null" && !isBranch) said.push("null outside a union");
    if (inside.includes(node)) said.push(`${node.name ?? ""} holds itself`);
    if (node.kind === "union" ? schema.present(node) === null : ![...known, ...moments, "null"].includes(node.kind))
      said.push(`a column of type ${node.kind}`);
  });
  if (key === null) said.push("no key");
  else said.push(...keyObjections(new Schema(key), schema, row));
  return said;
};

function keyObjections(key: Schema, value: Schema, row: Node): readonly string[] {
  return (key.root.fields ?? []).flatMap(({ name, type }) => {
    const column = value.field(row, name);
    const same = column !== null && JSON.stringify(column.json) === JSON.stringify(key.node(type).json);
    return same ? [] : [`the key's ${name} is no column of the row with its type`];
  });
}

function precisionOf(json: AvroType): number {
  return Number((json as { readonly precision?: unknown }).precision ?? 0);
}

const judges = { flink, materialize, risingwave };

/** What each says of them, once. */
function objections(schemas: TableSchemas): Readonly<Record<keyof typeof judges, readonly string[]>> {
  const once = (judge: Judge): readonly string[] => [...new Set(judge(schemas))];
  return { flink: once(flink), materialize: once(materialize), risingwave: once(risingwave) };
}

test.each(Object.entries(judges))("a table with a column of every kind keeps to what %s asks", (_, judge) => {
  expect(judge(tableSchemas(everyKind, topic))).toEqual([]);
});

test("two of them object to a numeric of more digits than they hold; the third takes 28 and warns that it cuts the rest", () => {
  const wide = tableSchemas(table([column("id", "int8", 1), column("n", { kind: "decimal", precision: 60, scale: 4 })]), topic);
  const said = ["a decimal of 60 digits"];
  expect(objections(wide)).toEqual({ flink: said, materialize: said, risingwave: [] });
});

test("a table without a key is not for the two that keep a row by its key", () => {
  const keyless = tableSchemas(table([column("note", "text")]), topic);
  expect(objections(keyless)).toEqual({ flink: [], materialize: ["no key"], risingwave: ["no key"] });
});

test.each<readonly [string, (schemas: TableSchemas) => TableSchemas, { readonly [J in keyof typeof judges]: readonly string[] }]>([
  [
    "no field before",
    edited(({ fields, ...rest }) => ({ ...rest, fields: [{ ...fields[0]!, name: "old" }, ...fields.slice(1)] })),
    {
      flink: ["before is no nullable record"],
      materialize: ["before is no record", "before and after are of two types"],
      risingwave: ["before holds no record"],
    },
  ],
  [
    "a before of another type than after",
    edited(({ fields, ...rest }) => ({
      ...rest,
      fields: [
        { name: "before", type: ["null", { type: "record", name: "Old", fields: [] }] },
        { name: "after", type: fields[0]!.type },
        ...fields.slice(2),
      ],
    })),
    { flink: [], materialize: ["before and after are of two types"], risingwave: ["the key's id is no column of the row with its type"] },
  ],
  [
    "an op that may be null",
    edited(({ fields, ...rest }) => ({
      ...rest,
      fields: fields.map((field) => (field.name === "op" ? { ...field, type: ["null", "string"] } : field)),
    })),
    { flink: ["op is no string"], materialize: [], risingwave: ["op is no string"] },
  ],
  [
    "a union of two types, and a row that holds itself",
    edited(({ fields, ...rest }) => ({
      ...rest,
      fields: [
        {
          name: "before",
          type: [
            "null",
            {
              type: "record",
              name: "Value",
              fields: [
                { name: "id", type: "long" },
                { name: "x", type: ["null", "int", "string"] },
                { name: "y", type: ["null", "Value"] },
              ],
            },
          ],
        },
        ...fields.slice(1),
      ],
    })),
    {
      flink: [],
      materialize: ["a union of more than null and one type", "Value holds itself"],
      risingwave: ["a column of type union", "Value holds itself"],
    },
  ],
])("%s is objected to", (_, edit, expected) => {
  const schemas = edit(tableSchemas(table([column("id", "int8", 1)]), topic));
  expect(objections(schemas)).toEqual(expected);
});

type Envelope = { readonly fields: readonly AvroField[]; readonly [attribute: string]: unknown };

function edited(edit: (envelope: Envelope) => Envelope): (schemas: TableSchemas) => TableSchemas {
  return ({ key, value }) => ({ key, value: JSON.stringify(edit(JSON.parse(value) as Envelope)) });
}
