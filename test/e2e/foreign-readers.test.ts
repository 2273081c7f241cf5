// Readers of other projects on our topics, as their users run them: Apache Flink's format debezium-avro-confluent (rows and row kinds)
// and confluent-kafka's AvroDeserializer with fastavro (values). The first comes from Maven Central; the second from PyPI, which not
// every build machine reaches: without it these tests are skipped, and that is said. What docs/readers.md says of them is proved here.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { flinkReader, type FlinkReader } from "../support/flink.ts";
import { pythonReader, pythonWithReaders, type PythonRecord } from "../support/python.ts";
import { describeWithFlink, describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sourceDocument, until } from "./scene.ts";

const found = await pythonWithReaders();
if ("missing" in found) process.stderr.write(`\n!!! TESTS WILL BE SKIPPED: ${found.missing}\n\n`);

/** The first run on a machine downloads. */
const FETCH_MS = 300_000;
const prefix = uniqueName("readers");
const topicOf = (table: string): string => `${prefix}.public.${table}`;

let database: TestDatabase;
let scene: Scene;
let servers: { readonly brokers: readonly string[]; readonly registryUrl: string };

describeWithKafka("a table of many types, with an insert, an update, NULLs, a changed key, a delete and a TRUNCATE", () => {
  beforeAll(async () => {
    servers = { brokers: (await kafka()).brokers, registryUrl: (await registry()).url };
    database = await (await postgres()).createDatabase("readers");
    scene = await Scene.open();
    await database.sql(`
      CREATE TABLE orders (id bigint, region text, note text, amount numeric(12,2), pieces int, few smallint, ratio float8, flag bool, day date,
        at timestamp, at_tz timestamptz, clock time, code uuid, tags text[], body bytea, facts jsonb, span interval, PRIMARY KEY (id, region));
      ALTER TABLE orders REPLICA IDENTITY FULL;
      CREATE TABLE plain (id int PRIMARY KEY, note text, ends timestamptz);
      INSERT INTO orders VALUES (1, 'nörd', 'read by the snapshot', -12.50, 2147483647, -3, 0.1, true, '1969-12-31', '2026-03-01 12:00:00.000001',
        '2026-03-01 12:00:00.000001+02', '23:59:59.999999', '5f0b0cd8-9f9f-4c1e-8d0a-000000000001', '{a,NULL,"b c"}', '\\x00ff', '{"a": 1}',
        '1 day 2 hours')`);
    const tables = ["public.orders", "public.plain"];
    const source = { name: "shop", url: database.url, tables, postgres: { slot: prefix, publication: prefix } };
    await scene.configure(
      { kind: "service", log: { kafka: { brokers: servers.brokers } }, registry: { url: servers.registryUrl } },
      { ...sourceDocument({ ...source, topics: { prefix, partitions: 1 } }), snapshot: { mode: "initial" } },
    );
    await scene.start();
    await until(async () => {
      expect(await scene.source("shop")).toMatchObject({ state: "running", publishedEvents: 1 });
    });
    await database.sql("INSERT INTO orders VALUES (2, '')");
    await database.sql("UPDATE orders SET note = 'ünï', amount = 9999999999.99 WHERE id = 1");
    await database.sql("UPDATE orders SET id = 9007199254740993 WHERE id = 1");
    await database.sql("DELETE FROM orders WHERE id = 2");
    await database.sql("TRUNCATE orders");
    await database.sql(`INSERT INTO plain VALUES (1, 'a', NULL), (2, 'b', 'infinity'); UPDATE plain SET note = 'c' WHERE id = 1;
      DELETE FROM plain WHERE id = 2`);
    await until(async () => {
      expect(await scene.source("shop")).toMatchObject({ publishedEvents: 11 });
    });
  });

  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  describeWithFlink("read by Flink's debezium-avro-confluent", () => {
    let flink: FlinkReader;
    beforeAll(async () => {
      flink = await flinkReader(servers);
    }, FETCH_MS);
    afterAll(() => flink[Symbol.asyncDispose]());

    test("the rows and their kinds are the table's, in order; tombstones are passed over, and a TRUNCATE is refused by name", async () => {
      const columns = [
        "id BIGINT, region STRING, note STRING, amount DECIMAL(12, 2), pieces INT, few INT, ratio DOUBLE, flag BOOLEAN, `day` DATE",
        "`at` BIGINT, at_tz BIGINT, clock BIGINT, code STRING, tags ARRAY<STRING>, body BYTES, facts STRING, span STRING",
      ];
      const times = `1969-12-31, ${micros("2026-03-01T12:00:00.000Z") + 1}, ${micros("2026-03-01T10:00:00.000Z") + 1}, 86399999999`;
      const others = `5f0b0cd8-9f9f-4c1e-8d0a-000000000001, [a, null, b c], [0, -1], {"a": 1}, P1DT2H`;
      const row = (id: string, note: string, amount: string): string =>
        `[${id}, nörd, ${note}, ${amount}, 2147483647, -3, 0.1, true, ${times}, ${others}]`;
      const empty = `[2, , ${Array<string>(15).fill("null").join(", ")}]`;
      const lines = await flink.read(topicOf("orders"), `ROW<${columns.join(", ")}>`);
      expect(lines).toEqual([
        `+I${row("1", "read by the snapshot", "-12.50")}`,
        `+I${empty}`,
        `-U${row("1", "read by the snapshot", "-12.50")}`,
        `+U${row("1", "ünï", "9999999999.99")}`,
        `-D${row("1", "ünï", "9999999999.99")}`,
        `+I${row("9007199254740993", "ünï", "9999999999.99")}`,
        `-D${empty}`,
        expect.stringContaining('refused Unknown "op" value "t"'),
      ]);
    });

    test("an update of a table without REPLICA IDENTITY FULL is refused by name, and its delete has the key alone", async () => {
      expect(await flink.read(topicOf("plain"), "ROW<id INT, note STRING, ends BIGINT>")).toEqual([
        "+I[1, a, null]",
        "+I[2, b, 9223372036854775807]",
        expect.stringMatching(/^refused The "before" field of UPDATE message is null.*REPLICA IDENTITY to FULL/),
        "-D[2, null, null]",
      ]);
    });

    test("a timestamp declared as TIMESTAMP(3) is taken for milliseconds, so that it has to be a BIGINT", async () => {
      const [first] = await flink.read(topicOf("orders"), "ROW<id BIGINT, `at` TIMESTAMP(3)>");
      expect(first).toMatch(/^\+I\[1, \+58\d{3}-/);
    });
  });

  describe.skipIf("missing" in found)("read by confluent-kafka's AvroDeserializer", () => {
    const read = async (table: string): Promise<readonly PythonRecord[]> => {
      if ("missing" in found) throw new Error(found.missing);
      return pythonReader(found.python, servers).read(topicOf(table));
    };

    test("keys, rows, numbers and times are the table's, each in Python's own type", async () => {
      const key = { id: 1, region: "nörd" };
      const moved = { id: "int 9007199254740993", region: "nörd" };
      const others = {
        pieces: 2147483647,
        few: -3,
        ratio: 0.1,
        flag: true,
        day: "date 1969-12-31",
        at: "datetime 2026-03-01 12:00:00.000001",
        at_tz: "datetime 2026-03-01 10:00:00.000001+00:00",
        clock: "time 23:59:59.999999",
        code: "UUID 5f0b0cd8-9f9f-4c1e-8d0a-000000000001",
        tags: ["a", null, "b c"],
        body: "bytes b'\\x00\\xff'",
        facts: '{"a": 1}',
        span: "P1DT2H",
      };
      const first = { ...key, note: "read by the snapshot", amount: "Decimal -12.50", ...others };
      const second = { ...first, note: "ünï", amount: "Decimal 9999999999.99" };
      const emptyKey = { id: 2, region: "" };
      const empty = { ...Object.fromEntries(Object.keys(first).map((name) => [name, null])), ...emptyKey };
      const event = (op: string, before: unknown, after: unknown, movedFrom: unknown = null): unknown =>
        expect.objectContaining({ op, before, after, unchanged: [], moved_from: movedFrom });
      expect(await read("orders")).toEqual([
        [key, event("r", null, first)],
        [emptyKey, event("c", null, empty)],
        [key, event("u", first, second)],
        [key, event("d", second, null)],
        [key, null],
        [moved, event("c", null, { ...second, ...moved }, key)],
        [emptyKey, event("d", empty, null)],
        [emptyKey, null],
        [null, event("t", null, null)],
      ]);
    });

    test("an infinite timestamp is refused: Python's datetime ends with the year 9999", async () => {
      expect((await read("plain"))[1]).toEqual([{ id: 2 }, "refused OverflowError"]);
    });
  });
});

/** Since 1970. */
function micros(time: string): number {
  return Date.parse(time) * 1000;
}
