// What Tailrace knows of a table: its columns with their types, and its key. PostgreSQL's wire form of each kind is
// named here because the reader of the stream and the Avro encoder both need it.

/**
 * What a column's values are. The kind decides the wire form that is read, the Avro type that is written and the
 * warehouse's type (design, section 6). `other` is PostgreSQL's text form of any type that is not in this list.
 */
export type ColumnType = ScalarType | { readonly kind: "array"; readonly element: ElementType };
export type ElementType = Exclude<ScalarType, { readonly kind: "other" }>;
export type ScalarType =
  | { readonly kind: PlainKind }
  /** numeric(p,s) with 0 ≤ s ≤ p; any other numeric is of kind `numeric` and travels as a string. */
  | { readonly kind: "decimal"; readonly precision: number; readonly scale: number }
  /** `scale`: what the database's lc_monetary counts in; 64 bits have 19 digits. */
  | { readonly kind: "money"; readonly precision: 19; readonly scale: number }
  /** PostgreSQL's own ranges and multiranges, as the text that it prints. */
  | { readonly kind: "range"; readonly typeName: RangeName }
  | CompositeType
  | { readonly kind: "other"; readonly typeName: string };

/** CREATE TYPE … AS (…), or the row of a table; a value has one of each attribute, null or not. `schema`, `name`: the type's own. */
export type CompositeType = {
  readonly kind: "composite";
  readonly schema: string;
  readonly name: string;
  /** Its own OID; 0 when the type was read from a schema of ours. */
  readonly oid: number;
  /** Attribute numbers that were ever given, those of dropped attributes among them; 0 as above. */
  readonly given: number;
  /** At least one: PostgreSQL has composites without any, which are of kind `other`. */
  readonly attributes: readonly Attribute[];
};

/** Numbers, which stay with an attribute that is renamed and are never given again, are 0 when read from a schema of ours. */
export type Attribute = {
  readonly name: string;
  readonly type: ColumnType;
  readonly number: number;
  readonly typeOid: number;
  readonly typeModifier: number;
};

export const rangeNames = [
  "int4range",
  "int8range",
  "numrange",
  "daterange",
  "tsrange",
  "tstzrange",
  "int4multirange",
  "int8multirange",
  "nummultirange",
  "datemultirange",
  "tsmultirange",
  "tstzmultirange",
] as const;
export type RangeName = (typeof rangeNames)[number];

export const columnKinds = [
  "bool",
  "int2",
  "int4",
  "int8",
  "oid",
  "float4",
  "float8",
  "decimal",
  "numeric",
  "money",
  "text",
  "enum",
  "json",
  "jsonb",
  "xml",
  "jsonpath",
  "uuid",
  "bytea",
  "date",
  "time",
  "timetz",
  "timestamp",
  "timestamptz",
  "interval",
  "inet",
  "cidr",
  "macaddr",
  "macaddr8",
  "bit",
  "tsvector",
  "ltree",
  "hstore",
  "pg_lsn",
  "xid",
  "xid8",
  "point",
  "line",
  "lseg",
  "box",
  "path",
  "polygon",
  "circle",
  "geometry",
  "vector",
  "range",
  "composite",
  "array",
  "other",
] as const;
export type ColumnKind = (typeof columnKinds)[number];
export type ScalarKind = Exclude<ColumnKind, "array">;
/** Kinds that say all there is to say of a type. */
export type PlainKind = Exclude<ScalarKind, "decimal" | "money" | "range" | "composite" | "other">;

/**
 * Geometric types of a fixed number of doubles, with the names that these have in records, in PostgreSQL's order. A line is
 * ax + by + c = 0, of a box (x1, y1) is the upper right corner. A polygon is its points; a path says too whether it is closed.
 */
export const geometricFields = {
  point: ["x", "y"],
  line: ["a", "b", "c"],
  lseg: ["x1", "y1", "x2", "y2"],
  box: ["x1", "y1", "x2", "y2"],
  circle: ["x", "y", "radius"],
} as const satisfies Partial<Record<ColumnKind, readonly string[]>>;
export type FigureKind = keyof typeof geometricFields;

/** PostgreSQL's `infinity` and `-infinity` in dates (days, Avro int) and in timestamps (microseconds, Avro long). */
export const DATE_INFINITY = 2_147_483_647;
export const DATE_MINUS_INFINITY = -2_147_483_648;
export const TIMESTAMP_INFINITY = 9_223_372_036_854_775_807n;
export const TIMESTAMP_MINUS_INFINITY = -9_223_372_036_854_775_808n;

/** What `as` of the configuration may ask a column's values to be in Avro. */
export const readAsNames = ["string", "double", "bytes"] as const;
export type ReadAs = (typeof readAsNames)[number];

export type TableName = { readonly schema: string; readonly name: string };

export type Column = {
  readonly name: string;
  /** What its events hold. */
  readonly type: ColumnType;
  /** Of a column that `as` of the configuration gives another type than its own: what the database sends, and what was asked for. */
  readonly sent?: { readonly type: ColumnType; readonly as: ReadAs };
  /** PostgreSQL's type OID and modifier, as RELATION messages carry them. */
  readonly typeOid: number;
  readonly typeModifier: number;
  /** 1-based place in the key, 0 for a column outside it. Key columns are never null. */
  readonly keyPosition: number;
};

/** The shape of a captured table as of now; columns in the order of the stream's tuples. */
export type Table = TableName & {
  readonly oid: number;
  readonly columns: readonly Column[];
  /** REPLICA IDENTITY: default (primary key), using index, full. `nothing` is never captured. */
  readonly identity: "default" | "index" | "full";
};

/** `schema.name`, for messages, metrics and topics. */
export function tableLabel(table: TableName): string {
  return `${table.schema}.${table.name}`;
}

/** The composite types that a type is made of, itself first. */
export function compositesOf(type: ColumnType): readonly CompositeType[] {
  if (type.kind === "array") return compositesOf(type.element);
  return type.kind === "composite" ? [type, ...type.attributes.flatMap((attribute) => compositesOf(attribute.type))] : [];
}

/** The key columns in key order; empty for a table without a key. */
export function keyColumns<C extends Pick<Column, "keyPosition">>(table: { readonly columns: readonly C[] }): readonly C[] {
  return table.columns.filter((column) => column.keyPosition > 0).sort((a, b) => a.keyPosition - b.keyPosition);
}
