import { expect, test } from "vitest";
import { Cursor } from "../../../src/avro/cursor.ts";
import { binaryWriter, textWriter } from "../../../src/avro/encoder-array.ts";
import { valueReader } from "../../../src/avro/value-reader.ts";
import { valueColumn } from "../../../src/avro/value-writer.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { columnKinds, type ColumnType, type PlainKind } from "../../../src/core/table.ts";
import { ValueList, type Value } from "../../support/row-values.ts";
import { column, int4, int8, intervals, numeric, table } from "./rows.ts";

type Type = ColumnType | PlainKind;

function encoded(type: Type, bytes: Buffer): Buffer {
  const only = column("v", type);
  const out = new ByteWriter(1);
  binaryWriter(only.type)(bytes, 0, bytes.length, out, valueColumn(table([only]), only));
  return out.bytes.subarray(0, out.position);
}

function decoded(type: Type, bytes: Buffer): Value {
  const only = column("v", type);
  const cursor = new Cursor();
  cursor.begin(encoded(type, bytes), 0);
  const into = new ValueList();
  valueReader(only.type).write(cursor, into);
  return into.last;
}

const money: ColumnType = { kind: "money", precision: 19, scale: 2 };
const texts: ColumnType = { kind: "array", element: { kind: "text" } };
const decimal = (precision: number, scale: number): ColumnType => ({ kind: "decimal", precision, scale });
/** A numeric that is no number: no digits, only its sign. */
const special = (sign: number): Buffer => Buffer.from([0, 0, 0, 0, sign >> 8, 0, 0, 0]);
const NAN = special(0xc000);

test.each(intervals)("interval of %i months, %i days, %i µs prints as %s", (months, days, micros, printed) => {
  expect(decoded("interval", Buffer.concat([int8(micros), int4(days), int4(months)]))).toBe(printed);
});

test.each([
  [0n, 0, "0"],
  [0n, 3, "0.000"],
  [5n, 1, "0.5"],
  [5n, 9, "0.000000005"],
  [-10_000n, 0, "-10000"],
  [100_000_001n, 4, "10000.0001"],
  [1_234_567n, 2, "12345.67"],
  [10n ** 40n, 0, "10000000000000000000000000000000000000000"],
  [-(10n ** 40n) - 1n, 20, "-100000000000000000000.00000000000000000001"],
] as const)("numeric %s at scale %i prints as %s", (unscaled, scale, printed) => {
  expect(decoded("numeric", numeric(unscaled, scale))).toBe(printed);
});

const inet = (bits: number, isCidr: number, address: string): Buffer => {
  const bytes = Buffer.from(address.replaceAll(":", ""), "hex");
  return Buffer.concat([Buffer.of(bytes.length === 4 ? 2 : 3, bits, isCidr, bytes.length), bytes]);
};

// Each as PostgreSQL 18 prints it.
test.each([
  ["inet", 32, "0a000001", "10.0.0.1"],
  ["inet", 8, "0a000001", "10.0.0.1/8"],
  ["cidr", 32, "0a000001", "10.0.0.1/32"],
  ["cidr", 0, "00000000", "0.0.0.0/0"],
  ["inet", 128, "0000:0000:0000:0000:0000:0000:0000:0000", "::"],
  ["inet", 128, "0000:0000:0000:0000:0000:0000:0000:0001", "::1"],
  ["inet", 64, "2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1/64"],
  ["inet", 128, "2001:0000:0001:0000:0000:0000:0001:0001", "2001:0:1::1:1"],
  ["inet", 128, "2001:0db8:0000:0001:0001:0001:0001:0001", "2001:db8:0:1:1:1:1:1"],
  ["inet", 128, "0000:0000:0000:0000:0000:0000:0102:0304", "::1.2.3.4"],
  ["inet", 128, "0000:0000:0000:0000:0000:ffff:0102:0304", "::ffff:1.2.3.4"],
  ["inet", 128, "0000:0000:0000:0000:0000:0001:0102:0304", "::1:102:304"],
  ["inet", 128, "0000:0000:0000:0000:0000:0000:0001:0000", "::0.1.0.0"],
  ["inet", 128, "0001:0000:0000:0000:0000:0000:0000:0000", "1::"],
  ["cidr", 128, "fe80:0000:0000:0000:0202:b3ff:fe1e:8329", "fe80::202:b3ff:fe1e:8329/128"],
] as const)("%s of %i bits, %s, prints as %s", (kind, bits, address, printed) => {
  expect(decoded(kind, inet(bits, kind === "cidr" ? 1 : 0, address))).toBe(printed);
});

test("a network with more bits than its address has, or of another family, is refused", () => {
  for (const bytes of [inet(33, 0, "0a000001"), Buffer.of(3, 32, 0, 4, 10, 0, 0, 1), Buffer.of(2, 32, 0, 4, 10, 0, 0)])
    expect(() => encoded("inet", bytes)).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
});

test.each([
  [0n, 0, "00:00:00+00"],
  [86_400_000_000n, 57_599, "24:00:00-15:59:59"],
  [43_200_500_000n, -19_800, "12:00:00.5+05:30"],
  [1n, 3_600, "00:00:00.000001-01"],
] as const)("timetz of %i µs, %i s west, prints as %s", (micros, west, printed) => {
  expect(decoded("timetz", Buffer.concat([int8(micros), int4(west)]))).toBe(printed);
});

test("the largest and the smallest pg_lsn, xid and xid8 print as PostgreSQL prints them", () => {
  expect([int8(0n), int8(-1n), int8(0x16_b374_d848n)].map((bytes) => decoded("pg_lsn", bytes))).toEqual([
    "0/0",
    "FFFFFFFF/FFFFFFFF",
    "16/B374D848",
  ]);
  expect([int4(0), int4(-1)].map((bytes) => decoded("xid", bytes))).toEqual(["0", "4294967295"]);
  const whole = [0n, -1n, 999_999n, 1_000_000n, 18_446_744_073_000_000_001n].map((value) => int8(BigInt.asIntN(64, value)));
  expect(whole.map((bytes) => decoded("xid8", bytes))).toEqual(["0", "18446744073709551615", "999999", "1000000", "18446744073000000001"]);
});

test("the longest numeric prints whole: it has more groups of digits than a signed Int16 counts", () => {
  const longest = `${"7".repeat(131_072)}.${"3".repeat(16_383)}`;
  expect(decoded("numeric", numeric(BigInt(longest.replace(".", "")), 16_383)) === longest).toBe(true);
});

test("a numeric without a scale keeps NaN and the infinities, by name", () => {
  expect(decoded("numeric", NAN)).toBe("NaN");
  expect(decoded("numeric", special(0xd000))).toBe("Infinity");
  expect(decoded("numeric", special(0xf000))).toBe("-Infinity");
});

test("a decimal has none of them, and no more digits than declared", () => {
  for (const bytes of [NAN, special(0xd000), special(0xf000), numeric(100_000n, 2), numeric(1n, 3), numeric(1n, 9)]) {
    expect(() => encoded(decimal(5, 2), bytes)).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
  }
  expect(decoded(decimal(5, 2), numeric(-99_999n, 2))).toBe(-99_999n);
  expect(decoded(decimal(5, 2), numeric(10n, 3))).toBe(1n); // 0.010 has two digits after the point in truth
});

test.each([
  [127n, "7f"],
  [128n, "0080"],
  [-128n, "80"],
  [-129n, "ff7f"],
  [0n, "00"],
  [-1n, "ff"],
  [2n ** 31n, "0080000000"],
  [-(2n ** 32n), "ff00000000"],
  [2n ** 63n, "008000000000000000"],
  [-(2n ** 63n), "8000000000000000"],
] as const)("the unscaled value %s has Java's shortest bytes %s", (unscaled, hex) => {
  expect(encoded(decimal(38, 0), numeric(unscaled, 0)).subarray(1).toString("hex")).toBe(hex);
  if (BigInt.asIntN(64, unscaled) === unscaled) expect(encoded(money, int8(unscaled)).subarray(1).toString("hex")).toBe(hex);
});

test("every NaN becomes the one NaN, whatever sign and payload the processor left", () => {
  expect(encoded("float8", Buffer.from("fff8000000000000", "hex")).toString("hex")).toBe("000000000000f87f");
  expect(encoded("float8", Buffer.from("7ff8000000000001", "hex")).toString("hex")).toBe("000000000000f87f");
  expect(encoded("float4", Buffer.from("ffc00000", "hex")).toString("hex")).toBe("0000c07f");
  expect(decoded("float8", Buffer.from("8000000000000000", "hex"))).toBe(-0);
});

test("timestamps end where 64-bit microseconds since 1970 do; infinity stays infinity", () => {
  const last = 2n ** 63n - 2n - 946_684_800_000_000n;
  expect(decoded("timestamp", int8(last))).toBe(2n ** 63n - 2n);
  expect(() => encoded("timestamp", int8(last + 1n))).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
  expect(() => encoded("timestamptz", int8(9_223_371_331_199_999_999n))).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
  expect(decoded("timestamp", int8(2n ** 63n - 1n))).toBe(2n ** 63n - 1n);
  expect(decoded("timestamp", int8(-(2n ** 63n)))).toBe(-(2n ** 63n));
});

// What vector_send and vector_out of pgvector 0.8 gave; the tests have no server with it.
test.each([
  ["000300003f80000040200000bdcccccd", "[1,2.5,-0.1]", [1, 2.5, Math.fround(-0.1)]],
  ["0001000000000001", "[1e-45]", [Math.fround(1e-45)]],
])("a vector %s, printed as %s, is its float4s from both forms", (hex, printed, numbers) => {
  expect(decoded("vector", Buffer.from(hex, "hex"))).toEqual(numbers);
  const only = column("v", "vector");
  const out = new ByteWriter(1);
  textWriter(only.type)(Buffer.from(printed), 0, printed.length, out, valueColumn(table([only]), only));
  expect(out.bytes.subarray(0, out.position)).toEqual(encoded("vector", Buffer.from(hex, "hex")));
});

test("bytes of another length than the type's are a protocol error, not a value", () => {
  const sized = columnKinds.filter((kind) => !["text", "enum", "json", "xml", "bytea", "geometry", "composite"].includes(kind));
  for (const kind of sized) {
    const type =
      kind === "decimal"
        ? decimal(5, 2)
        : kind === "money"
          ? money
          : kind === "array" || kind === "composite"
            ? texts
            : kind === "other"
              ? { kind, typeName: "pair" }
              : kind === "range"
                ? ({ kind, typeName: "int4range" } as const)
                : kind;
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(17)]) {
      expect(() => encoded(type, bytes), kind).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
    }
  }
});

test.each([
  ["int8range", int8(-(2n ** 63n)), int8(2n ** 63n - 1n), "[-9223372036854775808,9223372036854775807)"],
  ["int8range", int8(-4_294_967_296n), int8(-1n), "[-4294967296,-1)"],
  ["int4range", int4(-2_147_483_648), int4(0), "[-2147483648,0)"],
  ["numrange", numeric(-150n, 2), numeric(0n, 3), "[-1.50,0.000)"],
  ["daterange", int4(-730_120), int4(-730_119), '["0001-12-31 BC",0001-01-01)'],
  ["daterange", int4(-2_451_545), int4(2_145_031_948), '["4714-11-24 BC",5874897-12-31)'],
  ["daterange", int4(-0x8000_0000), int4(0x7fff_ffff), "[-infinity,infinity)"],
  ["daterange", int4(59), int4(60), "[2000-02-29,2000-03-01)"],
  ["tsrange", int8(-1n), int8(0n), '["1999-12-31 23:59:59.999999","2000-01-01 00:00:00")'],
  [
    "tsrange",
    int8(-211_813_488_000_000_000n),
    int8(9_223_371_331_199_999_999n),
    '["4714-11-24 00:00:00 BC","294276-12-31 23:59:59.999999")',
  ],
  ["tstzrange", int8(-63_082_281_600_000_001n), int8(2n ** 63n - 1n), '["0001-12-31 23:59:59.999999+00 BC",infinity)'],
] as const)("a range's bounds are printed as PostgreSQL does: %s %#", (typeName, lower, upper, printed) => {
  const bytes = Buffer.concat([Buffer.of(2), int4(lower.length), lower, int4(upper.length), upper]);
  expect(decoded({ kind: "range", typeName }, bytes)).toBe(printed);
});

test("a range or multirange that ends too early or goes on is refused, wherever it is cut", () => {
  const range = Buffer.concat([Buffer.of(6), int4(4), int4(1), int4(4), int4(5)]);
  const many = Buffer.concat([int4(2), int4(range.length), range, int4(1), Buffer.of(24)]);
  for (const [typeName, whole, printed] of [
    ["int4range", range, "[1,5]"],
    ["int4multirange", many, "{[1,5],(,)}"],
  ] as const) {
    const type = { kind: "range", typeName } as const;
    expect(decoded(type, whole)).toBe(printed);
    const cut = Array.from({ length: whole.length }, (_, length) => whole.subarray(0, length));
    for (const bytes of [...cut, Buffer.concat([whole, Buffer.of(0)])])
      expect(() => encoded(type, bytes), bytes.toString("hex")).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
  }
});

test("a tsvector that ends too early is refused, wherever it is cut", () => {
  const whole = Buffer.concat([int4(2), Buffer.from("it's\0"), Buffer.of(0, 2, 0xc0, 1, 0, 7), Buffer.from("a\\b\0"), Buffer.of(0, 0)]);
  expect(decoded("tsvector", whole)).toBe("'it''s':1A,7 'a\\\\b'");
  for (let length = 0; length < whole.length; length++)
    expect(() => encoded("tsvector", whole.subarray(0, length)), String(length)).toThrow(
      expect.objectContaining({ code: "STREAM_PROTOCOL" }),
    );
});

test("jsonb of a version to come is refused", () => {
  expect(decoded("jsonb", Buffer.from("\u0001[]"))).toBe("[]");
  expect(() => encoded("jsonb", Buffer.from("\u0002[]"))).toThrow(/version 1/);
});
