// The Avro schemas of a table's events (design, section 6). The JSON text is the same on every call and in every
// process: a registry knows a schema by it.
import { avroName, avroNamespace, fieldNames } from "../core/naming.ts";
import {
  geometricFields,
  keyColumns,
  type Column,
  type ColumnType,
  type CompositeType,
  type FigureKind,
  type ScalarKind,
  type Table,
  type TableName,
} from "../core/table.ts";

/** An Avro schema as parsed JSON. */
export type AvroType = string | readonly AvroType[] | { readonly type: AvroType; readonly [attribute: string]: unknown };

export type AvroRecord = { readonly type: "record"; readonly name: string; readonly fields: readonly AvroField[] };

export type AvroField = { readonly name: string; readonly type: AvroType; readonly [attribute: string]: unknown };

/**
 * What Avro has no word for, kept beside its own attributes, which a reader that does not know them passes over (as it
 * does Connect's `connect.name`).
 */
export const attributes = {
  /** On a column's field: its ColumnKind. */
  kind: "tailrace.kind",
  /** On a field of kind `array`: its elements' ColumnKind. */
  items: "tailrace.items",
  /** On a field of kind `other` or `range`, and of an array of ranges: PostgreSQL's name of the type, of an array's items. */
  typeName: "tailrace.type",
  /** On a field whose column has another name than it. */
  column: "tailrace.column",
  /** On a key column's field: its 1-based place in the key. */
  key: "tailrace.key",
  /** On the envelope: the table, unescaped. On a composite's record: the type's schema, and its name as `typeName`. */
  schema: "tailrace.schema",
  table: "tailrace.table",
} as const;

/** The Avro schemas (JSON text) of a topic's keys and values. `key` is null for a table without a key. */
export type TableSchemas = { readonly key: string | null; readonly value: string };

/** The shape that the schemas are made from. */
export type SchemaShape = Pick<Table, "schema" | "name"> & {
  readonly columns: readonly Pick<Column, "name" | "type" | "keyPosition">[];
};

/** Namespaces of records within a row: each is defined where it comes first, and named from then on (onceDefined). */
const GEOMETRY = "tailrace.geometry";
const COMPOSITE = "tailrace.composite.";

const nested = (name: string, fields: readonly AvroField[]): AvroType => ({ type: "record", name, namespace: GEOMETRY, fields });
const figure = (name: string, kind: FigureKind): AvroType =>
  nested(
    name,
    geometricFields[kind].map((field) => ({ name: field, type: "double" })),
  );
const point = figure("Point", "point");
const points: AvroType = { type: "array", items: point };

const valueTypes: Readonly<Record<Exclude<ScalarKind, "decimal" | "money" | "composite">, AvroType>> = {
  bool: "boolean",
  int2: "int",
  int4: "int",
  int8: "long",
  oid: "long",
  float4: "float",
  float8: "double",
  numeric: "string",
  text: "string",
  enum: "string",
  json: "string",
  jsonb: "string",
  jsonpath: "string",
  xml: "string",
  uuid: { type: "string", logicalType: "uuid" },
  bytea: "bytes",
  date: { type: "int", logicalType: "date" },
  time: { type: "long", logicalType: "time-micros" },
  timetz: "string",
  timestamp: { type: "long", logicalType: "local-timestamp-micros" },
  timestamptz: { type: "long", logicalType: "timestamp-micros" },
  interval: "string",
  inet: "string",
  cidr: "string",
  macaddr: "string",
  macaddr8: "string",
  bit: "string",
  tsvector: "string",
  ltree: "string",
  hstore: { type: "map", values: ["null", "string"] },
  pg_lsn: "string",
  xid: "string",
  xid8: "string",
  point,
  line: figure("Line", "line"),
  lseg: figure("Lseg", "lseg"),
  box: figure("Box", "box"),
  path: nested("Path", [
    { name: "closed", type: "boolean" },
    { name: "points", type: points },
  ]),
  polygon: points,
  circle: figure("Circle", "circle"),
  geometry: "bytes",
  vector: { type: "array", items: "float" },
  range: "string",
  other: "string",
};

/** Source's fields, in the order in which the encoder writes and the decoder reads them. */
const sourceFields: readonly AvroField[] = [
  { name: "version", type: "string" },
  { name: "connector", type: "string" },
  { name: "name", type: "string" },
  { name: "ts_ms", type: "long" },
  { name: "ts_us", type: "long" },
  { name: "snapshot", type: "string" },
  { name: "db", type: "string" },
  { name: "schema", type: "string" },
  { name: "table", type: "string" },
  { name: "txId", type: ["null", "long"], default: null },
  { name: "lsn", type: ["null", "long"], default: null },
  { name: "epoch", type: "int" },
  { name: "commit_lsn", type: "long" },
  { name: "ordinal", type: "long" },
];

/**
 * The schemas of a table whose events go to `topic`: Debezium's envelope and names (`<topic>.Envelope`, `.Value`, `.Key`).
 * Key columns are required, every other one is `["null", T]`. A table without a key has no key schema and no field
 * `moved_from`. Throws NAME_COLLISION when two columns would have one name.
 */
export function tableSchemas(table: SchemaShape, topic: string): TableSchemas {
  const namespace = avroNamespace(topic);
  const key = keyRecord(table);
  const { type, name, fields } = envelopeRecord(table);
  return {
    key:
      key === null ? null : JSON.stringify({ type: key.type, name: key.name, namespace, fields: fieldsOnceDefined(key.fields, new Set()) }),
    value: JSON.stringify({ type, name, namespace, fields, [attributes.schema]: table.schema, [attributes.table]: table.name }),
  };
}

/** The record of a table's key, without a namespace; null without a key. */
function keyRecord(table: SchemaShape): AvroRecord | null {
  const fields = columnFields(table);
  const key = keyColumns(table).map((column) => fields[table.columns.indexOf(column)]!);
  return key.length === 0 ? null : { type: "record", name: "Key", fields: key };
}

/** The record of a table's events, without a namespace. */
export function envelopeRecord(table: SchemaShape): AvroRecord {
  const value = { type: "record", name: "Value", fields: columnFields(table) };
  const source = { type: "record", name: "Source", namespace: "io.debezium.connector.postgresql", fields: sourceFields };
  const key = keyRecord(table);
  const fields: AvroField[] = [
    { name: "before", type: ["null", value], default: null },
    { name: "after", type: ["null", "Value"], default: null },
    { name: "source", type: source },
    { name: "op", type: "string" },
    { name: "ts_ms", type: ["null", "long"], default: null },
    { name: "unchanged", type: { type: "array", items: "string" }, default: [] },
  ];
  if (key !== null) fields.push({ name: "moved_from", type: ["null", key], default: null });
  return { type: "record", name: "Envelope", fields: fieldsOnceDefined(fields, new Set()) };
}

type FieldColumn = Pick<Column, "name" | "type"> & Partial<Pick<Column, "keyPosition">>;

/** Avro takes one definition of a name: the nested records that `defined` has already become their names. */
function onceDefined(type: AvroType, defined: Set<string>): AvroType {
  if (typeof type === "string") return type;
  if (isUnion(type)) return type.map((branch) => onceDefined(branch, defined));
  const { name, namespace, fields, items } = type as AvroField & { readonly fields?: readonly AvroField[]; readonly items?: AvroType };
  if (typeof namespace === "string" && (namespace === GEOMETRY || namespace.startsWith(COMPOSITE))) {
    const full = `${namespace}.${name}`;
    if (defined.has(full)) return full;
    defined.add(full);
  }
  if (fields !== undefined) return { ...type, fields: fieldsOnceDefined(fields, defined) };
  return items === undefined ? type : { ...type, items: onceDefined(items, defined) };
}

function fieldsOnceDefined(fields: readonly AvroField[], defined: Set<string>): readonly AvroField[] {
  return fields.map((field) => ({ ...field, type: onceDefined(field.type, defined) }));
}

function isUnion(type: AvroType): type is readonly AvroType[] {
  return Array.isArray(type);
}

/** Of a table's columns, or of a composite's attributes, any of which may be null. */
function columnFields(table: TableName & { readonly columns: readonly FieldColumn[] }): readonly AvroField[] {
  const names = fieldNames(table);
  return table.columns.map((column, index) => {
    const name = names[index]!;
    const type = valueType(column.type);
    const { keyPosition = 0 } = column;
    const required = keyPosition > 0;
    const scalar = column.type.kind === "array" ? column.type.element : column.type;
    return {
      name,
      ...(required ? { type } : { type: ["null", type], default: null }),
      [attributes.kind]: column.type.kind,
      ...(column.type.kind === "array" ? { [attributes.items]: scalar.kind } : {}),
      ...("typeName" in scalar ? { [attributes.typeName]: scalar.typeName } : {}),
      ...(name === column.name ? {} : { [attributes.column]: column.name }),
      ...(required ? { [attributes.key]: keyPosition } : {}),
    };
  });
}

/** Named by the type, so that its name is the same in every schema and after an ALTER TYPE. */
function compositeRecord({ schema, name, attributes: columns }: CompositeType): AvroType {
  const fields = columnFields({ schema, name, columns });
  const namespace = `${COMPOSITE}${avroName(schema)}`;
  return { type: "record", name: avroName(name), namespace, fields, [attributes.schema]: schema, [attributes.typeName]: name };
}

/** The Avro type of a column's values, without the union with null. */
export function valueType(type: ColumnType): AvroType {
  if (type.kind === "array") return { type: "array", items: ["null", valueType(type.element)] };
  if (type.kind === "composite") return compositeRecord(type);
  if (type.kind !== "decimal" && type.kind !== "money") return valueTypes[type.kind];
  return { type: "bytes", logicalType: "decimal", precision: type.precision, scale: type.scale };
}
