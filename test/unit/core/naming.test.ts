import fc from "fast-check";
import { expect, test } from "vitest";
import { avroName, avroNamespace, fieldNames, refuseTopicCollisions, topicName } from "../../../src/core/naming.ts";

test("a name that Avro allows stays; anything else is escaped unit by unit, as Debezium's avro_unicode does", () => {
  expect(avroName("order_id")).toBe("order_id");
  expect(avroName("Order2")).toBe("Order2");
  expect(avroName("order id")).toBe("order_u0020id");
  expect(avroName("1st")).toBe("_u0031st");
  expect(avroName("naïve-🐘")).toBe("na_u00efve_u002d_ud83d_udc18");
});

test("every name becomes legal, and names without an escape in them stay apart", () => {
  const names = fc.string({ unit: "binary", minLength: 1 }).filter((name) => !/_u[0-9a-f]{4}/.test(name));
  fc.assert(
    fc.property(names, names, (one, other) => {
      expect(avroName(one)).toMatch(/^[A-Za-z_][A-Za-z0-9_]*$/);
      if (one !== other) expect(avroName(one)).not.toBe(avroName(other));
    }),
  );
});

test("two columns with one name are refused, and the error names both", () => {
  const columns = [{ name: "a b" }, { name: "c" }, { name: "a_u0020b" }];
  expect(fieldNames({ schema: "public", name: "t", columns: columns.slice(0, 2) })).toEqual(["a_u0020b", "c"]);
  expect(() => fieldNames({ schema: "public", name: "t", columns })).toThrow(
    expect.objectContaining({ code: "NAME_COLLISION", place: { table: "public.t" } }),
  );
});

test("a topic is prefix, schema and table in Kafka's alphabet", () => {
  expect(topicName("shop", { schema: "public", name: "orders" })).toBe("shop.public.orders");
  expect(topicName("shop-eu", { schema: "public", name: "Order Items" })).toBe("shop-eu.public.Order_u0020Items");
});

test("a topic name longer than Kafka's 249 characters is refused with the table's name", () => {
  const at = (length: number): string => topicName("p", { schema: "s", name: "x".repeat(length - 4) });
  expect(at(249)).toHaveLength(249);
  expect(() => at(250)).toThrow(expect.objectContaining({ code: "TABLE_UNSUPPORTED" }));
  expect(() => topicName("p", { schema: "表".repeat(21), name: "表".repeat(21) })).toThrow(/255 characters/);
});

test("a namespace has each part of the topic made legal", () => {
  expect(avroNamespace("shop.public.orders")).toBe("shop.public.orders");
  expect(avroNamespace("shop-eu.2024..orders")).toBe("shop_u002deu._u0032024._.orders");
});

test("topics that Kafka's metrics take for one are refused", () => {
  expect(() => refuseTopicCollisions(["shop.public.orders", "shop.public.order_items", "shop.barriers"])).not.toThrow();
  for (const pair of [
    ["shop.public.order_items", "shop.public.order.items"],
    ["shop.public.orders", "shop.public.orders"],
    ["shop.dead_letters", "shop.dead.letters"],
  ]) {
    expect(() => refuseTopicCollisions(pair)).toThrow(expect.objectContaining({ code: "NAME_COLLISION" }));
  }
});
