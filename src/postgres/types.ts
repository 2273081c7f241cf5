// PostgreSQL's types as Tailrace's column types (design, section 6), and which of them the binary protocol is read for.
import type { Column, ColumnKind, ColumnType } from "../core/table.ts";

/** What pg_type says of a column's type; of a domain, what it says of the base type at the bottom. */
export type TypeFacts = {
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
};

/** Built-in types by OID (pg_type.dat; these never change). numeric is decided by its modifier. */
const kindByOid: ReadonlyMap<number, Exclude<ColumnKind, "decimal" | "other">> = new Map([
  [16, "bool"],
  [17, "bytea"],
  [19, "text"], // name
  [20, "int8"],
  [21, "int2"],
  [23, "int4"],
  [25, "text"],
  [26, "oid"],
  [114, "json"],
  [142, "xml"],
  [700, "float4"],
  [701, "float8"],
  [1042, "text"], // character(n)
  [1043, "text"], // character varying
  [1082, "date"],
  [1083, "time"],
  [1114, "timestamp"],
  [1184, "timestamptz"],
  [1186, "interval"],
  [2950, "uuid"],
  [3802, "jsonb"],
]);
const NUMERIC_OID = 1700;
/** A modifier is counted from the size of a varlena header (VARHDRSZ). */
const MODIFIER_BASE = 4;

/** null for a type that the catalogs must tell. */
function builtInType(oid: number, modifier: number): ColumnType | null {
  if (oid === NUMERIC_OID) return numericType(modifier);
  const kind = kindByOid.get(oid);
  return kind === undefined ? null : { kind };
}

export function columnType(type: TypeFacts): ColumnType {
  const builtIn = builtInType(type.oid, type.modifier);
  if (builtIn !== null) return builtIn;
  if (type.type === "e") return { kind: "enum" };
  if (type.name === "citext" && type.type === "b" && type.category === "S") return { kind: "text" };
  return { kind: "other", typeName: type.label };
}

/* numeric's modifier − 4 ::= precision in the upper 16 bits, scale in the lower 11 bits, signed (−1000 to 1000; PostgreSQL 15 and later) */
function numericType(modifier: number): ColumnType {
  if (modifier < MODIFIER_BASE) return { kind: "numeric" };
  const packed = modifier - MODIFIER_BASE;
  const precision = (packed >> 16) & 0xffff;
  const scale = ((packed & 0x7ff) ^ 1024) - 1024;
  return scale >= 0 && scale <= precision ? { kind: "decimal", precision, scale } : { kind: "numeric" };
}

/** Whether the stream of these columns must use the text protocol: one has a type whose binary form is not read. */
export function needsText(columns: readonly Pick<Column, "type">[]): boolean {
  return columns.some((column) => column.type.kind === "other");
}
