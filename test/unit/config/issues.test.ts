// mirrors src/config/problem.ts, check.ts, later.ts, document.ts: every code of an issue, where it points and what it says

import { readFileSync, readdirSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { issueCodes } from "../../../src/config/issue.ts";
import { brief, onlyIssue, parseText, refusal, service, sink, source } from "./parse-text.ts";

describe("an unknown key", () => {
  test("points at the key, names the nearest right one and lists the allowed", () => {
    const issue = onlyIssue(source("topics:\n  partition: 4\n"));
    expect(issue).toMatchObject({
      at: { file: "shop.yaml", line: 8, column: 3 },
      code: "unknown_key",
      path: "topics.partition",
      seen: "partition",
      allowed: ["prefix", "partitions", "replication", "create", "tombstones"],
      nearest: "partitions",
    });
    expect(refusal(source("topics:\n  partition: 4\n")).message).toContain(
      "shop.yaml:8:3: unknown key partition, did you mean partitions? (allowed: prefix, partitions, replication, create, tombstones)",
    );
  });

  test("that is far from every right one suggests none", () => {
    expect(onlyIssue(source("colour: red\n"))).toMatchObject({
      nearest: null,
      message: "unknown key colour (allowed: kind, name, postgres, tables, topics, snapshot, schema_changes)",
    });
  });

  test("that is near a key of a later version says so", () => {
    const issue = onlyIssue(source("wal_budgets: {}\n"));
    expect(issue.nearest).toBe("wal_budget");
    expect(issue.message).toBe(
      "unknown key wal_budgets, did you mean wal_budget? That one is not in this version (allowed: kind, name, postgres, tables, topics, snapshot, schema_changes)",
    );
  });

  test("in a list of objects has its position in the path", () => {
    expect(brief(onlyIssue(source() + sink("tables:\n  - table: public.a\n  - table: public.b\n    delete: soft\n")))).toBe(
      "16:5 unknown_key tables[1].delete",
    );
  });

  test("that stands for a required one is said once: the required one is not missing too", () => {
    expect(brief(onlyIssue(source().replace("[public.orders]", "[public.a, { tabel: public.b }]")))).toBe(
      "5:22 unknown_key tables[1].tabel",
    );
  });

  test("names the warehouses that there are", () => {
    const issue = onlyIssue(source() + sink().replace("duckdb: { path: ./lake.duckdb }", "snowflake: { account: x }"));
    expect(issue).toMatchObject({ code: "unknown_key", path: "warehouse.snowflake", allowed: ["duckdb", "postgres"] });
  });
});

describe("a wrong type", () => {
  test.each([
    ["a text for a number", source("topics: { partitions: four }\n"), "7:23 wrong_type topics.partitions", '"four"'],
    ["a number in quotes", source('topics: { partitions: "4" }\n'), "7:23 wrong_type topics.partitions", '"4"'],
    ["a fraction for a whole number", source("topics: { partitions: 1.5 }\n"), "7:23 wrong_type topics.partitions", "1.5"],
    ["a text for a boolean", source("topics: { create: yes }\n"), "7:19 wrong_type topics.create", '"yes"'],
    ["a text for a list", source().replace("[public.orders]", "public.orders"), "5:9 wrong_type tables", "a text"],
    ["a text for a map", source().replace("{ mode: no_data }", "no_data"), "6:11 wrong_type snapshot", "a text"],
    ["nothing for a map", source("topics:\n"), "7:1 wrong_type topics", "nothing"],
    ["a number for a name", source().replace("name: shop", "name: 5"), "2:7 wrong_type name", "5"],
    ["a number in a list of tables", source().replace("[public.orders]", "[5]"), "5:10 wrong_type tables[0]", "a number"],
    ["a text for the document", `${source()}---\nhello\n`, "8:1 wrong_type ", "a text"],
  ])("%s", (_, text, where, seen) => {
    const issue = onlyIssue(text);
    expect(brief(issue)).toBe(where);
    expect(issue.seen).toBe(seen);
  });

  test("a number where a text is meant is to be quoted", () => {
    expect(onlyIssue(source().replace("name: shop", "name: 5")).fix).toBe("put the value in quotes");
  });
});

describe("a missing key", () => {
  test("points at the key that should hold it", () => {
    expect(brief(onlyIssue(source().replace("  url: postgres://cdc:hunter2@db:5432/shop", "  create: true")))).toBe(
      "3:1 missing_key postgres.url",
    );
    expect(brief(onlyIssue(source().replace("name: shop\n", "")))).toBe("1:1 missing_key name");
  });

  test("kind is one of them", () => {
    expect(onlyIssue(`${source()}---\nname: x\n`)).toMatchObject({
      code: "missing_key",
      path: "kind",
      allowed: ["service", "source", "sink"],
    });
  });

  test("consistency must be written, since its default is a feature of a later version", () => {
    expect(onlyIssue(source() + sink().replace("consistency: partition\n", ""))).toMatchObject({
      code: "missing_key",
      message: "missing key consistency: its default, transaction, is not in this version",
      fix: "add consistency: partition",
    });
  });

  test("a client certificate needs its key", () => {
    const text = source() + service('log: { kafka: { brokers: [b:1], ssl: { cert: "-----BEGIN" } } }\nregistry: { url: "http://r" }\n');
    expect(onlyIssue(text)).toMatchObject({ code: "missing_key", path: "log.kafka.ssl.key" });
  });
});

describe("a value that is not allowed", () => {
  test("of a choice names the nearest", () => {
    const text = source() + sink("tables: [{ table: public.a, deletes: sfot }]\n");
    expect(onlyIssue(text)).toMatchObject({ code: "invalid_value", seen: '"sfot"', allowed: ["hard", "soft"], nearest: "soft" });
  });

  test.each([
    [
      "a column as a type that none can be asked for as",
      source().replace("[public.orders]", "[{ table: public.orders, as: { total: strnig } }]"),
      'tables[0].as.total is "strnig", did you mean string? (allowed: string, double, bytes)',
    ],
    ["partitions below 1", source("topics: { partitions: 0 }\n"), "topics.partitions is 0, allowed: a whole number from 1 to 10000"],
    ["no replicas", source("topics: { replication: 0 }\n"), "topics.replication is 0"],
    [
      "a misspelt snapshot mode",
      source().replace("no_data", "initail"),
      'snapshot.mode is "initail", did you mean initial? (allowed: initial, initial_only, no_data, when_needed, always)',
    ],
    [
      "no session to read rows",
      source().replace("no_data", "initial, parallel: 0"),
      "snapshot.parallel is 0, allowed: a whole number from 1 to 32",
    ],
    ["chunks without rows", source().replace("no_data", "initial, chunk_rows: 0"), "snapshot.chunk_rows is 0"],
    ["a limit of no row", source().replace("no_data", "initial, max_rows_per_second: 0"), "snapshot.max_rows_per_second is 0"],
    [
      "a size in powers of 1000",
      source().replace("no_data", "initial, max_lag: 1GB"),
      'snapshot.max_lag is "1GB", allowed: a size such as "512MiB" or "10GiB"',
    ],
    [
      "a lag that is always there",
      source().replace("no_data", "initial, max_lag: 0B"),
      'snapshot.max_lag is "0B", allowed: a size of at least 1MiB',
    ],
    ["a prefix that Kafka refuses", source("topics: { prefix: a/b }\n"), 'topics.prefix is "a/b"'],
    ["a prefix of dots", source('topics: { prefix: ".." }\n'), 'topics.prefix is ".."'],
    [
      "a slot in capitals",
      source().replace("postgres:\n", "postgres:\n  slot: Shop\n"),
      'postgres.slot is "Shop", allowed: 1 to 63 of a-z, 0-9 and _',
    ],
    ["a slot of 64 letters", source().replace("postgres:\n", `postgres:\n  slot: ${"a".repeat(64)}\n`), "postgres.slot is"],
    ["a publication with a space", source().replace("postgres:\n", "postgres:\n  publication: a b\n"), "postgres.publication is"],
    [
      "a table without a schema",
      source().replace("public.orders", "orders"),
      'tables[0] is "orders": it names no schema; write schema.table',
    ],
    ["a table of three parts", source().replace("public.orders", "a.b.c"), "it has 3 parts"],
    ["no table", source().replace("[public.orders]", "[]"), "tables is a list, allowed: at least one table"],
    ["a duration without a unit", source() + sink('flush: { every: "10" }\n'), "flush.every is"],
    ["a duration of nothing", source() + sink("flush: { every: 0s }\n"), "at least 1ms"],
    [
      "an unknown place in a target",
      source() + sink('tables: [{ table: public.a, into: "x.{tabel}" }]\n'),
      "only {schema} and {table} stand for something",
    ],
    ["a target without a schema", source() + sink("tables: [{ table: public.a, into: a }]\n"), "it names no schema"],
    [
      "the checkpoints' schema as target",
      source() + sink("tables: [{ table: public.a, into: _tailrace.a }]\n"),
      "schema _tailrace holds the checkpoints",
    ],
    [
      "many tables into one",
      source() + sink('tables: [{ table: "public.*", into: raw.all }]\n'),
      "several tables would go into one target",
    ],
    [
      "many schemas into one",
      source() + sink('tables: [{ table: "t_*.a", into: raw.a }]\n'),
      "tables of several schemas would go into one target",
    ],
    ["a database in memory", source() + sink().replace("./lake.duckdb", '":memory:"'), "warehouse.duckdb.path is"],
    [
      "a broker without a port",
      source() + service('log: { kafka: { brokers: [b1] } }\nregistry: { url: "http://r" }\n'),
      'log.kafka.brokers[0] is "b1", allowed: host:port',
    ],
    ["no broker", source() + service('log: { kafka: { brokers: [] } }\nregistry: { url: "http://r" }\n'), "at least one broker"],
    ["an address without a port", source() + service("http: { listen: localhost }\n"), 'http.listen is "localhost": host:port'],
    ["a port too high", source() + service('http: { listen: "localhost:65536" }\n'), "http.listen is"],
    ["a registry that is no URL", source() + service("registry: { url: registry }\n"), "registry.url is"],
    [
      "a database that is no URL",
      source().replace("postgres://cdc:hunter2@db:5432/shop", "host=db"),
      "postgres.url is [secret], allowed: a URL postgres://",
    ],
    ["a name with a space", source().replace("name: shop", "name: my shop"), 'name is "my shop"'],
  ])("%s", (_, text, message) => {
    const { issues } = refusal(text);
    expect(issues.map((one) => one.code)).toContain("invalid_value");
    expect(issues.map((one) => one.message).join("\n")).toContain(message);
  });

  test("a name whose default slot is not legal asks for a slot", () => {
    const issue = onlyIssue(source().replace("name: shop", "name: shop-EU"));
    expect(brief(issue)).toBe("2:7 invalid_value name");
    expect(issue.message).toBe("the default slot of this source, tailrace_shop-EU, is no legal name");
    expect(issue.fix).toBe("set postgres.slot: tailrace_shop_eu");
    expect(
      parseText(source().replace("name: shop", "name: shop-EU").replace("postgres:\n", "postgres:\n  slot: s\n")).sources[0]?.postgres.slot,
    ).toBe("s");
  });
});

describe("what this version lacks is refused by name", () => {
  const entry = (more: string): string => source().replace("[public.orders]", `[{ table: public.orders, ${more} }]`);
  const target = (more: string): string => source() + sink(`tables: [{ table: public.orders, ${more} }]\n`);
  test.each([
    ["wal_budget", source("wal_budget: { warn: 10GiB, action: alert }\n")],
    ["tables[0].columns", entry("columns: { exclude: [notes] }")],
    ["tables[0].mask", entry('mask: { email: { hmac: "${file:/run/secrets/pepper}" } }')],
    ["delivery", source("delivery: exactly_once\n")],
    ["consistency: transaction", source() + sink().replace("partition", "transaction")],
    ["tables[0].mode: append", target("mode: append")],
    ["tables[0].mode: scd2", target("mode: scd2")],
    ["tables[0].contract", target("contract: orders.odcs.yaml")],
    ["warehouse.duckdb.hold: always", source() + sink().replace("./lake.duckdb", "./lake.duckdb, hold: always")],
    ["http.token", source() + service('http: { token: "${file:/run/secrets/console}" }\n')],
    ["log.embedded.retention", source() + service("log: { embedded: { path: x, retention: { time: 7d } } }\n")],
  ])("%s", (name, text) => {
    const issue = onlyIssue(text);
    expect(issue.code).toBe("not_in_this_version");
    expect(issue.message).toContain(`\`${name}\` is not in this version`);
  });
});

describe("between documents", () => {
  test("a second source or sink of a name is refused where it stands", () => {
    const issue = onlyIssue(source() + sink().replace("lake", "shop"));
    expect(brief(issue)).toBe("9:7 duplicate_name name");
    expect(issue.message).toBe('name "shop" is taken by the source at shop.yaml:2');
    expect(onlyIssue(`${source()}---\n${source()}`).code).toBe("duplicate_name");
  });

  test("two sources with one topic prefix would write into one another's topics; . and _ are the same to Kafka", () => {
    const second = source("topics: { prefix: a.b }\n").replace("name: shop", "name: two");
    expect(onlyIssue(`${source("topics: { prefix: a_b }\n")}---\n${second}`)).toMatchObject({
      code: "duplicate_name",
      path: "topics.prefix",
    });
  });

  test("two sources with one slot of one server are refused, of two servers not", () => {
    const first = source().replace("postgres:\n", "postgres:\n  slot: s\n");
    const second = first.replace("name: shop", "name: two");
    expect(onlyIssue(`${first}---\n${second.replace("5432/shop", "5432/other")}`)).toMatchObject({
      code: "duplicate_name",
      path: "postgres.slot",
    });
    expect(parseText(`${first}---\n${second.replace("db:5432", "db2:5432")}`).sources).toHaveLength(2);
  });

  test("two targets of one name in a sink are refused", () => {
    const text = source() + sink("tables: [{ table: public.a, into: x.y }, { table: public.b, into: x.y }]\n");
    expect(onlyIssue(text)).toMatchObject({
      code: "duplicate_name",
      path: "tables[1].into",
      message: 'target "x.y" is taken by tables[0]',
    });
  });

  test("an entry of tables that says something of tables which one before it takes is refused: nobody would follow it", () => {
    const shadowed = source().replace("[public.orders]", '["public.*", { table: public.orders, as: { total: string } }]');
    expect(onlyIssue(shadowed)).toMatchObject({
      at: { line: 5, column: 31 },
      code: "invalid_value",
      path: "tables[1].table",
      message: 'tables[1], of "public.orders", is never come to: tables[0], "public.*", takes all of that before it',
      fix: "put it before tables[0]",
    });
    const behind = sink('tables: [{ table: "*.*" }, { table: public.a }, { table: "public.*", deletes: soft }]\n');
    expect(onlyIssue(source() + behind)).toMatchObject({ code: "invalid_value", path: "tables[2].table" });
    for (const fine of [
      source().replace("[public.orders]", '["public.*", public.orders]'), // it names a table that must be there
      source().replace("[public.orders]", '[public.orders, { table: "public.*", as: { total: string } }]'),
      source() + sink('tables: [{ table: public.a, into: x.y }, { table: "public.*", deletes: soft }]\n'),
      source() + sink('tables: [{ table: "public.*", deletes: soft }, { table: public.a, deletes: soft }]\n'), // the same
      source().replace("[public.orders]", '["public.*", { table: public.orders, as: {} }]'),
    ])
      expect(parseText(fine).sources).toHaveLength(1);
  });

  test("a sink whose source does not exist names the nearest", () => {
    const issue = onlyIssue(source() + sink().replace("source: shop", "source: shp"));
    expect(brief(issue)).toBe("10:9 no_such_source source");
    expect(issue).toMatchObject({
      allowed: ["shop"],
      nearest: "shop",
      message: 'no source is called "shp", did you mean shop? (allowed: shop)',
    });
  });

  test("a sink's own name is no source", () => {
    expect(onlyIssue(source() + sink().replace("source: shop", "source: lake")).code).toBe("no_such_source");
  });

  test("no source at all is an issue of the folder", () => {
    expect(onlyIssue("kind: service\n")).toMatchObject({ code: "no_source", at: { file: "/etc/tailrace", line: 0 } });
  });

  test("a second service document points at the first", () => {
    const issue = onlyIssue(source() + service("") + service("http: {}\n"));
    expect(brief(issue)).toBe("10:7 duplicate_service kind");
    expect(issue.message).toContain("shop.yaml:8");
  });

  test("Kafka needs a registry", () => {
    expect(brief(onlyIssue(source() + service("log:\n  kafka: { brokers: [b:9092] }\n")))).toBe("10:3 needs_registry registry");
  });

  test.each([
    [
      "of the source",
      source("topics: { create: false }\nschema_changes: { incompatible: version }\n"),
      "8:33",
      "schema_changes.incompatible",
    ],
    [
      "of an entry of its tables",
      source("topics: { create: false }\n").replace(
        "[public.orders]",
        "[public.a, { table: public.b, schema_changes: { incompatible: version } }]",
      ),
      "5:71",
      "tables[1].schema_changes.incompatible",
    ],
  ])("a version %s needs its topic made", (_, text, place, path) => {
    const issue = onlyIssue(text);
    expect(brief(issue)).toBe(`${place} invalid_value ${path}`);
    expect(issue).toMatchObject({ seen: '"version"', fix: "write park or stop, or set topics.create: true" });
  });

  test("one log and one warehouse only", () => {
    const both = service('log:\n  embedded: {}\n  kafka: { brokers: [b:1] }\nregistry: { url: "http://r" }\n');
    expect(brief(onlyIssue(source() + both))).toBe("11:3 choose_one log");
    const two = sink().replace("duckdb: {", "postgres: { url: postgres://a/b }, duckdb: {");
    expect(onlyIssue(source() + two)).toMatchObject({ code: "choose_one", path: "warehouse" });
    expect(onlyIssue(source() + sink().replace("duckdb: { path: ./lake.duckdb }", ""))).toMatchObject({
      code: "choose_one",
      seen: "nothing",
    });
  });
});

describe("YAML", () => {
  test("that does not parse is reported once, where it breaks, and says nothing of what it may have held", () => {
    const issue = onlyIssue(source().replace("{ mode: no_data }", "{ mode: no_data"));
    expect(issue.code).toBe("yaml_syntax");
    expect(onlyIssue("kind: source\n\tname: shop\n")).toMatchObject({
      code: "yaml_syntax",
      at: { line: 2, column: 1 },
      message: "a tab indents this line",
    });
  });

  test("of one file that does not parse hides no problem of another document", () => {
    const { issues } = refusal(`kind: sink\nname: "x\n`.concat("---\n", source("colour: red\n")));
    expect(issues.map((one) => one.code)).toContain("yaml_syntax");
  });

  test("an unquoted glob is no alias", () => {
    const issue = onlyIssue(source().replace("[public.orders]", "\n  - *.orders"));
    expect(issue).toMatchObject({ code: "yaml_syntax", at: { line: 6, column: 5 }, fix: "quote the value" });
  });

  test("an alias inside its own anchor is refused", () => {
    expect(refusal(source("topics: &t { prefix: *t }\n")).issues.map((one) => one.code)).toContain("yaml_syntax");
  });

  test("a tag and a key that is no word are refused", () => {
    expect(onlyIssue(source().replace("name: shop", "name: !secret shop")).code).toBe("yaml_syntax");
    expect(onlyIssue(source("? [a]\n: 1\n")).code).toBe("yaml_syntax");
  });

  test("a key that stands twice is refused at the second", () => {
    const issue = onlyIssue(source("name: again\n"));
    expect(issue).toMatchObject({ code: "duplicate_key", at: { line: 7, column: 1 }, path: "name", message: "key name stands here twice" });
  });

  test("an unknown kind names the nearest", () => {
    expect(onlyIssue(`${source()}---\nkind: snik\n`)).toMatchObject({
      code: "unknown_kind",
      at: { line: 8, column: 7 },
      seen: '"snik"',
      nearest: "sink",
    });
  });
});

describe("references", () => {
  const url = (value: string): string => source().replace("postgres://cdc:hunter2@db:5432/shop", value);

  test("to a variable that is not set name it", () => {
    const issue = onlyIssue(url('"${SHOP_URL}"'));
    expect(issue).toMatchObject({ code: "unset_variable", at: { line: 4, column: 8 }, path: "postgres.url", seen: "${SHOP_URL}" });
    expect(issue.message).toBe("environment variable SHOP_URL is not set");
  });

  test("to a file that can't be read name it", () => {
    const issue = onlyIssue(url('"${file:secrets/url}"'));
    expect(issue).toMatchObject({ code: "missing_file", message: "file /etc/tailrace/secrets/url can't be read (ENOENT)" });
  });

  test("to a PEM file that can't be read point at it", () => {
    const text = source() + service('log: { kafka: { brokers: [b:1], ssl: { ca: ca.pem } } }\nregistry: { url: "http://r" }\n');
    expect(onlyIssue(text)).toMatchObject({ code: "missing_file", path: "log.kafka.ssl.ca" });
  });

  test.each([["url: ${SHOP_URL}"], ["{ url: ${SHOP_URL} }"], ["url: a${SHOP_URL}b"], ["url: |\n    ${SHOP_URL}"]])(
    "without quotes ask for them: %s",
    (written) => {
      const text = source().replace("url: postgres://cdc:hunter2@db:5432/shop", written);
      expect(refusal(text, { env: { SHOP_URL: "postgres://a/b" } }).issues.map((one) => one.code)).toContain("unquoted_reference");
    },
  );

  test.each(["${}", "${A", "${A:default}", "${1A}", "${file:}", "${A-b}"])("%s is none", (text) => {
    expect(refusal(url(JSON.stringify(text)), { env: { A: "x" } }).issues.map((one) => one.code)).toContain("bad_reference");
  });

  test("give numbers and booleans where those belong", () => {
    const env = { N: "12", T: "false" };
    const { topics } =
      parseText(source('topics: { partitions: "${N}", create: "${T}", replication: "${R:-3}" }\n'), { env }).sources[0] ?? {};
    expect(topics).toMatchObject({ partitions: 12, create: false, replication: 3 });
    expect(onlyIssue(source('topics: { partitions: "${N:-4}" }\n'), { env: { N: "many" } })).toMatchObject({
      code: "wrong_type",
      seen: '"${N:-…}"',
    });
  });

  test("move no line and inject no YAML", () => {
    const config = parseText(
      source().replace("name: shop", 'name: "${NAME}"').replace("postgres:\n", "postgres:\n  slot: s\n  publication: p\n"),
      { env: { NAME: "a" } },
    );
    expect(config.sources[0]?.name).toBe("a");
    const issue = onlyIssue(source().replace("name: shop", 'name: "${NAME}"'), { env: { NAME: "a\ntopics: {}" } });
    expect(issue.code).toBe("invalid_value");
  });
});

test("all problems are reported at once, in the order of their places", () => {
  const { issues, message } = refusal(
    source("topics: { partitions: many, tombstone: true }\nwal_budget: { action: alert }\n").replace(
      "postgres://cdc:hunter2@db:5432/shop",
      '"${NOT_SET}"',
    ) + sink("flush: { every: soon }\n").replace("source: shop", "source: shpo"),
  );
  expect(issues.map(brief)).toEqual([
    "4:8 unset_variable postgres.url",
    "7:23 wrong_type topics.partitions",
    "7:29 unknown_key topics.tombstone",
    "8:1 not_in_this_version wal_budget",
    "12:9 no_such_source source",
    "15:17 invalid_value flush.every",
  ]);
  expect(message).toMatch(/^the configuration has 6 problem\(s\)\nshop\.yaml:4:8: /);
});

test("every code of an issue has a test", () => {
  const folder = new URL(".", import.meta.url);
  const tests = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));
  expect(issueCodes.filter((code) => !tests.some((text) => new RegExp(`["\\s]${code}["\\s]`).test(text)))).toEqual([]);
});
