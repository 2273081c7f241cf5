// What a person is shown of a row: exact, whatever JSON's numbers hold.
import { expect, test } from "vitest";
import { EventDecoder } from "../../../src/avro/decoder.ts";
import { keyAsJson, rowAsJson, type JsonValue } from "../../../src/avro/row-values.ts";
import type { ColumnType } from "../../../src/core/table.ts";
import { eventsOf } from "./events.ts";
import { column, composite, NULL, table, text, tuple } from "./rows.ts";

const pair = composite("pair", { a: { kind: "int8" }, b: { kind: "text" } });
const cases: readonly (readonly [type: ColumnType | ColumnType["kind"], printed: string, shown: JsonValue])[] = [
  ["bool", "t", true],
  ["int4", "-2147483648", -2_147_483_648],
  ["int8", "9223372036854775807", "9223372036854775807"],
  ["float8", "0.1", 0.1],
  ["float8", "NaN", "NaN"],
  ["float4", "-Infinity", "-Infinity"],
  [{ kind: "decimal", precision: 12, scale: 2 }, "-0.05", "-0.05"],
  ["text", "ünï 🐘", "ünï 🐘"],
  ["bytea", "\\x00ff", "\\x00ff"],
  ["date", "2026-01-02", "2026-01-02"],
  ["date", "infinity", "infinity"],
  ["time", "23:59:59.999999", "23:59:59.999999"],
  ["timestamp", "2026-01-02 03:04:05.000006", "2026-01-02T03:04:05.000006"],
  ["timestamptz", "1969-12-31 23:59:59.999999+00", "1969-12-31T23:59:59.999999Z"],
  ["timestamptz", "-infinity", "-infinity"],
  ["point", "(1.5,-Infinity)", { x: 1.5, y: "-Infinity" }],
  ["circle", "<(1,2),0.5>", { x: 1, y: 2, radius: 0.5 }],
  [
    "path",
    "[(1,2),(3,4)]",
    {
      closed: false,
      points: [
        { x: 1, y: 2 },
        { x: 3, y: 4 },
      ],
    },
  ],
  ["polygon", "((1,2))", [{ x: 1, y: 2 }]],
  [{ kind: "array", element: { kind: "box" } }, "{(3,4),(1,2);NULL}", [{ x1: 3, y1: 4, x2: 1, y2: 2 }, null]],
  [{ kind: "array", element: { kind: "int8" } }, "{1,NULL,9223372036854775807}", ["1", null, "9223372036854775807"]],
  [pair, '(7,"a ""b""")', { a: "7", b: 'a "b"' }],
  [
    { kind: "array", element: composite("outer", { pair, pairs: { kind: "array", element: pair } }) },
    String.raw`{"(\"(1,)\",\"{NULL,\"\"(,x)\"\"}\")",NULL}`,
    [{ pair: { a: "1", b: null }, pairs: [null, { a: null, b: "x" }] }, null],
  ],
];

test.each(cases)("%j %s is shown as %j", (type, printed, shown) => {
  const events = eventsOf(table([column("id", "int4", 1), column("x", type as "text")]));
  const row = tuple(text("7"), text(printed));
  const value = events.create(row);
  const decoder = new EventDecoder(events.schemas.value);
  decoder.decode(value);
  expect(rowAsJson(decoder.shape.columns, decoder.rows, value, decoder.afterAt)).toEqual({ id: 7, x: shown });
  expect(rowAsJson(decoder.shape.columns, decoder.rows, value, decoder.beforeAt)).toBeNull();
});

test("a key is shown in key order, by its columns' names, and NULL as null", () => {
  const events = eventsOf(table([column("nr", "int8", 2), column("größe", "text", 1), column("x", "text")]));
  const row = tuple(text("12"), text("xl"), NULL);
  expect(Object.entries(keyAsJson(events.schemas.key ?? "", events.key(row)))).toEqual([
    ["größe", "xl"],
    ["nr", "12"],
  ]);
});
