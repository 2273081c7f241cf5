// Avro values of each kind as core's Value, and how to pass over them.
import type { ColumnKind, Value } from "../core/table.ts";
import type { Cursor } from "./cursor.ts";

/** Reads or skips one value that is there (its union's branch is read already). */
export type ValueReader = { readonly read: (cursor: Cursor) => Value; readonly skip: (cursor: Cursor) => void };

const skipVarint = (cursor: Cursor): void => cursor.long();
const skipSized = (cursor: Cursor): void => cursor.skip(cursor.size());

const string: ValueReader = { read: (cursor) => cursor.string(), skip: skipSized };
const int: ValueReader = { read: (cursor) => cursor.int(), skip: skipVarint };
const decimal: ValueReader = { read: (cursor) => cursor.unscaled(), skip: skipSized };
const long: ValueReader = { read: (cursor) => cursor.bigint(), skip: skipVarint };

/** By kind; a column's kind decides its values' type as core/table.ts says. */
export const valueReaders: Readonly<Record<ColumnKind, ValueReader>> = {
  bool: { read: (cursor) => cursor.boolean(), skip: (cursor) => cursor.skip(1) },
  int2: int,
  int4: int,
  int8: long,
  oid: long,
  float4: { read: (cursor) => cursor.float(), skip: (cursor) => cursor.skip(4) },
  float8: { read: (cursor) => cursor.double(), skip: (cursor) => cursor.skip(8) },
  decimal,
  numeric: string,
  money: decimal,
  text: string,
  enum: string,
  json: string,
  jsonb: string,
  jsonpath: string,
  xml: string,
  uuid: string,
  bytea: { read: (cursor) => cursor.copy(), skip: skipSized },
  date: int,
  time: long,
  timetz: string,
  timestamp: long,
  timestamptz: long,
  interval: string,
  inet: string,
  cidr: string,
  macaddr: string,
  macaddr8: string,
  bit: string,
  tsvector: string,
  ltree: string,
  pg_lsn: string,
  xid: string,
  xid8: string,
  other: string,
};
