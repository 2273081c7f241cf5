import { expect, test } from "vitest";
import { textWriter } from "../../../src/avro/encoder-array.ts";
import { valueColumn } from "../../../src/avro/value-writer.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import type { ColumnType, PlainKind } from "../../../src/core/table.ts";
import { Cursor } from "../../../src/avro/cursor.ts";
import { valueReader } from "../../../src/avro/value-reader.ts";
import { ValueList, type Value } from "../../support/row-values.ts";
import { column, table } from "./rows.ts";

function decoded(type: ColumnType | PlainKind, printed: string): Value {
  const only = column("v", type);
  const out = new ByteWriter(1);
  const bytes = Buffer.from(printed);
  textWriter(only.type)(bytes, 0, bytes.length, out, valueColumn(table([only]), only));
  const cursor = new Cursor();
  cursor.begin(out.bytes.subarray(0, out.position), 0);
  const into = new ValueList();
  valueReader(only.type).write(cursor, into);
  expect(cursor.position).toBe(out.position);
  return into.last;
}

const money: ColumnType = { kind: "money", precision: 19, scale: 2 };
const decimal = (precision: number, scale: number): ColumnType => ({ kind: "decimal", precision, scale });
const micros = (iso: string, rest = 0n): bigint => BigInt(Date.parse(iso)) * 1000n + rest;

test.each([
  ["int8", "-9223372036854775808", -(2n ** 63n)],
  ["int8", "9223372036854775807", 2n ** 63n - 1n],
  ["int8", "1000000000000000000", 10n ** 18n],
  ["int4", "-2147483648", -2_147_483_648],
  ["oid", "4294967295", 4_294_967_295n],
  ["float8", "-0", -0],
  ["float8", "-Infinity", -Infinity],
  ["float8", "NaN", NaN],
  ["float8", "5e-324", 5e-324],
  ["float4", "1e-45", Math.fround(1e-45)],
  ["float4", "3.4028235e+38", Math.fround(3.4028235e38)],
  ["date", "0001-01-01", -719_162],
  ["date", "0001-12-31 BC", -719_163],
  ["date", "4714-11-24 BC", -2_440_588],
  ["date", "5874897-12-31", 2_145_042_905],
  ["date", "2000-02-29", 11_016],
  ["time", "24:00:00", 86_400_000_000n],
  ["time", "00:00:00.000001", 1n],
  ["timestamp", "1969-12-31 23:59:59.5", -500_000n],
  ["timestamp", "0044-03-15 12:00:00.25 BC", micros("-000043-03-15T12:00:00Z", 250_000n)],
  ["timestamptz", "2026-11-21 07:55:50.123456+00", micros("2026-11-21T07:55:50Z", 123_456n)],
  ["timestamptz", "2026-11-21 07:55:50+05:30", micros("2026-11-21T02:25:50Z")],
  ["timestamptz", "1890-01-01 00:00:00-04:56:02", micros("1890-01-01T04:56:02Z")],
  ["timestamptz", "0044-03-15 12:00:00+00 BC", micros("-000043-03-15T12:00:00Z")],
  ["timestamp", "294247-01-10 04:00:54.775806", 2n ** 63n - 2n],
  ["pg_lsn", "0/0", "0/0"],
  ["pg_lsn", "16/B374D848", "16/B374D848"],
  ["pg_lsn", "16/0000D848", "16/D848"], // as PostgreSQL 19 prints it
  ["bytea", "\\x", Buffer.alloc(0)],
  ["bytea", "\\x00ff7f", Buffer.of(0, 255, 127)],
  [money, "$0.00", 0n],
  [money, "-$0.01", -1n],
  [money, "$999.99", 99_999n],
  [money, "$1,000.00", 100_000n],
  [money, "-$92,233,720,368,547,758.08", -(2n ** 63n)],
  [money, "$92,233,720,368,547,758.07", 2n ** 63n - 1n],
  [decimal(5, 0), "-128", -128n],
  [decimal(5, 2), "0.05", 5n],
  [decimal(5, 5), "0.00001", 1n],
  [decimal(4, 2), "7", 700n],
  [decimal(4, 1), "7.50", 75n],
  [decimal(30, 10), "-12345678901234567890.0123456789", -123456789012345678900123456789n],
] as const)("%j: text %s becomes %s", (type, printed, value) => {
  expect(decoded(type, printed)).toStrictEqual(value);
});

test.each([
  [decimal(5, 2), "NaN"],
  [decimal(5, 2), "-Infinity"],
  [decimal(5, 2), "0.001"],
  [decimal(5, 2), "1000.00"],
  [decimal(5, 2), "1000"],
  ["timestamp", "294247-01-10 04:00:54.775807"], // would read as infinity
  ["timestamp", "294276-12-31 23:59:59.999999"],
] as const)("%j: %s is out of the Avro type's range", (type, printed) => {
  expect(() => decoded(type, printed)).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
});

test.each([
  ["bool", "true"],
  ["int4", ""],
  ["int4", "1.5"],
  ["int8", "99999999999999999999"],
  ["float8", ""],
  ["float8", "abc"],
  ["uuid", "abc"],
  ["bytea", "\\000\\377"], // bytea_output escape
  ["bytea", "\\xzz"],
  ["date", "21/11/2026"], // DateStyle SQL, DMY
  ["date", "2026-11-21x"],
  ["timestamptz", "Sat Nov 21 07:55:50 2026 UTC"], // DateStyle Postgres
  ["timestamptz", "2026-11-21 07:55:50 UTC"],
  ["time", "7:55"],
  ["interval", "1 day 02:00:00"], // IntervalStyle postgres
  [money, "12,34 €"], // lc_monetary de_DE
  [money, "1234"],
  [money, "¥1,234"], // ja_JP
  [money, "($1.00)"],
  [money, "$1,23.00"],
  ["pg_lsn", "16"],
  ["pg_lsn", "16/1B374D848"],
  [decimal(5, 2), "1e3"],
] as const)("%j: %s, as another session setting prints it, is refused and not misread", (type, printed) => {
  expect(() => decoded(type, printed)).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});
