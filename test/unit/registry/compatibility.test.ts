import { readFile } from "node:fs/promises";
import { Type } from "avsc";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSchema } from "../../../src/registry/avro-schema.ts";
import { incompatibilities, logicalChanges } from "../../../src/registry/compatibility.ts";
import { differences } from "./differences.ts";
import { schemaPairs, schemaText, type Verdict } from "./schema-pairs.ts";

function verdict(before: string, after: string): Verdict {
  try {
    return incompatibilities("BACKWARD", parseSchema(after).type, [parseSchema(before).type]).length === 0 ? "compatible" : "incompatible";
  } catch {
    return "invalid";
  }
}

const int = parseSchema('"int"').type;
const long = parseSchema('"long"').type;
const string = parseSchema('"string"').type;

describe("BACKWARD (R-logical included)", () => {
  for (const { title, before, after, ours } of schemaPairs)
    test(`${title}: ${ours}`, () => {
      expect(verdict(schemaText(before), schemaText(after))).toBe(ours);
    });
});

test("avsc's own resolver takes the half-built resolver of a failed union branch for a good one", () => {
  const pair = schemaPairs.find(({ title }) => title.startsWith("a broken record stands behind a union"));
  const [before, after] = [pair?.before, pair?.after].map((schema) => Type.forSchema(JSON.parse(schemaText(schema)) as string));
  expect(() => after?.createResolver(before!)).not.toThrow();
  expect(verdict(schemaText(pair?.before), schemaText(pair?.after))).toBe("incompatible");
});

test("each problem is said once, with its field's path", () => {
  const before = parseSchema(
    '{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"V","fields":[{"name":"x","type":"long"},{"name":"e","type":{"type":"enum","name":"E","symbols":["u","v"]}}]}},{"name":"b","type":["null","V"]}]}',
  );
  const after = parseSchema(
    '{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"V","fields":[{"name":"x","type":"int"},{"name":"e","type":{"type":"enum","name":"E","symbols":["u"]}},{"name":"y","type":"int"}]}},{"name":"b","type":["null","V"]}]}',
  );
  expect(incompatibilities("BACKWARD", after.type, [before.type])).toEqual([
    "/a/x: long can't be read as int",
    "/a/e: E can't be read as E: it lacks v",
    "/a/y: a new field needs a default",
  ]);
});

test("R-logical: the words name both logical types", () => {
  const decimal = (scale: number) => parseSchema(`["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":${scale}}]`).type;
  expect(incompatibilities("FULL", decimal(4), [decimal(2)])).toEqual([
    "/: the logical type changed from decimal(10,2) to decimal(10,4)",
    "/: the logical type changed from decimal(10,4) to decimal(10,2)",
  ]);
});

/** PostgreSQL's types as columns have them; what two of them share is read as the same. */
const columnTypes: Readonly<
  Record<string, { readonly schema: unknown; readonly base: "int" | "long" | "text"; readonly meaning: string }>
> = {
  int4: { schema: "int", base: "int", meaning: "" },
  int8: { schema: "long", base: "long", meaning: "" },
  date: { schema: { type: "int", logicalType: "date" }, base: "int", meaning: "date" },
  time: { schema: { type: "long", logicalType: "time-micros" }, base: "long", meaning: "time" },
  timestamp: { schema: { type: "long", logicalType: "local-timestamp-micros" }, base: "long", meaning: "local" },
  timestamptz: { schema: { type: "long", logicalType: "timestamp-micros" }, base: "long", meaning: "instant" },
  text: { schema: "string", base: "text", meaning: "" },
  uuid: { schema: { type: "string", logicalType: "uuid" }, base: "text", meaning: "uuid" },
  bytea: { schema: "bytes", base: "text", meaning: "" },
  "numeric(10,2)": { schema: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 }, base: "text", meaning: "2" },
  "numeric(12,2)": { schema: { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 }, base: "text", meaning: "2" },
  "numeric(12,4)": { schema: { type: "bytes", logicalType: "decimal", precision: 12, scale: 4 }, base: "text", meaning: "4" },
};
const typeNames = Object.keys(columnTypes);

function table(columns: readonly (readonly [name: string, type: string])[], nullable: boolean): Type {
  const fields = columns.map(([name, type]) => {
    const { schema } = columnTypes[type]!;
    return nullable ? { name, type: ["null", schema], default: null } : { name, type: schema };
  });
  return parseSchema(JSON.stringify({ type: "record", name: "R", fields })).type;
}

test("R-logical: between any two column types a change is refused exactly when base types would read what means something else", () => {
  for (const before of typeNames)
    for (const after of typeNames)
      for (const nullable of [false, true]) {
        const [a, b] = [columnTypes[before]!, columnTypes[after]!];
        const reads = (a.base === "text") === (b.base === "text"); // int and long, and bytes and strings, are promoted to one another
        const changes = logicalChanges(table([["x", after]], nullable), table([["x", before]], nullable));
        expect({ before, after, changes: changes.length }).toEqual({ before, after, changes: reads && a.meaning !== b.meaning ? 1 : 0 });
      }
});

test("R-logical: the same columns are named in either direction, with the types in the order of the change", () => {
  expect(logicalChanges(table([["x", "date"]], true), table([["x", "timestamp"]], true))).toEqual([
    "/x: the logical type changed from local-timestamp-micros to date",
  ]);
  const tables = fc.uniqueArray(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom(...typeNames)), {
    selector: ([name]) => name,
  });
  fc.assert(
    fc.property(tables, tables, fc.boolean(), (before, after, nullable) => {
      const paths = (changes: readonly string[]): readonly string[] => changes.map((change) => change.split(":")[0] ?? "").sort();
      const [one, other] = [table(before, nullable), table(after, nullable)];
      expect(paths(logicalChanges(one, other))).toEqual(paths(logicalChanges(other, one)));
      expect(logicalChanges(one, one)).toEqual([]);
    }),
  );
});

test("BACKWARD asks whether the new schema reads the latest version, and the latest only", () => {
  expect(incompatibilities("BACKWARD", long, [string, int])).toEqual([]);
  expect(incompatibilities("BACKWARD", int, [long])).toHaveLength(1);
  expect(incompatibilities("BACKWARD_TRANSITIVE", long, [string, int])).toEqual(["/: string can't be read as long"]);
});

test("FORWARD asks whether the latest version reads what the new schema writes; FULL asks both", () => {
  expect(incompatibilities("FORWARD", int, [long])).toEqual([]);
  expect(incompatibilities("FORWARD", long, [int])).toHaveLength(1);
  expect(incompatibilities("FORWARD_TRANSITIVE", int, [string, long])).toHaveLength(1);
  expect(incompatibilities("FULL", long, [int])).toHaveLength(1);
  expect(incompatibilities("FULL_TRANSITIVE", int, [int, int])).toEqual([]);
});

test("NONE takes anything, and a first version has nothing to break", () => {
  expect(incompatibilities("NONE", int, [string])).toEqual([]);
  expect(incompatibilities("FULL_TRANSITIVE", int, [])).toEqual([]);
});

test("records that share types many levels deep are compared in no time", () => {
  const nested = (leaf: string): string => {
    let type: unknown = { type: "record", name: "R0", fields: [{ name: "x", type: leaf }] };
    for (let depth = 1; depth <= 40; depth++)
      type = {
        type: "record",
        name: `R${depth}`,
        fields: [
          { name: "a", type },
          { name: "b", type: `R${depth - 1}` },
        ],
      };
    return JSON.stringify(type);
  };
  expect(incompatibilities("BACKWARD", parseSchema(nested("int")).type, [parseSchema(nested("long")).type])).toHaveLength(1);
});

test("white space and the order of attributes do not make another schema; doc and defaults do", () => {
  const fingerprint = (text: string) => parseSchema(text).fingerprint;
  const schema = '{"type":"record","name":"R","fields":[{"name":"x","type":"int"}]}';
  expect(fingerprint('{ "name": "R",\n "type": "record", "fields": [{"type":"int","name":"x"}] }')).toBe(fingerprint(schema));
  expect(fingerprint('{"type":"record","name":"R","doc":"d","fields":[{"name":"x","type":"int"}]}')).not.toBe(fingerprint(schema));
  expect(fingerprint('{"type":"record","name":"R","fields":[{"name":"x","type":"int","default":0}]}')).not.toBe(fingerprint(schema));
});

test("a default may be of any branch of its union, as Avro 1.12 has it, and has to be of one", () => {
  const valid = (type: unknown, value: unknown): boolean => {
    const inner = [
      { type: "enum", name: "E", symbols: ["red"] },
      { type: "record", name: "I", fields: [{ name: "i", type: "int" }] },
      { type: "fixed", name: "F", size: 1 },
    ].map((type, index) => ({ name: `d${index}`, type }));
    const fields = [...inner, { name: "x", type: { type: "record", name: "X", fields: [{ name: "y", type, default: value }] } }];
    try {
      return parseSchema(JSON.stringify({ type: "record", name: "R", namespace: "shop", fields })).type.name === "shop.R";
    } catch {
      return false;
    }
  };
  for (const value of [null, true, 1, 2 ** 40, 1.5, "red", [1], { a: 1 }]) {
    expect(
      valid(["null", "boolean", "int", "long", "double", "E", { type: "array", items: "int" }, { type: "map", values: "int" }], value),
    ).toBe(true);
    expect(valid(["R", "bytes"], value)).toBe(typeof value === "string");
  }
  expect(valid(["null", "shop.I"], { i: 1 })).toBe(true);
  expect(valid(["null", "F", "E"], "x")).toBe(true);
  expect(valid(["null", "E"], "green")).toBe(false);
  expect(valid(["null", "int"], 2 ** 40)).toBe(false);
});

test("docs/registry.md lists each difference, and no other", async () => {
  const page = await readFile(new URL("../../../docs/registry.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$/gm)].map((row) => row.slice(1, 5));
  const after = (header: string): readonly (readonly string[])[] => {
    const from = rows.findIndex(([first]) => first === header) + 1;
    const length = rows.slice(from).findIndex(([first]) => first === "the schemas" || first === "the later schema");
    return rows.slice(from, length === -1 ? undefined : from + length);
  };
  const known = schemaPairs
    .filter(({ apicurio }) => apicurio !== undefined)
    .map(({ title, ours, apicurio, why }) => [title, ours, apicurio, why]);
  expect(after("the later schema")).toEqual(known);
  expect(after("the schemas")).toEqual(Object.values(differences).map(({ what, ours, apicurio, why }) => [what, ours, apicurio, why]));
});
