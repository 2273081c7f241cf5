// Where the events of a topic are merged into, of a table's later versions too.
import { describe, expect, test } from "vitest";
import type { TopicState } from "../../../src/core/source-state.ts";
import { routesOf } from "../../../src/sink/routes.ts";
import { viewsOf } from "../../../src/sink/version-views.ts";

const topic = (name: string, version?: number, schema = "public"): TopicState => {
  const ending = version === undefined ? "" : `_v${version}`;
  return {
    name: `shop.${schema}.${name}${ending}`,
    id: `${name}${ending}`,
    partitions: 1,
    table: { schema, name },
    ...(version === undefined ? {} : { version }),
  };
};
const rule = ({ name }: { readonly name: string }) =>
  name === "unrouted" ? null : { target: { schema: "raw", name }, deletes: "hard" as const };
const targets = (...topics: readonly TopicState[]) => routesOf(topics, rule).map(({ target, first }) => [target.name, first?.name ?? null]);

describe("R-version: the routes of a sink", () => {
  test("each version has a target of its own, beside that of the first", () => {
    expect(targets(topic("orders", 3), topic("orders"), topic("orders", 2), topic("unrouted", 2))).toEqual([
      ["orders_v3", "orders"],
      ["orders", null],
      ["orders_v2", "orders"],
    ]);
  });

  test("a version is not merged into the target of another table", () => {
    expect(() => targets(topic("orders", 2), topic("orders_v2", undefined, "other"))).toThrow(
      expect.objectContaining({ code: "NAME_COLLISION", message: expect.stringContaining("raw.orders_v2") as string }),
    );
    expect(targets(topic("orders_v2"), topic("items", 2))).toHaveLength(2);
  });

  test("one view a table, of its highest version, and none under the name of a target", () => {
    const topics = [topic("orders", 3), topic("orders"), topic("orders", 2), topic("items"), topic("lines", 2), topic("lines_latest")];
    expect(viewsOf(routesOf(topics, rule))).toEqual([
      {
        view: { schema: "raw", name: "orders_latest" },
        first: { schema: "raw", name: "orders" },
        target: { schema: "raw", name: "orders_v3" },
      },
    ]);
  });
});
