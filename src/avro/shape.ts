// A table's shape, read back from the Avro schemas that its events were written with.
import { TailraceError } from "../core/errors.ts";
import type { TopicPartition } from "../core/event-log.ts";
import {
  columnKinds,
  rangeNames,
  type Column,
  type ColumnKind,
  type ColumnType,
  type CompositeType,
  type ElementType,
  type RangeName,
  type TableName,
} from "../core/table.ts";
import { attributes, envelopeRecord, type AvroField, type AvroRecord } from "./schema.ts";

/** A column as a sink needs it. */
export type ShapeColumn = Pick<Column, "name" | "type" | "keyPosition"> & {
  /** Its name in Avro, which is also what `unchanged` holds. */
  readonly field: string;
};

/** A table as its events show it; columns in the order of their values. */
export type EventShape = TableName & { readonly columns: readonly ShapeColumn[] };

/**
 * The shape that a value schema (JSON text) of ours describes. A registry may have reformatted the text; what is not laid
 * out as this version writes it throws EVENT_UNREADABLE.
 */
export function readValueSchema(json: string): EventShape {
  const envelope = parseRecord(json);
  const schema = text(envelope, attributes.schema);
  const name = text(envelope, attributes.table);
  const columns = readColumns(valueFields(envelope), envelope);
  const shape = { schema, name, columns };
  requireLayout(envelope, envelopeRecord(shape), `${schema}.${name}`);
  return shape;
}

/** The columns of a key, in key order, that a key schema (JSON text) of ours describes. Throws EVENT_UNREADABLE. */
export function readKeySchema(json: string): readonly ShapeColumn[] {
  const key = parseRecord(json);
  return readColumns(key.fields, key);
}

/** EVENT_UNREADABLE: bytes or a schema that this service did not write. */
export function unreadable(reason: string, cause?: unknown): TailraceError {
  return new TailraceError("EVENT_UNREADABLE", { reason }, cause === undefined ? {} : { cause });
}

/** An error of reading a record, said of its place; any other error as it is. */
export function unreadableAt(cause: unknown, { topic, partition }: TopicPartition, offset: number): unknown {
  return isUnreadable(cause) ? cause.saidOf(`${topic} partition ${partition} offset ${offset}`) : cause;
}

/** EVENT_UNREADABLE, or SCHEMA_UNKNOWN: what a foreign producer's bytes lead to. */
export function isUnreadable(cause: unknown): cause is TailraceError {
  return cause instanceof TailraceError && (cause.code === "EVENT_UNREADABLE" || cause.code === "SCHEMA_UNKNOWN");
}

function parseRecord(json: string): AvroRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw unreadable("its schema is not JSON", cause);
  }
  if (!isRecord(parsed)) throw unreadable("its schema is not an Avro record");
  return parsed;
}

function valueFields(envelope: AvroRecord): readonly AvroField[] {
  const before = envelope.fields.find((field) => field.name === "before")?.type;
  const value = Array.isArray(before) ? (before[1] as unknown) : undefined;
  if (!isRecord(value)) throw unreadable("its schema has no `before`");
  return value.fields;
}

/** Composites by their full names, as they are defined; `namespace`: of the record that is read, where one that has none of its own is. */
type Names = { readonly composites: Map<string, CompositeType>; readonly namespace: string };

function readColumns(fields: readonly AvroField[], of: AvroRecord): readonly ShapeColumn[] {
  const names: Names = { composites: new Map(), namespace: namespaceOf(of, "") };
  return fields.map((field) => readColumn(field, names));
}

function namespaceOf(record: AvroRecord, enclosing: string): string {
  const { namespace } = record as AvroRecord & { readonly namespace?: unknown };
  return typeof namespace === "string" ? namespace : enclosing;
}

function readColumn(field: AvroField, names: Names): ShapeColumn {
  const keyPosition = field[attributes.key] ?? 0;
  if (typeof keyPosition !== "number") throw unreadable(`field ${field.name} has a bad ${attributes.key}`);
  return {
    name: attributes.column in field ? text(field, attributes.column) : field.name,
    field: field.name,
    type: readType(field, names),
    keyPosition,
  };
}

function readType(field: AvroField, names: Names): ColumnType {
  const type: unknown = Array.isArray(field.type) ? field.type[1] : field.type;
  const kind = readKind(field, attributes.kind);
  if (kind === "other") return { kind, typeName: text(field, attributes.typeName) };
  if (kind !== "array") return readElement(field, kind, type, names);
  const element = readKind(field, attributes.items);
  const { items } = (type ?? {}) as { readonly items?: unknown };
  if (element === "array" || element === "other" || !Array.isArray(items)) throw unreadable(`field ${field.name} is no array`);
  return { kind, element: readElement(field, element, items[1], names) };
}

function readKind(field: AvroField, attribute: string): ColumnKind {
  const kind = columnKinds.find((known) => known === field[attribute]);
  if (kind === undefined) throw unreadable(`field ${field.name} has no known ${attribute}`);
  return kind;
}

function readElement(field: AvroField, kind: ElementType["kind"], avro: unknown, names: Names): ElementType {
  if (kind === "composite") return readComposite(field, avro, names);
  if (kind === "decimal") return { kind, ...readDigits(field, avro) };
  if (kind === "money") return { kind, precision: 19, scale: readDigits(field, avro).scale };
  if (kind === "range") return { kind, typeName: readRange(field) };
  return { kind };
}

/** Its definition, or the name of one that came before: in full, or of the same namespace. */
function readComposite(field: AvroField, avro: unknown, { composites, namespace }: Names): CompositeType {
  const qualified = (name: string, space: string): string => (name.includes(".") ? name : `${space}.${name}`);
  if (typeof avro === "string") {
    const known = composites.get(qualified(avro, namespace));
    if (known === undefined) throw unreadable(`field ${field.name} is of a record that is not defined`);
    return known;
  }
  if (!isRecord(avro)) throw unreadable(`field ${field.name} is no record`);
  const space = namespaceOf(avro, namespace);
  const read = avro.fields.map((each) => readColumn(each, { composites, namespace: space }));
  const type: CompositeType = {
    kind: "composite",
    schema: text(avro, attributes.schema),
    name: text(avro, attributes.typeName),
    oid: 0,
    given: 0,
    attributes: read.map(({ name, type: of }) => ({ name, type: of, number: 0, typeOid: 0, typeModifier: 0 })),
  };
  composites.set(qualified(avro.name, space), type);
  return type;
}

function readRange(field: AvroField): RangeName {
  const typeName = rangeNames.find((known) => known === field[attributes.typeName]);
  if (typeName === undefined) throw unreadable(`field ${field.name} is no known range`);
  return typeName;
}

function readDigits(field: AvroField, avro: unknown): { readonly precision: number; readonly scale: number } {
  const { precision, scale = 0 } = (avro ?? {}) as { precision?: unknown; scale?: unknown }; // Avro leaves a scale of 0 out
  if (typeof precision !== "number" || typeof scale !== "number") throw unreadable(`field ${field.name} is no decimal`);
  return { precision, scale };
}

function text(of: object, attribute: string): string {
  const value = (of as Readonly<Record<string, unknown>>)[attribute];
  if (typeof value !== "string") throw unreadable(`its schema lacks ${attribute}`);
  return value;
}

function isRecord(value: unknown): value is AvroRecord {
  if (typeof value !== "object" || value === null) return false;
  const { type, name, fields } = value as Partial<AvroRecord>;
  return type === "record" && typeof name === "string" && Array.isArray(fields) && fields.every(isField);
}

function isField(value: unknown): value is AvroField {
  return typeof value === "object" && value !== null && typeof (value as Partial<AvroField>).name === "string" && "type" in value;
}

function requireLayout(record: AvroRecord, expected: AvroRecord, what: string): void {
  if (layout(record) !== layout(expected)) throw unreadable(`the schema of ${what} is not laid out as this version writes it`);
}

/** What decides the bytes: field names and Avro types in order; namespaces, attributes and logical types left out. */
function layout(type: unknown): string {
  if (typeof type === "string") return type.slice(type.lastIndexOf(".") + 1);
  if (Array.isArray(type)) return `[${type.map(layout).join()}]`;
  if (isRecord(type)) return `${type.name}{${type.fields.map((field) => `${field.name}:${layout(field.type)}`).join()}}`;
  if (typeof type !== "object" || type === null) throw unreadable("its schema is no Avro schema");
  const { type: inner, items, values } = type as { readonly type?: unknown; readonly items?: unknown; readonly values?: unknown };
  if (values !== undefined) return `map<${layout(values)}>`;
  return items === undefined ? layout(inner) : `array<${layout(items)}>`;
}
