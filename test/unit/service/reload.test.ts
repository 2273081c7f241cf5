// Which connectors a changed configuration touches.
import { expect, test } from "vitest";
import type { LoadedConfig } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { compareConfigs } from "../../../src/service/reload.ts";

type Document = Readonly<Record<string, unknown>>;

const shop: Document = {
  kind: "source",
  name: "shop",
  postgres: { url: "postgres://cdc:one@db/shop" },
  tables: ["public.orders"],
  snapshot: { mode: "no_data" },
};
const lake: Document = {
  kind: "sink",
  name: "lake",
  source: "shop",
  warehouse: { duckdb: { path: "./lake.duckdb" } },
  consistency: "partition",
};

function config(documents: readonly Document[], env: Readonly<Record<string, string>> = {}): LoadedConfig {
  const text = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  return parseConfig([{ name: "a.yaml", text }], { dir: "/etc/tailrace", env, readFile: () => "" });
}

const nothing = { added: [], changed: [], removed: [], unchanged: ["shop", "lake"], serviceChanged: false };

test("the same text changes nothing, in whatever order", () => {
  expect(compareConfigs(config([shop, lake]), config([shop, lake]))).toEqual(nothing);
  expect(compareConfigs(config([shop, lake]), config([lake, shop]))).toEqual(nothing);
});

test("a table more changes its source alone", () => {
  const after = config([{ ...shop, tables: ["public.orders", "public.items"] }, lake]);
  expect(compareConfigs(config([shop, lake]), after)).toEqual({ ...nothing, changed: ["shop"], unchanged: ["lake"] });
});

test("a column that is asked for as another type changes its source", () => {
  const asked = (as: string): LoadedConfig => config([{ ...shop, tables: [{ table: "public.orders", as: { total: as } }] }, lake]);
  expect(compareConfigs(asked("string"), asked("string"))).toEqual(nothing);
  expect(compareConfigs(asked("string"), asked("double"))).toMatchObject({ changed: ["shop"], unchanged: ["lake"] });
  expect(compareConfigs(config([shop, lake]), asked("double"))).toMatchObject({ changed: ["shop"] });
});

test("a password that changed is seen, though it is never shown", () => {
  const after = config([{ ...shop, postgres: { url: "postgres://cdc:two@db/shop" } }, lake]);
  expect(compareConfigs(config([shop, lake]), after)).toMatchObject({ changed: ["shop"], unchanged: ["lake"] });
});

test("a password that is written otherwise and is the same restarts nothing", () => {
  const after = config([{ ...shop, postgres: { url: "${URL}" } }, lake], { URL: "postgres://cdc:one@db/shop" });
  expect(compareConfigs(config([shop, lake]), after)).toEqual(nothing);
});

test("a sink changes with the prefix of its source's topics", () => {
  const after = config([{ ...shop, topics: { prefix: "other" } }, lake]);
  expect(compareConfigs(config([shop, lake]), after)).toMatchObject({ changed: ["shop", "lake"], unchanged: [] });
});

test("what came and what went", () => {
  const files = { ...lake, name: "files", warehouse: { duckdb: { path: "./files.duckdb" } } };
  expect(compareConfigs(config([shop, lake]), config([shop, files]))).toEqual({
    ...nothing,
    added: ["files"],
    removed: ["lake"],
    unchanged: ["shop"],
  });
});

test("a name that was a source's and is a sink's is another connector", () => {
  const other = { ...shop, name: "other", postgres: { url: "postgres://cdc:one@db/other" } };
  const after = config([other, { ...lake, name: "shop", source: "other" }]);
  expect(compareConfigs(config([shop, lake]), after)).toMatchObject({ changed: ["shop"], added: ["other"], removed: ["lake"] });
});

test("kind: service is compared with what runs", () => {
  const after = config([{ kind: "service", http: { listen: "127.0.0.1:9000" } }, shop, lake]);
  expect(compareConfigs(config([shop, lake]), after)).toEqual({ ...nothing, serviceChanged: true });
});
