// What `tailrace drop` takes away of a source, and what it leaves, on a real server and an embedded log.
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { SourceConfig } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/load.ts";
import type { EventLog } from "../../../src/core/event-log.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embedded-log.ts";
import { dropSource } from "../../../src/service/drop.ts";
import { postgres, uniqueName, type TestDatabase } from "../../support/servers.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { collect, connectionOf } from "../collect.ts";

const { signal } = new AbortController();
let folder: string;
let log: EventLog;
let database: TestDatabase;
let name: string;

beforeEach(async () => {
  folder = await temporaryFolder("drop");
  log = await openEmbeddedLog({ path: folder });
  database = await (await postgres()).createDatabase("drop");
  name = uniqueName("drop");
  await database.sql(`CREATE TABLE a (id int PRIMARY KEY); CREATE PUBLICATION ${name} FOR TABLE a`);
  await database.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
  for (const topic of ["state", "barriers", "public.a"])
    await log.createTopic({ name: `${name}.${topic}`, partitions: 1, replication: -1, configs: {} }, signal);
});
afterEach(async () => {
  await log[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function source(postgresKeys: Readonly<Record<string, unknown>> = {}, url = database.url): SourceConfig {
  const keys = { url, slot: name, publication: name, ...postgresKeys };
  const document = { kind: "source", name, postgres: keys, tables: ["public.*"], snapshot: { mode: "no_data" } };
  const config = parseConfig([{ name: "a.yaml", text: JSON.stringify(document) }], { dir: "/", env: {}, readFile: () => "" });
  return config.sources[0]!;
}

async function standing(): Promise<readonly string[]> {
  const [slots, publications] = await Promise.all([
    database.sql("SELECT 1 FROM pg_replication_slots WHERE slot_name = $1", [name]),
    database.sql("SELECT 1 FROM pg_publication WHERE pubname = $1", [name]),
  ]);
  const topics = await log.topics([`${name}.state`, `${name}.barriers`, `${name}.public.a`], signal);
  return [
    ...(slots.length > 0 ? ["slot"] : []),
    ...(publications.length > 0 ? ["publication"] : []),
    ...topics.map((topic) => topic.name.slice(name.length + 1)).sort(),
  ];
}

test("slot, publication and state go, events stay; a second time there is nothing to drop", async () => {
  const { dropped, left } = await dropSource(source(), log, { foreignToo: false }, signal);
  expect(dropped.toSorted()).toEqual([`publication ${name}`, `slot ${name}`, `topic ${name}.barriers`, `topic ${name}.state`]);
  expect(left).toEqual([]);
  expect(await standing()).toEqual(["public.a"]);
  expect(await dropSource(source(), log, { foreignToo: false }, signal)).toMatchObject({ dropped: [], left: [] });
});

test("create: false keeps slot and publication, unless that was asked for", async () => {
  const theirs = source({ create: false });
  const { kept } = await dropSource(theirs, log, { foreignToo: false }, signal);
  expect(kept).toContain(`slot ${name} and publication ${name}: create is false`);
  expect(await standing()).toEqual(["slot", "publication", "public.a"]);
  await dropSource(theirs, log, { foreignToo: true }, signal);
  expect(await standing()).toEqual(["public.a"]);
});

test("while somebody reads the slot, everything that is the reader's stays, and is named", async () => {
  await using _reader = await collect({ connection: connectionOf(database.url), slot: name, publication: name });
  const { dropped, left } = await dropSource(source(), log, { foreignToo: false }, signal);
  expect(dropped).toEqual([]);
  expect(left[0]).toMatch(new RegExp(`^slot ${name}: PID \\d+ \\(tailrace test\\) reads it$`));
  expect(left).toHaveLength(3);
  expect(await standing()).toEqual(["slot", "publication", "barriers", "public.a", "state"]);
});

test("a slot of the name that is not ours is left alone", async () => {
  await database.sql("SELECT pg_drop_replication_slot($1)", [name]);
  await database.sql("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [name]);
  const { left } = await dropSource(source(), log, { foreignToo: true }, signal);
  expect(left).toEqual([`slot ${name}: its plugin is test_decoding, not pgoutput`]);
  expect(await standing()).toEqual(["slot", "public.a"]);
});

test("a database that does not answer keeps the slot; the state stays too: who knows who reads it", async () => {
  const { left } = await dropSource(source({}, "postgres://nobody@127.0.0.1:1/none"), log, { foreignToo: false }, signal);
  expect(left[0]).toMatch(new RegExp(`^slot ${name} and publication ${name}: PostgreSQL at 127\\.0\\.0\\.1:1/none does not answer`));
  expect(await standing()).toEqual(["slot", "publication", "barriers", "public.a", "state"]);
});
