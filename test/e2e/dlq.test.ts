// Dead letters on the command line: the same answer from the running service and without one.
import { DuckDBInstance } from "@duckdb/node-api";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ended } from "../support/command.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

let database: TestDatabase;
let warehouse: TestDatabase;
let scene: Scene;
let prefix: string;

const MADE = "CREATE SCHEMA copy; CREATE TABLE copy.picky (id int PRIMARY KEY, amount numeric(6,2) CHECK (amount < 100), seen timestamptz)";
const NAMES = ["shop", "lake", "mart"];

beforeAll(async () => {
  database = await (await postgres()).createDatabase("dlq");
  warehouse = await (await postgres()).createDatabase("warehouse");
  scene = await Scene.open();
  await database.sql("CREATE TABLE picky (id int PRIMARY KEY, amount numeric(6,2), seen timestamptz)");
  await warehouse.sql(MADE);
  const instance = await DuckDBInstance.create(path.join(scene.folder, "lake.duckdb"));
  const connection = await instance.connect();
  await connection.run(MADE);
  connection.closeSync();
  instance.closeSync();
  prefix = uniqueName("dlq");
  const tables = [{ table: "public.*", into: "copy.{table}" }];
  await scene.configure(
    sourceDocument({
      name: "shop",
      url: database.url,
      tables: ["public.*"],
      postgres: { slot: prefix, publication: prefix },
      topics: { prefix, partitions: 1 },
    }),
    sinkDocument({ name: "lake", source: "shop", tables }),
    sinkDocument({ name: "mart", source: "shop", tables, warehouse: { postgres: { url: warehouse.url } } }),
  );
});

afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  await warehouse[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const dlq = async (which: string, ...words: string[]): Promise<Ended> => scene.command("dlq", words, {}, which);

async function listed(name: string): Promise<readonly Record<string, unknown>[]> {
  const { code, stdout, stderr } = await dlq("list", name, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  return (JSON.parse(stdout) as { letters: Record<string, unknown>[] }).letters;
}

test("before anything was made there are none, and nothing is made to say so", async () => {
  for (const name of ["shop", "mart"]) expect(await listed(name)).toEqual([]);
  expect(await dlq("list", "lake")).toMatchObject({ code: 0, stdout: "lake has no open dead letters\n" });
  expect(await warehouse.sql("SELECT to_regnamespace('_tailrace') AS made")).toEqual([{ made: null }]);
});

test("they are listed with table, key, place, code, time and reason, and shown whole, by a running service as without one", async () => {
  await scene.start();
  await scene.reaches({ shop: "running", lake: "running", mart: "running" });
  await database.sql("INSERT INTO picky VALUES (1, 5, NULL), (2, 500.25, '2026-01-02 03:04:05.000006Z'), (3, 'NaN', NULL)");
  await until(async () => {
    for (const name of NAMES) expect(await listed(name), name).toHaveLength(1);
  });
  const running = await everything();
  expect(await scene.stop()).toMatchObject({ code: 0 });
  expect(await everything()).toEqual(running);

  const sequence = expect.stringMatching(/^0001-[0-9a-f]{16}-[0-9a-f]{12}$/) as string;
  const time = expect.stringMatching(/^20\d\d-.*Z$/) as string;
  const lsn = expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/) as string;
  const [shop, ...sinks] = running.map(({ letter }) => letter);
  expect(shop).toMatchObject({ id: "0", of: "public.picky", op: "c", key: { id: 3 }, code: "VALUE_OUT_OF_RANGE", sequence, time, lsn });
  for (const letter of sinks)
    expect(letter).toMatchObject({
      ...{ of: `${prefix}.public.picky`, op: "c", key: { id: 2 }, code: "ROW_REFUSED", state: "open", sequence, time, lsn },
      ...{ reason: expect.stringContaining("copy.picky") as string, before: null, unreadable: null },
      after: { id: 2, amount: "500.25", seen: "2026-01-02T03:04:05.000006Z" },
    });
  const [, lake] = running;
  expect(lake?.text).toContain('  amount = "500.25"\n');
  expect((await dlq("list", "lake")).stdout).toMatch(/^dlq\S+:0:1 · .* \{"id":2\} · ROW_REFUSED · 20.* · LSN .*\n {2}.*copy\.picky/);
});

/** Each connector's letter, for a machine and for a person. */
async function everything(): Promise<readonly { readonly letter: Record<string, unknown>; readonly text: string }[]> {
  const found = [];
  for (const name of NAMES) {
    const [{ id } = { id: "" }] = await listed(name);
    const { code, stdout } = await dlq("show", name, String(id), "--json");
    expect(code).toBe(0);
    found.push({ letter: JSON.parse(stdout) as Record<string, unknown>, text: (await dlq("show", name, String(id))).stdout });
  }
  return found;
}

test.each([
  [["list"], "which connector?"],
  [["list", "shp"], "did you mean shop?"],
  [["show", "shop"], "which letter?"],
  [["show", "shop", "77"], "shop has no dead letter 77"],
  [["show", "lake", "0"], "lake has no dead letter 0"],
  [["show", "lake", "t:0:9"], "lake has no dead letter t:0:9"],
  [["replay", "lake"], "dlq replay: there is dlq list and dlq show"],
])("%j is refused as usage", async ([which = "", ...words], problem) => {
  const { code, stderr } = await dlq(which, ...words);
  expect(stderr).toContain(problem);
  expect(code).toBe(2);
});
