// `as` of the configuration: columns whose events hold another type than the one their own would have. What can be read as what, and
// whether the binary protocol brings what that takes.
import { readAsNames, type Column, type ColumnKind, type ColumnType, type ReadAs, type TableName } from "./table.ts";

/** By column name. One object for all tables that one entry of the configuration takes. */
export type AskedColumns = ReadonlyMap<string, ReadAs>;

/** What is asked for of a table's columns; null: nothing. */
export type AskedTypes = (table: TableName) => AskedColumns | null;

/** `own`: the type's events hold that anyway. `either`: from both wire forms. `text`: from the text form alone. */
type Way = "own" | "either" | "text";

const OWN_STRING = { string: "own" } as const;
const WHOLE_NUMBER = { string: "either", double: "either" } as const;
const GEOMETRIC = { string: "text" } as const;
const MAC = { string: "own", bytes: "either" } as const;

/** No number but a float has a text that is the same by all who print it: PostgreSQL's shortest is not always JavaScript's. */
const ways: Readonly<Record<ColumnKind, Readonly<Partial<Record<ReadAs, Way>>>>> = {
  bool: { string: "either" },
  int2: WHOLE_NUMBER,
  int4: WHOLE_NUMBER,
  int8: WHOLE_NUMBER,
  oid: WHOLE_NUMBER,
  float4: { string: "text", double: "either" },
  float8: { string: "text", double: "own" },
  decimal: { string: "either", double: "either" },
  numeric: { string: "own", double: "either" },
  money: { string: "either", double: "either" },
  text: OWN_STRING,
  enum: OWN_STRING,
  json: OWN_STRING,
  jsonb: OWN_STRING,
  xml: OWN_STRING,
  jsonpath: OWN_STRING,
  uuid: { string: "either", bytes: "either" },
  bytea: { string: "either", bytes: "own" },
  date: { string: "either" },
  time: { string: "either" },
  timetz: OWN_STRING,
  timestamp: { string: "either" },
  timestamptz: { string: "either" },
  interval: OWN_STRING,
  inet: OWN_STRING,
  cidr: OWN_STRING,
  macaddr: MAC,
  macaddr8: MAC,
  bit: OWN_STRING,
  tsvector: OWN_STRING,
  ltree: OWN_STRING,
  hstore: { string: "text" },
  pg_lsn: OWN_STRING,
  xid: OWN_STRING,
  xid8: OWN_STRING,
  point: GEOMETRIC,
  line: GEOMETRIC,
  lseg: GEOMETRIC,
  box: GEOMETRIC,
  path: GEOMETRIC,
  polygon: GEOMETRIC,
  circle: GEOMETRIC,
  geometry: { string: "text", bytes: "own" },
  vector: { string: "text" },
  range: OWN_STRING,
  composite: { string: "text" },
  array: { string: "text" },
  other: OWN_STRING,
};

/** What a column of this type may be read as. No double in a key: two keys that differ could become one. */
export function readableAs(type: ColumnType, isKey: boolean): readonly ReadAs[] {
  return readAsNames.filter((as) => ways[type.kind][as] !== undefined && !(isKey && as === "double"));
}

/** A column's type as its events hold it. What can't be read as it is asked for has its own: whoever asked is told when the source starts. */
export function typeAsAsked(type: ColumnType, as: ReadAs | undefined, isKey: boolean): Pick<Column, "type" | "sent"> {
  if (as === undefined || !readableAs(type, isKey).includes(as) || ways[type.kind][as] === "own") return { type };
  return { type: { kind: kindAs(type, as) }, sent: { type, as } };
}

/** A decimal or money with all its digits is what a numeric without a precision is. */
function kindAs({ kind }: ColumnType, as: ReadAs): "float8" | "bytea" | "numeric" | "text" {
  if (as === "double") return "float8";
  if (as === "bytes") return "bytea";
  return kind === "decimal" || kind === "money" ? "numeric" : "text";
}

/** What the database sends. */
export function sentType({ type, sent }: Pick<Column, "type" | "sent">): ColumnType {
  return sent === undefined ? type : sent.type;
}

/** Whether a column's values are read from their text form: their binary one is not understood, or not as it is asked for. */
export function isReadAsText({ type, sent }: Pick<Column, "type" | "sent">): boolean {
  return sent === undefined ? hasNoBinary(type) : hasNoBinary(sent.type) || ways[sent.type.kind][sent.as] === "text";
}

/** A composite has one attribute that has none. */
function hasNoBinary(type: ColumnType): boolean {
  if (type.kind === "array") return hasNoBinary(type.element);
  return type.kind === "other" || (type.kind === "composite" && type.attributes.some((attribute) => hasNoBinary(attribute.type)));
}
