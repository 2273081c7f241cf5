// What the two wire forms of a value share: the writer's signature, and the ways in which a value can be refused.
import type { ByteWriter } from "../core/byte-writer.ts";
import { TailraceError } from "../core/errors.ts";
import { sentType } from "../core/read-as.ts";
import { tableLabel, type Column, type ColumnType, type CompositeType, type ScalarKind, type TableName } from "../core/table.ts";

/** What a writer may ask of a value's column. */
export type ValueColumn = {
  readonly table: string;
  readonly name: string;
  /** Of a decimal or money, and of an array of them; 0 for other kinds. */
  readonly precision: number;
  readonly scale: number;
};

/**
 * Writes the value in `bytes[start, start + length)` as its kind's Avro type. Throws VALUE_OUT_OF_RANGE, COMPOSITE_CHANGED, or STREAM_PROTOCOL
 * when the bytes are no such value; part of it may then be written.
 */
export type ValueWriter = (bytes: Buffer, start: number, length: number, out: ByteWriter, column: ValueColumn) => void;

/** One wire form: a writer for each kind of single values. */
export type WireForm = Readonly<Record<ScalarKind, ValueWriter>>;

/** What the writers need to know of a column. */
export function valueColumn(table: TableName, column: Column): ValueColumn {
  return { table: tableLabel(table), name: column.name, ...digitsOf(sentType(column)) };
}

/** What the writers need to know of a composite's attributes: as of columns named `column.attribute`. */
export function attributeColumns({ attributes }: CompositeType, { table, name }: ValueColumn): readonly ValueColumn[] {
  return attributes.map((attribute) => ({ table, name: `${name}.${attribute.name}`, ...digitsOf(attribute.type) }));
}

function digitsOf(of: ColumnType): Pick<ValueColumn, "precision" | "scale"> {
  const type = of.kind === "array" ? of.element : of;
  return "scale" in type ? { precision: type.precision, scale: type.scale } : { precision: 0, scale: 0 };
}

/** Avro string or bytes: the length, then the bytes as they are. */
export const writeBytes: ValueWriter = (bytes, start, length, out) => {
  out.varint(length);
  out.copy(bytes, start, start + length);
};

/** VALUE_OUT_OF_RANGE with the column; `reason` never holds the value itself. */
export function outOfRange(column: ValueColumn, reason: string): TailraceError {
  return new TailraceError("VALUE_OUT_OF_RANGE", { column: column.name, reason }, { place: { table: column.table } });
}

/** COMPOSITE_CHANGED: of a composite as it was before an ALTER TYPE that the catalog already shows, or will be after one that it does not yet. */
export function otherShape(column: ValueColumn, reason: string): TailraceError {
  return new TailraceError("COMPOSITE_CHANGED", { column: column.name, reason }, { place: { table: column.table } });
}

/** The bytes are not the value that the column's type announces: a session with other settings, or a misread message. */
export function malformed(column: ValueColumn, expected: string): TailraceError {
  const reason = `column ${column.name} of ${column.table} is not ${expected}`;
  return new TailraceError("STREAM_PROTOCOL", { reason }, { place: { table: column.table } });
}
