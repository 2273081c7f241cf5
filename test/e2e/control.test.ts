// An operator at work on a running service, by its control socket and by SIGHUP.
import { existsSync } from "node:fs";
import { rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sinkDocument, sourceDocument, until, type Document } from "./scene.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

type Shop = {
  readonly scene: Scene;
  readonly database: TestDatabase;
  readonly slot: string;
  readonly source: (tables: readonly string[]) => Document;
};

/** Tables a and b, captured from their beginning; the sink `lake` merges them. */
async function shop(tables: readonly string[] = ["public.a", "public.b"]): Promise<Shop> {
  const database = await (await postgres()).createDatabase("control");
  open.push(database);
  await database.sql("CREATE TABLE a (id int PRIMARY KEY, note text); CREATE TABLE b (id int PRIMARY KEY, note text)");
  const scene = await Scene.open();
  open.push(scene);
  const slot = uniqueName("control");
  const source = (captured: readonly string[]): Document =>
    sourceDocument({ name: "shop", url: database.url, tables: captured, postgres: { slot, publication: slot }, topics: { partitions: 1 } });
  await scene.configure(source(tables), sinkDocument({ name: "lake", source: "shop" }));
  await scene.start();
  await scene.ready();
  return { scene, database, slot, source };
}

/** The ids in a target, once they are these. */
async function merged(scene: Scene, table: string, ids: readonly number[]): Promise<void> {
  await until(async () => {
    const rows = await scene.duckdb(`SELECT id FROM public.${table} ORDER BY id`);
    expect(rows.map(({ id }) => id)).toEqual(ids);
  });
}

async function isActive(database: TestDatabase, slot: string): Promise<boolean | undefined> {
  const [row] = await database.sql<{ active: boolean }>("SELECT active FROM pg_replication_slots WHERE slot_name = $1", [slot]);
  return row?.active;
}

test("a paused sink and a paused source stand still through a restart, until they are resumed", async () => {
  const { scene, database, slot } = await shop();
  expect((await stat(path.join(scene.folder, "data", "control.sock"))).mode & 0o777).toBe(0o600);
  await database.sql("INSERT INTO a VALUES (1, 'x')");
  await merged(scene, "a", [1]);

  const sink = await scene.command("pause", ["lake", "--json"]);
  expect([sink.code, JSON.parse(sink.stdout)]).toMatchObject([0, { connector: "lake", state: "paused" }]);
  await database.sql("INSERT INTO a VALUES (2, 'x')");
  await until(async () => expect((await scene.source("shop")).publishedEvents).toBe(2));
  const source = await scene.command("pause", ["shop"]);
  expect(source.stdout).toContain(`shop is paused; slot ${slot} keeps WAL until it is resumed`);
  await until(async () => expect(await isActive(database, slot)).toBe(false));
  await database.sql("INSERT INTO a VALUES (3, 'x')");

  expect(await scene.stop()).toMatchObject({ code: 0 });
  await scene.start();
  const told = await scene.command("status");
  expect([told.code, told.stdout]).toEqual([1, expect.stringContaining("source shop: paused (its slot keeps WAL")]);
  expect(await isActive(database, slot)).toBe(false);
  // Nobody reads the slot, and what it keeps grows: that is told as ever.
  const kept = async (): Promise<number> => (await scene.source("shop")).retainedWalBytes ?? 0;
  await until(async () => expect(await kept()).toBeGreaterThan(0));
  const before = await kept();
  await database.sql("SELECT pg_logical_emit_message(false, 'a test', repeat('x', 1000000))");
  await until(async () => expect(await kept()).toBeGreaterThan(before + 1_000_000));
  expect((await scene.metricByLabels("tailrace_slot_retained_wal_bytes")).get('{source="shop"}')).toBeGreaterThan(1_000_000);
  expect((await scene.metricByLabels("tailrace_sink_state")).get('{sink="lake",state="paused"}')).toBe(1);
  expect((await scene.get("/readyz")).status).toBe(503);
  await merged(scene, "a", [1]);

  expect((await scene.command("resume", ["shop"])).code).toBe(0);
  expect((await scene.command("resume", ["lake"])).code).toBe(0);
  await merged(scene, "a", [1, 2, 3]);
  await scene.ready();
});

test("a paused table of a sink stays in the log while the others are merged, and nothing of it is lost", async () => {
  const { scene, database } = await shop();
  await database.sql("INSERT INTO a VALUES (1, 'x'); INSERT INTO b VALUES (1, 'x')");
  await merged(scene, "b", [1]);
  const paused = await scene.command("pause", ["lake", "public.a"]);
  expect(paused.stdout).toContain("paused of lake: public.a; their events stay in the log");
  await merged(scene, "a", [1]);
  await database.sql("INSERT INTO a VALUES (2, 'x'); INSERT INTO b VALUES (2, 'x')");
  await merged(scene, "b", [1, 2]);
  await merged(scene, "a", [1]);
  // The rows are there before the sink says that it has merged them.
  await until(async () => expect(await scene.sink("lake")).toMatchObject({ state: "running", pausedTables: ["public.a"] }));
  expect((await scene.command("resume", ["lake", "public.*"])).code).toBe(0);
  await merged(scene, "a", [1, 2]);
});

test("SIGHUP takes up what changed and touches nothing else; a bad file is named and changes nothing", async () => {
  const { scene, database, source } = await shop(["public.a"]);
  const lake = sinkDocument({ name: "lake", source: "shop" });
  const statesOf = (name: string): number => scene.statesOf(name).length;
  await until(async () => expect(scene.statesOf("lake").at(-1)?.state).toBe("running")); // the line may come after the status
  const before = statesOf("lake");

  await scene.configure(source(["public.a", "public.b"]), lake);
  const from = scene.lines.length;
  process.kill(scene.pid!, "SIGHUP");
  await scene.said("that it has read it", ({ message }) => message.startsWith("configuration read again"), from);
  await scene.ready();
  await database.sql("INSERT INTO b VALUES (1, 'x')");
  await merged(scene, "b", [1]);
  expect(statesOf("lake")).toBe(before);

  await writeFile(path.join(scene.folder, "torn.yaml"), "kind: sink\nname: torn\nsource: shpo\n");
  await until(async () => expect(scene.statesOf("shop").at(-1)?.state).toBe("running"));
  const sourceStates = statesOf("shop");
  const refused = await scene.command("reload");
  expect([refused.code, refused.stdout]).toEqual([2, ""]);
  expect(refused.stderr).toMatch(/torn\.yaml:\d+:\d+: .*shpo.*did you mean shop\?/);
  process.kill(scene.pid!, "SIGHUP");
  await scene.said("what is wrong", ({ message }) => message.startsWith("the configuration is not taken up"), from);
  expect([statesOf("shop"), statesOf("lake")]).toEqual([sourceStates, before]);

  await rm(path.join(scene.folder, "torn.yaml"));
  await scene.configure(source(["public.a", "public.b"]), sinkDocument({ name: "files", source: "shop" }));
  const reloads = await Promise.all([scene.command("reload", ["--json"]), scene.command("reload", ["--json"])]);
  const changes = reloads.map(({ stdout }) => JSON.parse(stdout) as { added: string[]; removed: string[] });
  // One after the other: whichever came second found nothing to do.
  expect(changes.map(({ added, removed }) => [...added, ...removed].join()).sort()).toEqual(["", "files,lake"]);
  const { sinks } = await scene.status();
  expect(sinks.map(({ name }) => name)).toEqual(["files"]);
  expect([...(await scene.metricByLabels("tailrace_sink_state")).keys()].some((labels) => labels.includes('"lake"'))).toBe(false);
});

test("drop takes slot, publication, state and checkpoints away, with a service and without, and says what stays", async () => {
  const { scene, database, slot } = await shop();
  await database.sql("INSERT INTO a VALUES (1, 'x')");
  await merged(scene, "a", [1]);

  const unasked = await scene.command("drop", ["shop"]);
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining("to drop it without a question say --yes")]);
  const source = await scene.command("drop", ["shop", "--yes"]);
  expect(source.code).toBe(0);
  expect(source.stdout).toContain(`dropped slot ${slot}`);
  expect(source.stdout).toContain("kept topics with events, and their schemas: shop.public.a, shop.public.b");
  expect(await isActive(database, slot)).toBeUndefined();
  expect(await scene.source("shop")).toMatchObject({ state: "dropped" });
  const again = await scene.command("resume", ["shop"]);
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("shop was dropped")]);

  await scene.stop();
  const sink = await scene.command("drop", ["lake", "--yes", "--json"]);
  expect([sink.code, JSON.parse(sink.stdout)]).toMatchObject([0, { kept: ["its targets, with their rows"], left: [] }]);
  expect(await scene.duckdb("SELECT 1 FROM _tailrace.checkpoints")).toEqual([]);
  await merged(scene, "a", [1]);
  const nothing = await scene.command("drop", ["lake", "--yes"]);
  expect([nothing.code, nothing.stdout]).toEqual([0, expect.stringContaining("nothing was there to drop")]);
  expect(existsSync(path.join(scene.folder, "data", "control.sock"))).toBe(false);
});

test("what can't be done is said with the way out", async () => {
  const { scene, source } = await shop();
  const misspelt = await scene.command("pause", ["shpo"]);
  expect([misspelt.code, misspelt.stderr]).toEqual([
    2,
    expect.stringContaining("there is no connector shpo, did you mean shop? (shop, lake)"),
  ]);
  const none = await scene.command("snapshot", ["shop", "public.a"]);
  expect([none.code, none.stderr]).toEqual([2, expect.stringContaining("its snapshot.mode is no_data")]);
  await scene.configure(withSnapshots(source(["public.a", "public.b"])), sinkDocument({ name: "lake", source: "shop" }));
  expect((await scene.command("reload")).code).toBe(0);
  await scene.ready();
  const table = await scene.command("snapshot", ["shop", "public.aa"]);
  expect([table.code, table.stderr]).toEqual([2, expect.stringContaining("did you mean public.a?")]);
  const sink = await scene.command("snapshot", ["lake", "public.a"]);
  expect([sink.code, sink.stderr]).toEqual([2, expect.stringContaining("lake is a sink, no source (shop)")]);
  await scene.command("pause", ["shop"]);
  const paused = await scene.command("snapshot", ["shop", "public.a", "--json"]);
  expect([paused.code, JSON.parse(paused.stdout)]).toMatchObject([1, { error: { code: "SOURCE_NOT_STREAMING", retry: "auto" } }]);

  const socket = path.join(scene.folder, "data", "control.sock");
  await scene.kill();
  expect(existsSync(socket)).toBe(true);
  const dead = await scene.command("pause", ["shop"]);
  expect([dead.code, dead.stderr]).toEqual([1, expect.stringContaining(`nobody listens at the socket ${socket}`)]);
  expect(dead.stderr).toContain(`is \`tailrace run ${scene.folder}\` running`);
  // What a dead process left is replaced.
  await scene.start();
  expect((await scene.command("resume", ["shop"])).code).toBe(0);
  await scene.ready();
});

test("a table added to the YAML is loaded, and snapshot reads what is asked for again, while the source streams", async () => {
  const { scene, database, source } = await shop(["public.a"]);
  await database.sql("INSERT INTO b SELECT n, 'old' FROM generate_series(1, 500) n");
  await scene.configure(withSnapshots(source(["public.a", "public.b"])), sinkDocument({ name: "lake", source: "shop" }));
  expect((await scene.command("reload")).code).toBe(0);
  const everyId = Array.from({ length: 500 }, (_, at) => at + 1);
  await merged(scene, "b", everyId);
  await until(async () => expect((await scene.source("shop")).snapshots).toEqual([]));
  const { code, stdout } = await scene.command("snapshot", ["shop", "public.b", "--where", "id <= 200", "--json"]);
  expect([code, JSON.parse(stdout)]).toEqual([0, { source: "shop", tables: ["public.b"] }]);
  const rows = async (): Promise<number | undefined> =>
    (await scene.metricByLabels("tailrace_snapshot_rows_total")).get('{source="shop",table="public.b"}');
  await until(async () => expect(await rows()).toBe(700));
  // A filtered snapshot says nothing of the other rows.
  await merged(scene, "b", everyId);
});

function withSnapshots(source: Document): Document {
  return { ...source, snapshot: { mode: "initial" } };
}
