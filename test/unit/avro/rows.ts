// Tables, tuples and values for the tests of avro/: a value in both of PostgreSQL's wire forms, and as core's Value.
import fc from "fast-check";
import type { Column, ColumnKind, ColumnType, CompositeType, ElementType, PlainKind, RangeName, Table } from "../../../src/core/table.ts";
import type { Value } from "../../support/row-values.ts";
import {
  columnKinds,
  geometricFields,
  rangeNames,
  TIMESTAMP_INFINITY,
  TIMESTAMP_MINUS_INFINITY,
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
} from "../../../src/core/table.ts";
import { Tuple, tupleState } from "../../../src/core/tuple.ts";

/** One value: what the stream brings in either protocol, and what a sink should get. */
export type Sample = { readonly text: Buffer; readonly binary: Buffer; readonly value: Value };

export type Cell = { readonly state: number; readonly bytes: Buffer };

export const NULL: Cell = { state: tupleState.null, bytes: Buffer.alloc(0) };
export const UNCHANGED: Cell = { state: tupleState.unchanged, bytes: Buffer.alloc(0) };

export function text(value: string | Buffer): Cell {
  return { state: tupleState.text, bytes: Buffer.from(value as string) };
}

export function binary(value: Buffer): Cell {
  return { state: tupleState.binary, bytes: value };
}

/** A tuple whose values stand somewhere in a larger buffer, as they do in a pgoutput message. */
export function tuple(...cells: readonly Cell[]): Tuple {
  const row = new Tuple(Math.max(cells.length, 1));
  row.columns = cells.length;
  const parts: Buffer[] = [Buffer.from("noise")];
  let at = 5;
  cells.forEach((cell, index) => {
    row.state[index] = cell.state;
    row.start[index] = at;
    row.length[index] = cell.bytes.length;
    parts.push(cell.bytes, Buffer.from("|"));
    at += cell.bytes.length + 1;
  });
  row.bytes = Buffer.concat(parts);
  return row;
}

export function column(name: string, type: ColumnType | PlainKind, keyPosition = 0): Column {
  return { name, type: typeof type === "string" ? { kind: type } : type, typeOid: 0, typeModifier: -1, keyPosition };
}

export function table(columns: readonly Column[], name = "orders", schema = "public"): Table {
  return { schema, name, oid: 16_384, columns, identity: "default" };
}

export function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function int8(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

/** numeric_send's layout for ± magnitude × 10^−scale. */
export function numeric(unscaled: bigint, scale: number): Buffer {
  const magnitude = unscaled < 0n ? -unscaled : unscaled;
  const whole = (magnitude / 10n ** BigInt(scale)).toString();
  const fraction = (magnitude % 10n ** BigInt(scale)).toString().padStart(scale, "0").slice(0, scale);
  const padded = whole.padStart(Math.ceil(whole.length / 4) * 4, "0") + fraction.padEnd(Math.ceil(fraction.length / 4) * 4, "0");
  const groups = (padded.match(/.{4}/g) ?? []).map(Number);
  let weight = Math.ceil(whole.length / 4) - 1;
  while (groups[0] === 0) {
    groups.shift();
    weight--;
  }
  while (groups.at(-1) === 0) groups.pop();
  if (groups.length === 0) weight = 0;
  const head = [groups.length, weight & 0xffff, unscaled < 0n ? 0x4000 : 0, scale];
  const bytes = Buffer.alloc(2 * (head.length + groups.length));
  [...head, ...groups].forEach((part, index) => bytes.writeUInt16BE(part, 2 * index));
  return bytes;
}

export function decimalText(unscaled: bigint, scale: number): string {
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ""}`;
}

const PG_EPOCH_MICROS = 946_684_800_000_000n;

/** `2026-11-21` and ` BC` or nothing: by JavaScript's own calendar. */
function dateParts(ms: number): readonly [date: string, era: string] {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  const pad = (part: number): string => String(part).padStart(2, "0");
  const named = String(year > 0 ? year : 1 - year).padStart(4, "0");
  return [`${named}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`, year > 0 ? "" : " BC"];
}

function timeText(micros: bigint): string {
  const pad = (part: bigint, width = 2): string => String(part).padStart(width, "0");
  const seconds = micros / 1_000_000n;
  const fraction = pad(micros % 1_000_000n, 6).replace(/0+$/, "");
  return `${pad(seconds / 3600n)}:${pad((seconds / 60n) % 60n)}:${pad(seconds % 60n)}${fraction === "" ? "" : `.${fraction}`}`;
}

const DAY_MICROS = 86_400_000_000n;

export function timestampText(micros: bigint, offset: string): string {
  const day = (micros - (((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS)) / DAY_MICROS;
  const [date, era] = dateParts(Number(day) * 86_400_000);
  return `${date} ${timeText(micros - day * DAY_MICROS)}${offset}${era}`;
}

/** `+hh`, `-hh:mm`, `+hh:mm:ss`: seconds west of Greenwich as a timetz ends. */
function offsetText(west: number): string {
  const parts = timeText(BigInt(Math.abs(west)) * 1_000_000n).split(":");
  while (parts.length > 1 && parts.at(-1) === "00") parts.pop();
  return `${west <= 0 ? "+" : "-"}${parts.join(":")}`;
}

/** A lexeme of a tsvector with its positions, and their weights from 0 (D, not said) to 3 (A). */
function lexemes(): fc.Arbitrary<{ readonly text: string; readonly binary: Buffer }> {
  const characters = fc.oneof(fc.constantFrom("'", "\\", " ", ":"), fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }));
  const word = fc.string({ unit: characters, minLength: 1, maxLength: 10 }).filter((each) => !each.includes("\0"));
  const positions = fc.array(fc.tuple(fc.integer({ min: 1, max: 16_383 }), fc.nat(3)), { maxLength: 4 });
  return fc.tuple(word, positions).map(([lexeme, places]) => {
    const printed = places.map(([position, weight]) => `${position}${["", "C", "B", "A"][weight] ?? ""}`);
    const numbers = [places.length, ...places.map(([position, weight]) => (weight << 14) | position)];
    return {
      text: `'${lexeme.replace(/['\\]/g, "$&$&")}'${printed.length === 0 ? "" : `:${printed.join(",")}`}`,
      binary: Buffer.concat([Buffer.from(`${lexeme}\0`), ...numbers.map((number) => Buffer.of(number >> 8, number & 0xff))]),
    };
  });
}

function floatText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function float8s(numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * numbers.length);
  for (const [at, number] of numbers.entries()) bytes.writeDoubleBE(number, 8 * at);
  return bytes;
}

function bytesOf(size: number, write: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(size);
  write(bytes);
  return bytes;
}

function sample(textForm: string | Buffer, binaryForm: Buffer, value: Value): Sample {
  return { text: Buffer.from(textForm as string), binary: binaryForm, value };
}

/** What PostgreSQL 18 prints with IntervalStyle iso_8601: [months, days, µs, text]. */
export const intervals: readonly (readonly [months: number, days: number, micros: bigint, text: string])[] = [
  [0, 0, 0n, "PT0S"],
  [14, 3, 14_706_000_000n, "P1Y2M3DT4H5M6S"],
  [-14, -3, -14_706_789_000n, "P-1Y-2M-3DT-4H-5M-6.789S"],
  [12, 0, 0n, "P1Y"],
  [-1, 31, 1n, "P-1M31DT0.000001S"],
  [0, 0, -500_000n, "PT-0.5S"],
  [0, 0, 100_000_000n * 3_600_000_000n, "PT100000000H"],
  [0, 0, -9_223_372_036_854_775_808n, "PT-2562047788H-54.775808S"],
  [0, 0, 9_223_372_036_854_775_807n, "PT2562047788H54.775807S"],
  [2_147_483_647, -2_147_483_648, 60_000_000n, "P178956970Y7M-2147483648DT1M"],
  [2_147_483_647, 2_147_483_647, 9_223_372_036_854_775_807n, "infinity"],
  [-2_147_483_648, -2_147_483_648, -9_223_372_036_854_775_808n, "-infinity"],
];

/** Samples of a type's values. Kind `other` has no binary form: both are its text. */
export function samplesOf(type: ColumnType): fc.Arbitrary<Sample> {
  switch (type.kind) {
    case "bool":
      return fc.boolean().map((value) => sample(value ? "t" : "f", Buffer.of(value ? 1 : 0), value));
    case "int2":
      return fc.integer({ min: -0x8000, max: 0x7fff }).map((v) =>
        sample(
          `${v}`,
          bytesOf(2, (b) => b.writeInt16BE(v)),
          v,
        ),
      );
    case "int4":
      return fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }).map((value) => sample(`${value}`, int4(value), value));
    case "int8":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => sample(`${value}`, int8(value), value));
    case "oid":
      return fc.nat(0xffff_ffff).map((v) =>
        sample(
          `${v}`,
          bytesOf(4, (b) => b.writeUInt32BE(v)),
          BigInt(v),
        ),
      );
    case "float4":
      return fc.float().map((v) =>
        sample(
          floatText(v),
          bytesOf(4, (b) => b.writeFloatBE(v)),
          v,
        ),
      );
    case "float8":
      return fc.double().map((v) =>
        sample(
          floatText(v),
          bytesOf(8, (b) => b.writeDoubleBE(v)),
          v,
        ),
      );
    case "decimal": {
      const limit = 10n ** BigInt(type.precision) - 1n;
      const unscaled = fc.oneof(fc.bigInt({ min: -limit, max: limit }), fc.bigInt({ min: -300n, max: 300n }));
      return unscaled
        .map((value) => (value > limit || value < -limit ? 0n : value))
        .map((value) => sample(decimalText(value, type.scale), numeric(value, type.scale), value));
    }
    case "numeric":
      return fc.tuple(fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), fc.nat(30)).map(([unscaled, scale]) => {
        const printed = decimalText(unscaled, scale);
        return sample(printed, numeric(unscaled, scale), printed);
      });
    case "money":
      return fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -70_000n, max: 70_000n })).map((value) => {
        const [whole = "", cents = ""] = decimalText(value < 0n ? -value : value, 2).split(".");
        return sample(`${value < 0n ? "-" : ""}$${whole.replace(/\B(?=(...)+$)/g, ",")}.${cents}`, int8(value), value);
      });
    case "jsonb":
      return fc.json().map((value) => sample(value, Buffer.concat([Buffer.of(1), Buffer.from(value)]), value));
    case "uuid":
      return fc.uuid().map((value) => sample(value, Buffer.from(value.replaceAll("-", ""), "hex"), value));
    case "bytea":
      return fc.uint8Array({ maxLength: 40 }).map((bytes) => {
        const value = Buffer.from(bytes);
        return sample(`\\x${value.toString("hex")}`, value, value);
      });
    case "date":
      return fc.oneof(
        fc.integer({ min: -2_440_550, max: 95_000_000 }).map((days) => {
          const [date, era] = dateParts(days * 86_400_000);
          return sample(date + era, int4(days - 10_957), days);
        }),
        fc.constant(sample("infinity", int4(DATE_INFINITY), DATE_INFINITY)),
        fc.constant(sample("-infinity", int4(DATE_MINUS_INFINITY), DATE_MINUS_INFINITY)),
      );
    case "time":
      return fc.bigInt({ min: 0n, max: DAY_MICROS }).map((micros) => sample(timeText(micros), int8(micros), micros));
    case "timestamp":
    case "timestamptz": {
      const offset = type.kind === "timestamp" ? "" : "+00";
      const finite = fc.oneof(
        fc.bigInt({ min: -210_866_803_200_000_000n, max: 8_000_000_000_000_000_000n }),
        fc.bigInt({ min: -9_000_000n, max: 9_000_000n }),
      );
      return fc.oneof(
        finite.map((micros) => sample(timestampText(micros, offset), int8(micros - PG_EPOCH_MICROS), micros)),
        fc.constant(sample("infinity", int8(TIMESTAMP_INFINITY), TIMESTAMP_INFINITY)),
        fc.constant(sample("-infinity", int8(TIMESTAMP_MINUS_INFINITY), TIMESTAMP_MINUS_INFINITY)),
      );
    }
    case "interval":
      return fc.constantFrom(...intervals).map(([months, days, micros, printed]) => {
        return sample(printed, Buffer.concat([int8(micros), int4(days), int4(months)]), printed);
      });
    case "timetz":
      return fc.tuple(fc.bigInt({ min: 0n, max: DAY_MICROS }), fc.integer({ min: -57_599, max: 57_599 })).map(([micros, west]) => {
        const printed = timeText(micros) + offsetText(west);
        return sample(printed, Buffer.concat([int8(micros), int4(west)]), printed);
      });
    case "inet":
    case "cidr":
      return fc.tuple(fc.ipV4(), fc.nat(32)).map(([address, bits]) => {
        const printed = type.kind === "inet" && bits === 32 ? address : `${address}/${bits}`;
        return sample(printed, Buffer.of(2, bits, type.kind === "cidr" ? 1 : 0, 4, ...address.split(".").map(Number)), printed);
      });
    case "macaddr":
    case "macaddr8": {
      const size = type.kind === "macaddr" ? 6 : 8;
      return fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => {
        const printed = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
        return sample(printed, Buffer.from(bytes), printed);
      });
    }
    case "bit":
      return fc.string({ unit: fc.constantFrom("0", "1"), maxLength: 40 }).map((printed) => {
        const bytes = (printed.match(/.{1,8}/g) ?? []).map((each) => Number.parseInt(each.padEnd(8, "0"), 2));
        return sample(printed, Buffer.concat([int4(printed.length), Buffer.from(bytes)]), printed);
      });
    case "tsvector":
      return fc.array(lexemes(), { maxLength: 5 }).map((all) => {
        const printed = all.map((lexeme) => lexeme.text).join(" ");
        return sample(printed, Buffer.concat([int4(all.length), ...all.map((lexeme) => lexeme.binary)]), printed);
      });
    case "pg_lsn":
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((lsn) => {
        const printed = `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase();
        return sample(printed, int8(BigInt.asIntN(64, lsn)), printed);
      });
    case "xid":
      return fc.nat(0xffff_ffff).map((xid) => sample(`${xid}`, int4(xid | 0), `${xid}`));
    case "xid8":
      return fc
        .oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 3_000_000n }))
        .map((xid) => sample(`${xid}`, int8(BigInt.asIntN(64, xid)), `${xid}`));
    case "jsonpath":
    case "ltree":
      return fc
        .string({ unit: "grapheme", maxLength: 80 })
        .map((value) => sample(value, Buffer.concat([Buffer.of(1), Buffer.from(value)]), value));
    case "hstore":
      return fc.uniqueArray(hstorePair(), { selector: ([key]) => key, maxLength: 4 }).map((pairs) => {
        const quoted = (text: string): string => `"${text.replace(/["\\]/g, "\\$&")}"`;
        const field = (text: string): Buffer => Buffer.concat([int4(Buffer.byteLength(text)), Buffer.from(text)]);
        return sample(
          pairs.map(([key, value]) => `${quoted(key)}=>${value === null ? "NULL" : quoted(value)}`).join(", "),
          Buffer.concat([int4(pairs.length), ...pairs.flatMap(([key, value]) => [field(key), value === null ? int4(-1) : field(value)])]),
          pairs,
        );
      });
    case "point":
    case "line":
    case "lseg":
    case "box":
    case "circle": {
      const kind = type.kind;
      const count = geometricFields[kind].length;
      return fc.array(fc.double(), { minLength: count, maxLength: count }).map((numbers) => {
        const [a = "", b = "", c = "", d = ""] = numbers.map(floatText);
        const printed = {
          point: `(${a},${b})`,
          line: `{${a},${b},${c}}`,
          lseg: `[(${a},${b}),(${c},${d})]`,
          box: `(${a},${b}),(${c},${d})`,
          circle: `<(${a},${b}),${c}>`,
        };
        return sample(printed[kind], float8s(numbers), numbers);
      });
    }
    case "path":
    case "polygon":
      return fc.tuple(fc.boolean(), fc.array(fc.tuple(fc.double(), fc.double()), { maxLength: 5 })).map(([isClosed, points]) => {
        const printed = points.map(([x, y]) => `(${floatText(x)},${floatText(y)})`).join(",");
        const body = Buffer.concat([int4(points.length), float8s(points.flat())]);
        if (type.kind === "polygon") return sample(`(${printed})`, body, points);
        const ends = isClosed ? "()" : "[]";
        return sample(`${ends[0]}${printed}${ends[1]}`, Buffer.concat([Buffer.of(isClosed ? 1 : 0), body]), [isClosed, ...points]);
      });
    case "geometry":
      return fc.uint8Array({ maxLength: 40 }).map((bytes) => {
        const value = Buffer.from(bytes);
        return sample(value.toString("hex").toUpperCase(), value, value);
      });
    case "vector":
      return fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 5 }).map((numbers) => {
        const floats = numbers.map((number) => bytesOf(4, (bytes) => bytes.writeFloatBE(number)));
        return sample(`[${numbers.map(floatText).join(",")}]`, Buffer.concat([Buffer.of(0, numbers.length, 0, 0), ...floats]), numbers);
      });
    case "range":
      return type.typeName.endsWith("multirange")
        ? fc.array(rangeSamples(type.typeName), { maxLength: 3 }).map(multirangeSample)
        : rangeSamples(type.typeName);
    case "composite":
      return fc
        .tuple(...type.attributes.map((attribute) => fc.option(samplesOf(attribute.type), { nil: null, freq: 4 })))
        .map((values) => compositeSample(type, values));
    case "array":
      return fc
        .array(fc.option(samplesOf(type.element), { nil: null, freq: 4 }), { maxLength: 6 })
        .map((items) => arraySample(items, ({ box: ";", geometry: ":" } as Partial<Record<ColumnKind, string>>)[type.element.kind] ?? ","));
    case "text":
    case "enum":
    case "json":
    case "xml":
    case "other":
      return fc.string({ unit: "grapheme", maxLength: 80 }).map((value) => sample(value, Buffer.from(value), value));
  }
}

function hstorePair(): fc.Arbitrary<readonly [key: string, value: string | null]> {
  const text = fc.oneof(
    fc.constantFrom("NULL", "", "=>", '", "'),
    fc.string({ unit: fc.constantFrom('"', "\\", "=", ">", ",", " ", "a", "é"), maxLength: 8 }),
  );
  return fc.tuple(text, fc.option(text, { nil: null }));
}

const BOUNDS = { int4: "int4", int8: "int8", num: "numeric", date: "date", ts: "timestamp", tstz: "timestamptz" } as const;

/** As range_out and range_send write it, whether or not the bounds make sense together. */
function rangeSamples(name: RangeName): fc.Arbitrary<Sample> {
  const kind = BOUNDS[name.replace(/(multi)?range$/, "") as keyof typeof BOUNDS];
  const bound = fc.option(fc.tuple(samplesOf({ kind }), fc.boolean()), { nil: null, freq: 4 });
  const range = fc.tuple(bound, bound).map(([lower, upper]) => {
    const printed = [lower, upper].map((end) => (end === null ? "" : end[0].text.toString().replace(/.* .*/, '"$&"')));
    const flags = (lower?.[1] === true ? 2 : 0) | (upper?.[1] === true ? 4 : 0) | (lower === null ? 8 : 0) | (upper === null ? 16 : 0);
    const value = `${flags & 2 ? "[" : "("}${printed.join(",")}${flags & 4 ? "]" : ")"}`;
    const fields = [lower, upper].flatMap((end) => (end === null ? [] : [int4(end[0].binary.length), end[0].binary]));
    return sample(value, Buffer.concat([Buffer.of(flags), ...fields]), value);
  });
  return fc.oneof({ weight: 6, arbitrary: range }, { weight: 1, arbitrary: fc.constant(sample("empty", Buffer.of(1), "empty")) });
}

function multirangeSample(ranges: readonly Sample[]): Sample {
  const value = `{${ranges.map(({ text }) => text.toString()).join(",")}}`;
  return sample(value, Buffer.concat([int4(ranges.length), ...ranges.flatMap(({ binary }) => [int4(binary.length), binary])]), value);
}

/** As array_out and array_send write it. */
function arraySample(items: readonly (Sample | null)[], delimiter: string): Sample {
  const texts = items.map((item) => {
    if (item === null) return "NULL";
    const printed = item.text.toString();
    const needsQuotes =
      printed === "" || /["\\{}\t\n\v\f\r ]/.test(printed) || printed.includes(delimiter) || printed.toUpperCase() === "NULL";
    return needsQuotes ? `"${printed.replace(/["\\]/g, "\\$&")}"` : printed;
  });
  const fields = items.flatMap((item) => (item === null ? [int4(-1)] : [int4(item.binary.length), item.binary]));
  const head = items.length === 0 ? [int4(0)] : [int4(1)];
  const bounds = items.length === 0 ? [] : [int4(items.length), int4(1)];
  const hasNull = int4(items.includes(null) ? 1 : 0);
  return sample(
    `{${texts.join(delimiter)}}`,
    Buffer.concat([...head, hasNull, int4(25), ...bounds, ...fields]),
    items.map((item) => item?.value ?? null),
  );
}

/** As record_out and record_send write it. */
function compositeSample({ attributes }: CompositeType, values: readonly (Sample | null)[]): Sample {
  const texts = values.map((value) => {
    if (value === null) return "";
    const printed = value.text.toString();
    return printed === "" || /["\\(),\t\n\v\f\r ]/.test(printed) ? `"${printed.replace(/["\\]/g, "$&$&")}"` : printed;
  });
  const fields = values.flatMap((value, index) => {
    const oid = bytesOf(4, (bytes) => bytes.writeUInt32BE(attributes[index]!.typeOid));
    return value === null ? [oid, int4(-1)] : [oid, int4(value.binary.length), value.binary];
  });
  return sample(
    `(${texts.join(",")})`,
    Buffer.concat([int4(values.length), ...fields]),
    values.map((value) => value?.value ?? null),
  );
}

/** A composite as schemas give it back: of no database, its OIDs are 0. */
export function composite(name: string, attributes: Readonly<Record<string, ColumnType>>, typeOid = 0): CompositeType {
  return {
    kind: "composite",
    schema: "public",
    name,
    oid: 0,
    given: 0,
    attributes: Object.entries(attributes).map(([each, type]) => ({ name: each, type, number: 0, typeOid, typeModifier: 0 })),
  };
}

/** Of up to four attributes, up to two deep; types that differ have other names, as in a database. */
function composites(depth: number): fc.Arbitrary<CompositeType> {
  const plain = elementTypes();
  const parts: fc.Arbitrary<ColumnType>[] = [plain, plain.map((element): ColumnType => ({ kind: "array", element }))];
  if (depth > 1)
    parts.push(
      composites(depth - 1),
      composites(depth - 1).map((element): ColumnType => ({ kind: "array", element })),
    );
  return fc.array(fc.oneof(...parts), { minLength: 1, maxLength: 4 }).map((types) => {
    const name = `t ${JSON.stringify(types)}`;
    return composite(name, Object.fromEntries(types.map((type, index) => [`a ${index}`, type])));
  });
}

/** Any column type, decimals of every size and arrays among them. */
export function columnTypes(): fc.Arbitrary<ColumnType> {
  const arrays = elementTypes().map((element): ColumnType => ({ kind: "array", element }));
  const others = fc.constantFrom("pair", "floatrange", "halfvec").map((typeName): ColumnType => ({ kind: "other", typeName }));
  const listed = composites(2).map((element): ColumnType => ({ kind: "array", element }));
  return fc.oneof(
    { weight: 7, arbitrary: elementTypes() },
    { weight: 3, arbitrary: arrays },
    { weight: 2, arbitrary: composites(2) },
    { weight: 1, arbitrary: listed },
    { weight: 1, arbitrary: others },
  );
}

function elementTypes(): fc.Arbitrary<ElementType> {
  const plain = columnKinds.filter(
    (kind): kind is PlainKind => !["decimal", "money", "range", "composite", "array", "other"].includes(kind),
  );
  return fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...plain).map((kind): ElementType => ({ kind })) },
    {
      weight: 2,
      arbitrary: fc
        .integer({ min: 1, max: 100 })
        .chain((precision) => fc.nat(precision).map((scale): ElementType => ({ kind: "decimal", precision, scale }))),
    },
    { weight: 2, arbitrary: fc.constantFrom(...rangeNames).map((typeName): ElementType => ({ kind: "range", typeName })) },
    { weight: 1, arbitrary: fc.constantFrom(0, 2, 3).map((scale): ElementType => ({ kind: "money", precision: 19, scale })) },
  );
}

/** A row of a random table: per column its type, its place in the key, and a value or null (never null in a key). */
export type RandomRow = { readonly table: Table; readonly samples: readonly (Sample | null)[] };

export function rows(): fc.Arbitrary<RandomRow> {
  return fc.array(fc.record({ type: columnTypes(), isKey: fc.boolean() }), { minLength: 1, maxLength: 12 }).chain((shapes) => {
    const keys = shapes.filter((shape) => shape.isKey).length;
    let position = keys; // the key's order is not the table's
    const columns = shapes.map(({ type, isKey }, index) => column(`c ${index}`, type, isKey ? position-- : 0));
    const cells = columns.map(({ type, keyPosition }) =>
      keyPosition > 0 ? samplesOf(type) : fc.option(samplesOf(type), { nil: null, freq: 4 }),
    );
    return fc.tuple(...cells).map((samples) => ({ table: table(columns), samples }));
  });
}

/** The row's tuple, in one protocol; kind `other` is always text. */
export function tupleOf(row: RandomRow, form: "text" | "binary"): Tuple {
  return tuple(
    ...row.samples.map((value, index) => {
      if (value === null) return NULL;
      return form === "text" || row.table.columns[index]?.type.kind === "other" ? text(value.text) : binary(value.binary);
    }),
  );
}
