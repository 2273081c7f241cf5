// What happens to a value that no event can hold, in either protocol, and to a column whose type asks for the other protocol.
// Values that events can hold: type-table.test.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import { deadLetterTopic } from "../../src/source/dead-letters.ts";
import { withLog } from "../support/scan.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

const kinds = ["bin", "txt"] as const;
type Kind = (typeof kinds)[number];

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
const prefix = uniqueName("types");

beforeAll(async () => {
  database = await (await postgres()).createDatabase("types");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql("CREATE TYPE floatrange AS RANGE (subtype = float8)");
  for (const kind of kinds) {
    await database.sql(`CREATE SCHEMA ${kind};
      CREATE TABLE ${kind}.limits (id int PRIMARY KEY, amount numeric(12,2), at timestamp, body text, list int[])`);
  }
  await database.sql("CREATE TABLE bin.late (id int PRIMARY KEY, note text); CREATE TABLE txt.asked (id int PRIMARY KEY, words tsquery)");
  await scene.configure(
    ...kinds.flatMap((kind) => [
      sourceDocument({
        name: kind,
        url: database.url,
        tables: [`${kind}.*`],
        postgres: { slot: `${prefix}_${kind}`, publication: `${prefix}_${kind}` },
        topics: { prefix: `${prefix}-${kind}` },
      }),
      sinkDocument({ name: `${kind}-lake`, source: kind }),
      sinkDocument({ name: `${kind}-mart`, source: kind, warehouse: { postgres: { url: warehouse.url } } }),
    ]),
  );
  await scene.start();
  await scene.reaches(
    Object.fromEntries(
      kinds.flatMap((kind) => [
        [kind, "running"],
        [`${kind}-lake`, "running"],
        [`${kind}-mart`, "running"],
      ]),
    ),
  );
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const protocols = (kind: Kind): unknown[] =>
  scene.lines.filter(({ connector, message }) => connector === kind && message === "streaming").map(({ protocol }) => protocol);

/** Of rows 2, 3, 5, 7 and 8 of the test below. */
const LETTERS = ["VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE", "ROW_TOO_LARGE", "VALUE_OUT_OF_RANGE", "VALUE_OUT_OF_RANGE"];

test.each(kinds)("a value that no event can hold is a dead letter of the source, which goes on: %s", async (kind) => {
  await database.sql(
    `INSERT INTO ${kind}.limits VALUES (1, 1, '2026-01-01'), (2, 'NaN', '2026-01-01'), (3, 1, '294247-01-10 04:00:54.775807'), (4, 1, NULL)`,
  );
  await database.sql(`INSERT INTO ${kind}.limits SELECT 5, 1, NULL, repeat('x', 17 * 1024 * 1024)`);
  await database.sql(
    `INSERT INTO ${kind}.limits VALUES (7, 1, NULL, NULL, '{{1,2}}'), (8, 1, NULL, NULL, '[0:0]={1}'), (6, 1, NULL, NULL, '{1}')`,
  );
  const there = async (ids: readonly number[]): Promise<void> => {
    await until(async () => {
      const sql = `SELECT id FROM ${kind}.limits ORDER BY id`;
      expect(await warehouse.sql(sql)).toEqual(ids.map((id) => ({ id })));
      expect(await scene.duckdb(sql)).toEqual(ids.map((id) => ({ id })));
    });
  };
  await there([1, 4, 6]);
  expect(protocols(kind)).toEqual([kind === "bin" ? "binary" : "text"]);
  expect(await scene.source(kind)).toMatchObject({ state: "running", restarts: 0, deadLetters: 5 });
  const metric = await scene.metricByLabels("tailrace_dead_letters_total");
  expect(metric.get(`{connector="${kind}",code="VALUE_OUT_OF_RANGE"}`)).toBe(4);
  expect(metric.get(`{connector="${kind}",code="ROW_TOO_LARGE"}`)).toBe(1);
  const said = scene.lines
    .filter(({ connector, message }) => connector === kind && message === "dead letter")
    .map(({ code, table }) => `${String(code)} ${String(table)}`);
  expect(said).toEqual(LETTERS.map((code) => `${code} ${kind}.limits`));
  // What the remedy says: the corrected row's next event supersedes it.
  await database.sql(`UPDATE ${kind}.limits SET amount = 2, at = NULL, list = NULL WHERE id IN (2, 3, 7, 8)`);
  await there([1, 2, 3, 4, 6, 7, 8]);
});

test("a column whose type is read as text turns up while the stream is binary: it starts anew as text, once, and nothing is lost", async () => {
  await database.sql("INSERT INTO bin.late VALUES (1, 'before')");
  await database.sql(
    "BEGIN; INSERT INTO bin.late VALUES (2, 'same'); ALTER TABLE bin.late ADD COLUMN place public.floatrange; INSERT INTO bin.late VALUES (3, 'same', '[1,2)'); COMMIT",
  );
  await database.sql("INSERT INTO bin.late VALUES (4, 'after', '[-2,1.5)')");
  const rows = [
    { id: 1, note: "before", place: null },
    { id: 2, note: "same", place: null },
    { id: 3, note: "same", place: "[1,2)" },
    { id: 4, note: "after", place: "[-2,1.5)" },
  ];
  await until(async () => {
    expect(await warehouse.sql("SELECT id, note, place FROM bin.late ORDER BY id")).toEqual(rows);
    expect(await scene.duckdb("SELECT id, note, place FROM bin.late ORDER BY id")).toEqual(rows);
  });
  await scene.reaches({ bin: "running" });
  expect(protocols("bin")).toEqual(["binary", "text"]);
  expect((await scene.source("bin")).restarts).toBe(1);
});

test("the source's dead letters hold what is needed to find the row: table, operation, sequence, key, code and the message's bytes", async () => {
  expect(await scene.stop()).toMatchObject({ code: 0 });
  await withLog(scene, async (log) => {
    const topic = deadLetterTopic(`${prefix}-bin`);
    const { records } = await log.read({ topic, partition: 0, offset: 0 }, 1 << 22, AbortSignal.timeout(10_000));
    const letters = records.map(({ key, value }) => ({ key, ...(JSON.parse(value?.toString() ?? "") as Record<string, unknown>) }));
    expect(letters).toEqual(
      LETTERS.map((code) => {
        return expect.objectContaining({
          code,
          table: "bin.limits",
          op: "c",
          key: expect.any(Buffer),
          sequence: expect.stringMatching(/^0001-[0-9a-f]{16}-[0-9a-f]{12}$/),
        });
      }),
    );
    // The third byte of the key's body on is Avro's; ids 2, 3, 5, 7 and 8 are zigzag 4, 6, 10, 14 and 16.
    expect(letters.map(({ key }) => key?.[5])).toEqual([4, 6, 10, 14, 16]);
  });
});
