// The checker beside a resolver that reads: what it calls compatible avsc has to read, for generated schemas and generated
// data, in both directions. avsc is not its source (docs: Avro specification, "Schema Resolution"): where the two differ
// in what they refuse, the test says so.
import avsc, { type Resolver, type Schema, type Type } from "avsc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSchema } from "../../../src/registry/avro-schema.ts";
import { mismatches } from "../../../src/registry/compatibility.ts";
import { branchesOfDefaultsFirst } from "../../../src/registry/union-defaults.ts";
import { generatedPair } from "./generated-pairs.ts";

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const RUNS = { numRuns: 1500, seed: 20_260_101 };

type Direction = { readonly reader: string; readonly writer: string };

/** Both directions of a pair; none when the later text is no schema. */
function directionsOf(seed: number): readonly Direction[] {
  const { before, after } = generatedPair(seed);
  try {
    parseSchema(after);
  } catch {
    return [];
  }
  return [
    { reader: after, writer: before },
    { reader: before, writer: after },
  ];
}

/** Base types alone: avsc without classes for them forgets logical types. */
function plain(text: string): Type {
  return avsc.Type.forSchema(branchesOfDefaultsFirst(JSON.parse(text)) as Schema);
}

function resolverOf({ reader, writer }: Direction): { readonly type: Type; readonly resolver: Resolver; readonly written: Type } {
  const [type, written] = [plain(reader), plain(writer)];
  return { type, written, resolver: type.createResolver(written, { ignoreNamespaces: true }) }; // as Java's, we compare unqualified names
}

/** Random values as the writer has them; none where the schema has no finite one (a record that holds itself). */
function valuesOf(type: Type): readonly Buffer[] {
  try {
    return Array.from({ length: 3 }, () => type.toBuffer(type.random()));
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}

test("what is compatible, or would be but for R-logical, is read by avsc: all values, to values of the reader's schema", () => {
  let read = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      for (const direction of directionsOf(seed)) {
        const found = mismatches(parseSchema(direction.reader).type, parseSchema(direction.writer).type);
        if (found.some(({ logical }) => !logical)) continue;
        const { type, resolver, written } = resolverOf(direction);
        for (const bytes of valuesOf(written)) {
          expect(type.isValid(type.fromBuffer(bytes, resolver))).toBe(true);
          read++;
        }
      }
    }),
    RUNS,
  );
  expect(read).toBeGreaterThan(2000);
});

test("what is incompatible in its base types avsc refuses, but for aliases that it takes without their namespaces", () => {
  let refused = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      for (const direction of directionsOf(seed)) {
        const found = mismatches(parseSchema(direction.reader).type, parseSchema(direction.writer).type);
        if (found.every(({ logical, what }) => logical || what.endsWith("has it as an alias"))) continue;
        expect(() => resolverOf(direction)).toThrow();
        refused++;
      }
    }),
    RUNS,
  );
  expect(refused).toBeGreaterThan(1000);
});

test("R-logical is a verdict of its own: without its logical types every pair gets the verdict on its base types", () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      for (const { reader, writer } of directionsOf(seed)) {
        const [whole, bases] = [mismatches(parseSchema(reader).type, parseSchema(writer).type), mismatches(plain(reader), plain(writer))];
        expect(whole.some(({ logical }) => !logical)).toBe(bases.length > 0);
      }
    }),
    RUNS,
  );
});

test("every schema reads what it wrote itself", () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const { type } = parseSchema(generatedPair(seed).before);
      expect(mismatches(type, type)).toEqual([]);
    }),
    RUNS,
  );
});

test("an enum's default reads as it what the reader lacks, and a field's default stands for a field that is not there", () => {
  const reader = JSON.stringify({
    type: "record",
    name: "Row",
    fields: [
      { name: "color", type: { type: "enum", name: "Color", symbols: ["red", "none"], default: "none" } },
      { name: "note", type: "string", default: "nothing" },
    ],
  });
  const writer = JSON.stringify({
    type: "record",
    name: "Row",
    fields: [{ name: "color", type: { type: "enum", name: "Color", symbols: ["red", "blue"] } }],
  });
  expect(mismatches(parseSchema(reader).type, parseSchema(writer).type)).toEqual([]);
  const { type, resolver, written } = resolverOf({ reader, writer });
  expect(type.fromBuffer(written.toBuffer({ color: "blue" }), resolver)).toEqual({ color: "none", note: "nothing" });
});
