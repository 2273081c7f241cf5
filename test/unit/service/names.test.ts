import { expect, test } from "vitest";
import { findConnector, findTables } from "../../../src/service/names.ts";

const connectors = [
  { name: "shop", kind: "source" },
  { name: "lake", kind: "sink" },
] as const;
const tables = [
  { schema: "public", name: "orders" },
  { schema: "public", name: "Order Items" },
];

test("a misspelt connector is answered with the nearest one and all of them", () => {
  expect(findConnector(connectors, "lake").kind).toBe("sink");
  expect(() => findConnector(connectors, "shpo")).toThrow("there is no connector shpo, did you mean shop? (shop, lake)");
});

test("a connector of the other kind is named as what it is", () => {
  expect(() => findConnector(connectors, "lake", "source")).toThrow("lake is a sink, no source (shop)");
});

test("a pattern takes tables, a name one, and nothing is refused with the nearest", () => {
  expect(findTables(tables, "public.*", "shop")).toEqual(tables);
  expect(findTables(tables, 'public."Order Items"', "shop")).toEqual([tables[1]]);
  expect(() => findTables(tables, "public.order", "shop")).toThrow(
    "source shop captures no table public.order, did you mean public.orders?",
  );
  expect(() => findTables(tables, "orders", "shop")).toThrow("orders is no table: it names no schema; write schema.table");
  expect(() => findTables([], "public.orders", "shop")).toThrow(/captures no table public\.orders$/);
});
