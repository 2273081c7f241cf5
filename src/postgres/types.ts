// PostgreSQL's types as Tailrace's column types (design, section 6), and which of them the binary protocol is read for.
import { isReadAsText } from "../core/read-as.ts";
import type { Column, ColumnType, CompositeType, ElementType, PlainKind, RangeName } from "../core/table.ts";

/** What pg_type says of a column's type; of a domain, what it says of the base type at the bottom. */
export type TypeFacts = ElementFacts & {
  /** Of an array that is printed as arrays are: its elements', with the array's modifier; null of other types. */
  readonly element: ElementFacts | null;
};

export type ElementFacts = {
  readonly oid: number;
  /** atttypmod, or the domain's own modifier; −1 when there is none. */
  readonly modifier: number;
  readonly name: string;
  /** As format_type has it: qualified outside pg_catalog. */
  readonly label: string;
  /** pg_type.typtype: `b`ase, `c`omposite, `e`num, `p`seudo, `r`ange, `m`ultirange. */
  readonly type: string;
  /** pg_type.typcategory; `S` is string. */
  readonly category: string;
  /** Of a composite: what it is made of; null of other types. */
  readonly composite: CompositeFacts | null;
  /** Of money: the digits behind the point that the database's lc_monetary has; null of other types. */
  readonly fraction: number | null;
};

/** What the catalogs say of a composite. `given`: pg_class.relnatts, which counts dropped attributes too. */
export type CompositeFacts = { readonly schema: string; readonly given: number; readonly attributes: readonly AttributeFacts[] };

export type AttributeFacts = {
  readonly number: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  readonly type: TypeFacts;
};

/**
 * Built-in types by OID (pg_type.dat; these never change), with the name that format_type gives them. numeric is decided by its
 * modifier, money by the database's locale.
 */
export const builtInTypes: ReadonlyMap<number, { readonly name: string; readonly kind: PlainKind }> = new Map([
  [16, { name: "boolean", kind: "bool" }],
  [17, { name: "bytea", kind: "bytea" }],
  [19, { name: "name", kind: "text" }],
  [20, { name: "bigint", kind: "int8" }],
  [21, { name: "smallint", kind: "int2" }],
  [23, { name: "integer", kind: "int4" }],
  [25, { name: "text", kind: "text" }],
  [26, { name: "oid", kind: "oid" }],
  [28, { name: "xid", kind: "xid" }],
  [29, { name: "cid", kind: "xid" }],
  [114, { name: "json", kind: "json" }],
  [142, { name: "xml", kind: "xml" }],
  [600, { name: "point", kind: "point" }],
  [601, { name: "lseg", kind: "lseg" }],
  [602, { name: "path", kind: "path" }],
  [603, { name: "box", kind: "box" }],
  [604, { name: "polygon", kind: "polygon" }],
  [628, { name: "line", kind: "line" }],
  [650, { name: "cidr", kind: "cidr" }],
  [700, { name: "real", kind: "float4" }],
  [701, { name: "double precision", kind: "float8" }],
  [718, { name: "circle", kind: "circle" }],
  [774, { name: "macaddr8", kind: "macaddr8" }],
  [829, { name: "macaddr", kind: "macaddr" }],
  [869, { name: "inet", kind: "inet" }],
  [1042, { name: "character", kind: "text" }],
  [1043, { name: "character varying", kind: "text" }],
  [1082, { name: "date", kind: "date" }],
  [1083, { name: "time without time zone", kind: "time" }],
  [1114, { name: "timestamp without time zone", kind: "timestamp" }],
  [1184, { name: "timestamp with time zone", kind: "timestamptz" }],
  [1186, { name: "interval", kind: "interval" }],
  [1266, { name: "time with time zone", kind: "timetz" }],
  [1560, { name: "bit", kind: "bit" }],
  [1562, { name: "bit varying", kind: "bit" }],
  [2950, { name: "uuid", kind: "uuid" }],
  [3220, { name: "pg_lsn", kind: "pg_lsn" }],
  [3614, { name: "tsvector", kind: "tsvector" }],
  [3802, { name: "jsonb", kind: "jsonb" }],
  [4072, { name: "jsonpath", kind: "jsonpath" }],
  [5069, { name: "xid8", kind: "xid8" }],
]);

export const rangeTypes: ReadonlyMap<number, RangeName> = new Map([
  [3904, "int4range"],
  [3906, "numrange"],
  [3908, "tsrange"],
  [3910, "tstzrange"],
  [3912, "daterange"],
  [3926, "int8range"],
  [4451, "int4multirange"],
  [4532, "nummultirange"],
  [4533, "tsmultirange"],
  [4534, "tstzmultirange"],
  [4535, "datemultirange"],
  [4536, "int8multirange"],
]);

/** Types of extensions, whose OIDs differ from database to database; `category` as pg_type has it. */
export const extensionTypes: readonly { readonly name: string; readonly category: string; readonly kind: PlainKind }[] = [
  { name: "citext", category: "S", kind: "text" },
  { name: "ltree", category: "U", kind: "ltree" },
  { name: "hstore", category: "U", kind: "hstore" },
  { name: "geometry", category: "U", kind: "geometry" },
  { name: "geography", category: "U", kind: "geometry" },
  { name: "vector", category: "U", kind: "vector" },
];

const NUMERIC_OID = 1700;
export const MONEY_OID = 790;
/** A modifier is counted from the size of a varlena header (VARHDRSZ). */
const MODIFIER_BASE = 4;

/** null for a type that the catalogs must tell. */
function builtInType({ oid, modifier, fraction }: ElementFacts): ElementType | null {
  if (oid === NUMERIC_OID) return numericType(modifier);
  if (oid === MONEY_OID && fraction !== null) return { kind: "money", precision: 19, scale: fraction };
  const range = rangeTypes.get(oid);
  if (range !== undefined) return { kind: "range", typeName: range };
  const found = builtInTypes.get(oid);
  return found === undefined ? null : { kind: found.kind };
}

export function columnType(type: TypeFacts): ColumnType {
  const element = type.element === null ? null : elementType(type.element);
  if (element !== null) return { kind: "array", element };
  return elementType(type) ?? { kind: "other", typeName: type.label };
}

/** null for a type whose binary form is not read. */
function elementType(type: ElementFacts): ElementType | null {
  const builtIn = builtInType(type);
  if (builtIn !== null) return builtIn;
  if (type.type === "e") return { kind: "enum" };
  if (type.composite !== null && type.composite.attributes.length > 0) return compositeType(type, type.composite);
  const extension = extensionTypes.find(({ name, category }) => type.type === "b" && type.name === name && type.category === category);
  return extension === undefined ? null : { kind: extension.kind };
}

function compositeType({ oid, name }: ElementFacts, { schema, given, attributes }: CompositeFacts): CompositeType {
  return { kind: "composite", schema, name, oid, given, attributes: attributes.map((each) => ({ ...each, type: columnType(each.type) })) };
}

/* numeric's modifier − 4 ::= precision in the upper 16 bits, scale in the lower 11 bits, signed (−1000 to 1000; PostgreSQL 15 and later) */
function numericType(modifier: number): ElementType {
  if (modifier < MODIFIER_BASE) return { kind: "numeric" };
  const packed = modifier - MODIFIER_BASE;
  const precision = (packed >> 16) & 0xffff;
  const scale = ((packed & 0x7ff) ^ 1024) - 1024;
  return scale >= 0 && scale <= precision ? { kind: "decimal", precision, scale } : { kind: "numeric" };
}

/** Whether the stream of these columns must use the text protocol: one has a type whose binary form is not read, or not as it is asked for. */
export function needsText(columns: readonly Pick<Column, "type" | "sent">[]): boolean {
  return columns.some(isReadAsText);
}
