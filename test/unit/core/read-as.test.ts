// What can be read as what, and that the encoder has a writer for all of it.
import { describe, expect, test } from "vitest";
import { binaryColumnWriter, textColumnWriter } from "../../../src/avro/encoder-as.ts";
import { valueColumn } from "../../../src/avro/value-writer.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { isReadAsText, readableAs, typeAsAsked } from "../../../src/core/read-as.ts";
import { columnKinds, readAsNames, type ColumnType } from "../../../src/core/table.ts";
import { column, composite, int8, table } from "../avro/rows.ts";

const types = columnKinds.map((kind): ColumnType => {
  if (kind === "decimal") return { kind, precision: 12, scale: 2 };
  if (kind === "money") return { kind, precision: 19, scale: 2 };
  if (kind === "range") return { kind, typeName: "int4range" };
  if (kind === "array") return { kind, element: { kind: "text" } };
  if (kind === "composite") return composite("pair", { a: { kind: "int4" } });
  return kind === "other" ? { kind, typeName: "pair" } : { kind };
});

describe.each(types)("$kind", (type) => {
  test("can be read as a string, in a key too", () => {
    expect(readableAs(type, false)).toContain("string");
    expect(readableAs(type, true)).toContain("string");
  });

  test("is never a double in a key: two keys could become one", () => {
    expect(readableAs(type, true)).not.toContain("double");
  });

  test.each(readAsNames)("as %s has a writer for each form that it is read from, or its own type", (as) => {
    const read = typeAsAsked(type, as, false);
    if (!readableAs(type, false).includes(as)) expect(read).toEqual({ type });
    expect(() => [binaryColumnWriter(read), textColumnWriter(read)]).not.toThrow();
    expect(isReadAsText({ type })).toBe(type.kind === "other");
  });
});

const money = (units: bigint, scale: number, isText: boolean): string => {
  const read = typeAsAsked({ kind: "money", precision: 19, scale }, "string", false);
  const only = { ...column("v", read.type), ...read };
  const magnitude = (units < 0n ? -units : units).toString().padStart(3, "0");
  const whole = magnitude.slice(0, -2).replace(/\B(?=(...)+$)/g, ",");
  const printed = Buffer.from(`${units < 0n ? "-" : ""}$${whole}.${magnitude.slice(-2)}`);
  const [writer, bytes] = isText ? [textColumnWriter(only), printed] : [binaryColumnWriter(only), int8(units)];
  const out = new ByteWriter(64);
  writer(bytes, 0, bytes.length, out, valueColumn(table([only]), only));
  return out.bytes.toString("latin1", 1, out.position);
};

// With lc_monetary C PostgreSQL prints two digits behind the point, whatever the stored integer stands for.
test.each([
  [0n, 2, "0.00"],
  [5n, 2, "0.05"],
  [-5n, 2, "-0.05"],
  [-123_456n, 2, "-1234.56"],
  [123_456n, 0, "123456"],
  [-7n, 0, "-7"],
  [0n, 0, "0"],
  [7n, 4, "0.0007"],
  [1_234_567n, 3, "1234.567"],
  [-9_223_372_036_854_775_808n, 2, "-92233720368547758.08"],
] as const)("money %s with %i digits behind the point is %s from both forms", (units, scale, printed) => {
  expect([money(units, scale, true), money(units, scale, false)]).toEqual([printed, printed]);
});
