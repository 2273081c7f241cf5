// R-key, on the schemas that tables have.
import { describe, expect, test } from "vitest";
import { KEY_STAYS, keyOfValueSchema, keyRules } from "../../../src/avro/key-rule.ts";
import { tableSchemas, type TableSchemas } from "../../../src/avro/schema.ts";
import type { Column } from "../../../src/core/table.ts";

/** A table of int columns a, b and c; `key`: the names of its key's columns, in key order. */
function schemas(key: readonly string[]): TableSchemas {
  const columns = ["a", "b", "c"].map((name): Column => ({
    name,
    type: { kind: "int4" },
    typeOid: 23,
    typeModifier: -1,
    keyPosition: key.indexOf(name) + 1,
  }));
  return tableSchemas({ schema: "public", name: "t", columns }, "shop.public.t");
}

test("a value schema tells the key's columns in key order; what is none of ours tells nothing", () => {
  expect(keyOfValueSchema(schemas(["c", "a"]).value)).toEqual(["c", "a"]);
  expect(keyOfValueSchema(schemas([]).value)).toEqual([]);
  expect(keyOfValueSchema('"string"')).toBeNull();
  expect(keyOfValueSchema("no schema")).toBeNull();
});

describe("the rule of both subjects", () => {
  test.each([
    [["a"], ["a", "b"]],
    [["a", "b"], ["a"]],
    [
      ["a", "b"],
      ["b", "a"],
    ],
    [["a"], ["b"]],
  ])("refuses after key %j the key %j", (before, now) => {
    const rules = keyRules(schemas(now));
    const words = `its key was (${before.join(", ")}) and is (${now.join(", ")}): ${KEY_STAYS}`;
    expect(rules.key(schemas(before).key!)).toBe(words);
    expect(rules.value(schemas(before).value)).toBe(words);
  });

  test("refuses a table that loses its key by its value's subject, and takes one that gets its first", () => {
    expect(keyRules(schemas([])).value(schemas(["a"]).value)).toBe(`its key was (a) and is (): ${KEY_STAYS}`);
    expect(keyRules(schemas(["a"])).value(schemas([]).value)).toBeNull();
  });

  test("takes the same key, and leaves what is none of ours to the registry", () => {
    const rules = keyRules(schemas(["a", "b"]));
    expect([rules.key(schemas(["a", "b"]).key!), rules.value(schemas(["a", "b"]).value)]).toEqual([null, null]);
    expect([rules.key('"string"'), rules.value('"string"')]).toEqual([null, null]);
  });
});
