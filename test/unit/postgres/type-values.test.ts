// No type is forgotten: the end-to-end test of the types has values of each that docs/types.md names.
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { LEAST, typeValues } from "../../support/type-values.ts";

const page = readFileSync(path.resolve(import.meta.dirname, "../../../docs/types.md"), "utf8");
/** The first cells of the first table, which the one of `as` follows; without its two head lines. */
const rows = page
  .split("| In the source | `as` |")[0]!
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .map((line) => line.split(" | ")[0]!.slice(2))
  .slice(1);

/** Of extensions that the server of that test lacks: their bytes are in test/postgres/snapshot-bytes.test.ts and unit tests. */
const ELSEWHERE = ["geometry", "geography", "vector"];
/** Arrays are made of the values of their elements' types, and `others` has no names. */
const names = rows
  .filter((row) => !row.startsWith("all others"))
  .flatMap((row) => row.split(/, (?=`|and so on)/))
  .map((name) => name.replaceAll("`", "").replace("[]", ""))
  .filter((name) => name !== "and so on" && !ELSEWHERE.includes(name));

test(`every type of docs/types.md has ${LEAST} values or more for the end-to-end test, or all that there are`, () => {
  expect(rows.length).toBeGreaterThan(50);
  expect([...new Set(names)].filter((name) => !typeValues.some((type) => type.name === name))).toEqual([]);
  const few = typeValues.filter(({ values, complete }) => complete !== true && new Set(values).size < LEAST);
  expect(few.map(({ name }) => name)).toEqual([]);
  expect(typeValues.filter(({ complete }) => complete).map(({ name }) => name)).toEqual(["boolean"]);
});

test("the types that are read as text have values too", () => {
  expect(typeValues.filter(({ text }) => text === true).length).toBeGreaterThan(5);
});
