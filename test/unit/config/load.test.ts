// mirrors src/config/load.ts, build.ts

import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { loadConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/issue.ts";
import { parseText, service, sink, source } from "./parse-text.ts";

function folder(files: Record<string, string | Buffer>): string {
  const dir = mkdtempSync(join(tmpdir(), "tailrace-config-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

async function refusalOf(dir: string): Promise<ConfigError> {
  const thrown: unknown = await loadConfig(dir, {}).then(
    () => null,
    (cause: unknown) => cause,
  );
  if (thrown instanceof ConfigError) return thrown;
  throw new Error("no ConfigError", { cause: thrown });
}

describe("a folder", () => {
  test("is read in the order of its files' names, .yaml and .yml, several documents a file", async () => {
    const dir = folder({
      "b.yml": source(),
      "a.yaml": source().replaceAll("shop", "alpha") + sink().replace("shop", "alpha"),
      "notes.txt": "kind: nonsense",
    });
    const config = await loadConfig(dir, {});
    expect(config.sources.map((one) => one.name)).toEqual(["alpha", "shop"]);
    expect(config.sinks.map((one) => one.name)).toEqual(["lake"]);
    expect(config.dir).toBe(dir);
  });

  test("that does not exist is said to be missing", async () => {
    const { issues, message, code, retry } = await refusalOf("/nowhere/at/all");
    expect(issues.map((one) => one.code)).toEqual(["not_a_folder"]);
    expect(message).toContain("/nowhere/at/all: there is no such folder");
    expect([code, retry]).toEqual(["CONFIG_INVALID", "never"]);
  });

  test("may not be a file", async () => {
    const file = join(folder({ "shop.yaml": source() }), "shop.yaml");
    const [issue] = (await refusalOf(file)).issues;
    expect(issue).toMatchObject({ code: "not_a_folder", message: "this is a file, not a folder", at: { file, line: 0, column: 0 } });
  });

  test("without YAML is said to be empty", async () => {
    expect((await refusalOf(folder({ "readme.md": "" }))).issues.map((one) => one.code)).toEqual(["no_documents"]);
  });

  test("with YAML but no document has no source", async () => {
    expect((await refusalOf(folder({ "a.yaml": "# nothing yet\n---\n" }))).issues.map((one) => one.code)).toEqual(["no_source"]);
  });

  test("names a file that can't be read, and reports the others all the same", async () => {
    const dir = folder({ "a.yaml": Buffer.from([0xff, 0xfe, 0x00]), "b.yaml": source("colour: red\n") });
    mkdirSync(join(dir, "c.yaml"));
    const { issues } = await refusalOf(dir);
    expect(issues.map((one) => [one.at.file, one.code])).toEqual([
      [join(dir, "a.yaml"), "unreadable_file"],
      [join(dir, "b.yaml"), "unknown_key"],
      [join(dir, "c.yaml"), "unreadable_file"],
    ]);
  });

  test("starts relative paths, of ${file:…} too", async () => {
    const dir = folder({
      "a.yaml": source().replace("postgres://cdc:hunter2@db:5432/shop", '"${file:url.txt}"') + sink(),
      "url.txt": "postgres://a@b/c\n",
    });
    const config = await loadConfig(dir, {});
    expect(config.sources[0]?.postgres.url.reveal()).toBe("postgres://a@b/c");
    expect(config.sinks[0]?.warehouse).toEqual({
      kind: "duckdb",
      path: join(dir, "lake.duckdb"),
      hold: "flush",
      memoryBytes: 2 * 1024 ** 3,
    });
    expect(config.service.log).toEqual({ kind: "embedded", path: join(dir, "data/log") });
  });
});

describe("defaults", () => {
  test("of a source come from its name", () => {
    const [shop] = parseText(source()).sources;
    expect(shop).toMatchObject({
      name: "shop",
      postgres: { slot: "tailrace_shop", publication: "tailrace_shop", create: true },
      topics: { prefix: "shop", partitions: 4, replication: -1, create: true, tombstones: true },
      snapshot: { mode: "no_data" },
    });
  });

  test("of a snapshot: existing rows are read by two sessions at full speed, unless the stream is a GiB behind", () => {
    const initial = {
      mode: "initial",
      parallel: 2,
      chunkRows: 20_000,
      maxRowsPerSecond: null,
      maxLagBytes: 2 ** 30,
      maxRetainedBytes: 10 * 2 ** 30,
    };
    for (const written of ["", "snapshot: {}\n", "snapshot: { mode: initial }\n"])
      expect(parseText(source().replace("snapshot: { mode: no_data }\n", written)).sources[0]?.snapshot).toEqual(initial);
    const all = "{ mode: always, parallel: 4, chunk_rows: 500, max_rows_per_second: 10000, max_lag: 64MiB }";
    expect(parseText(source().replace("{ mode: no_data }", all)).sources[0]?.snapshot).toEqual({
      mode: "always",
      parallel: 4,
      chunkRows: 500,
      maxRowsPerSecond: 10_000,
      maxLagBytes: 67_108_864,
      maxRetainedBytes: 10 * 2 ** 30,
    });
  });

  test("of a sink: every table, upserted under its own name, hard deletes, a flush a second", () => {
    const [lake] = parseText(source() + sink()).sinks;
    expect(lake).toMatchObject({
      consistency: "partition",
      flush: { everyMs: 1000, rows: 100_000 },
      tables: [{ pattern: { text: "*.*" }, into: { text: "{schema}.{table}" }, mode: "upsert", deletes: "hard" }],
    });
  });

  test("of the service: embedded log and registry, HTTP for this machine only", () => {
    const bare = parseText(source()).service;
    expect(bare).toEqual({
      log: { kind: "embedded", path: "/etc/tailrace/data/log" },
      registry: { kind: "embedded" },
      http: { listen: { host: "127.0.0.1", port: 8080 } },
    });
    expect(parseText(source() + service("")).service).toEqual(bare);
    expect(parseText(source() + service("log: {}\nhttp: {}\n")).service).toEqual(bare);
    expect(parseText(source() + service("log: { embedded: {} }\n")).service).toEqual(bare);
  });

  test("of the service come from the environment where it says: the data folder, the address to listen on", () => {
    const env = { TAILRACE_DATA: "/var/lib/tailrace", TAILRACE_HTTP_LISTEN: "0.0.0.0:9000" };
    expect(parseText(source(), { env }).service).toMatchObject({
      log: { path: "/var/lib/tailrace/log" },
      http: { listen: { host: "0.0.0.0", port: 9000 } },
    });
    const written = service('log: { embedded: { path: ./events } }\nhttp: { listen: "[::1]:0" }\n');
    expect(parseText(source() + written, { env }).service).toMatchObject({
      log: { path: "/etc/tailrace/events" },
      http: { listen: { host: "::1", port: 0 } },
    });
  });

  test.each([
    [{ TAILRACE_DATA: "" }, "TAILRACE_DATA is set to nothing, not to a folder"],
    [{ TAILRACE_HTTP_LISTEN: "8080" }, "TAILRACE_HTTP_LISTEN is 8080, not host:port"],
  ])("of the service are refused by the variable's name: %j", (env, message) => {
    expect(() => parseText(source(), { env })).toThrow(
      expect.objectContaining({ code: "USAGE", message: expect.stringContaining(message) }),
    );
  });
});

describe("what is written", () => {
  test("reaches the Kafka settings", () => {
    const kafka = `log:
  kafka:
    brokers: ["\${BROKERS}", b3:9092]
    ssl: { ca: certs/ca.pem, cert: "\${CERT}", key: "\${file:key.pem}" }
    sasl: { mechanism: plain, username: cdc, password: "\${PASSWORD}" }
    compression: lz4
registry: { url: "http://registry:8081", auth: { username: u, password: "p$$w" }, compatibility: FULL }
`;
    const { service: loaded } = parseText(source() + service(kafka), {
      env: { BROKERS: "b1:9092, b2:9092", PASSWORD: "one", CERT: "-----BEGIN CERTIFICATE-----" },
      files: { "/etc/tailrace/certs/ca.pem": "the authorities\n", "/etc/tailrace/key.pem": "-----BEGIN PRIVATE KEY-----\n" },
    });
    if (loaded.log.kind !== "kafka" || loaded.registry.kind !== "confluent") throw new Error("not Kafka");
    expect(loaded.log.brokers).toEqual(["b1:9092", "b2:9092", "b3:9092"]);
    expect(loaded.log.ssl?.ca?.reveal()).toBe("the authorities\n");
    expect(loaded.log.ssl?.cert?.reveal()).toBe("-----BEGIN CERTIFICATE-----");
    expect(loaded.log.ssl?.key?.reveal()).toBe("-----BEGIN PRIVATE KEY-----");
    expect(loaded.log.sasl?.mechanism).toBe("plain");
    expect(loaded.log.sasl?.password.reveal()).toBe("one");
    expect(loaded.log.compression).toBe("lz4");
    expect(loaded.registry).toMatchObject({ url: "http://registry:8081", compatibility: "FULL" });
    expect(loaded.registry.auth?.password.reveal()).toBe("p$w");
  });

  test("ssl: true is TLS with Node's own authorities, false is none", () => {
    const kafka = (ssl: string): string => service(`log: { kafka: { brokers: [b:1], ssl: ${ssl} } }\nregistry: { url: "http://r" }\n`);
    expect(parseText(source() + kafka("true")).service.log).toMatchObject({ ssl: { ca: null, cert: null, key: null } });
    expect(parseText(source() + kafka("false")).service.log).toMatchObject({ ssl: null });
  });

  test("reaches sources and sinks", () => {
    const config = parseText(
      `kind: source
name: shop
postgres: { url: postgres://db/shop, slot: s_1, publication: Pub-1, create: false }
tables: [public.orders, "audit.*", { table: '"my.schema".t', as: { total: string } }]
topics: { prefix: eu.shop, partitions: 12, replication: 3, create: false, tombstones: false }
snapshot: { mode: no_data }
` +
        `---
kind: sink
name: lake
source: shop
warehouse: { postgres: { url: postgres://w/h } }
consistency: partition
flush: { every: 200ms, rows: 5 }
tables: [{ table: public.orders, into: analytics.orders, mode: upsert, deletes: soft }]
`,
    );
    expect(config.sources[0]).toMatchObject({
      postgres: { slot: "s_1", publication: "Pub-1", create: false },
      topics: { prefix: "eu.shop", partitions: 12, replication: 3, create: false, tombstones: false },
    });
    expect(config.sources[0]?.tables.map((one) => one.pattern.text)).toEqual(["public.orders", "audit.*", '"my.schema".t']);
    expect(config.sources[0]?.tables.map((one) => one.as)).toEqual([null, null, { total: "string" }]);
    expect(config.sinks[0]).toMatchObject({
      warehouse: { kind: "postgres" },
      flush: { everyMs: 200, rows: 5 },
      tables: [{ pattern: { text: "public.orders" }, into: { schema: "analytics", table: "orders" }, deletes: "soft" }],
    });
  });

  test("an IPv6 address to listen on loses its brackets", () => {
    expect(parseText(source() + service('http: { listen: "[::1]:0" }\n')).service.http.listen).toEqual({ host: "::1", port: 0 });
  });

  test("anchors and aliases stand for what they name", () => {
    const text = source().replace("tables: [public.orders]", "tables: &all [public.orders, public.items]") + sink("flush: { every: 1s }\n");
    const second = source().replaceAll("shop", "two").replace("tables: [public.orders]", "tables: [&one public.orders, *one]");
    expect(parseText(text).sources[0]?.tables).toHaveLength(2);
    expect(parseText(`${text}---\n${second}`).sources[1]?.tables.map((one) => one.pattern.text)).toEqual([
      "public.orders",
      "public.orders",
    ]);
  });
});
