import { expect, test } from "vitest";
import { parseArguments } from "../../../src/commands/arguments.ts";

const snapshot = "snapshot DIR SOURCE TABLE [--where SQL] [--json]";
const options = { where: "string", json: "boolean" } as const;

test("words have places, options are where they are", () => {
  expect(parseArguments(snapshot, ["conf", "--json", "shop", "public.orders", "--where", "id > 5"], options)).toEqual({
    places: ["conf", "shop", "public.orders"],
    options: { where: "id > 5", json: true },
  });
  expect(parseArguments(snapshot, ["conf", "shop", "public.orders"], options).options).toEqual({ where: null, json: false });
});

test("a word in brackets may be left out", () => {
  expect(parseArguments("pause DIR CONNECTOR [TABLE]", ["conf", "shop"], {}).places).toEqual(["conf", "shop", ""]);
});

test.each([
  [[], "which folder? usage: tailrace snapshot DIR"],
  [["conf"], "which source?"],
  [["conf", "shop", "--where", "x"], "which table?"],
  [["conf", "shop", "a.b", "c.d"], "too much: c.d"],
  [["conf", "shop", "a.b", "--whre", "x"], "Unknown option '--whre'"],
])("%j is refused", (args, problem) => {
  expect(() => parseArguments(snapshot, args, options)).toThrow(problem);
});
