// What is wrong outside of Tailrace: named with its fix, by `check` and by the service, which recovers by itself.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import path from "node:path";
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { freePort } from "../../src/quickstart/free-port.ts";
import { startPostgres } from "../../src/quickstart/postgres-server.ts";
import { query } from "../support/databases.ts";
import { describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import { tailrace } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { Scene, sinkDocument, sourceDocument, until } from "./scene.ts";

const WRONG_PASSWORD = "not-the-pass-word";
const RIGHT_PASSWORD = "quite-the-pass-word";

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function closeLater<T extends AsyncDisposable>(resource: T): T {
  open.push(async () => resource[Symbol.asyncDispose]());
  return resource;
}

describe("a configuration that is wrong ends with exit code 2 before anything is touched", () => {
  test.each(["run", "check", "status"])("%s of a folder that does not exist", async (command) => {
    const { code, stdout, stderr } = await tailrace([command, "/no/such/folder"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("/no/such/folder: there is no such folder\n    fix: name the folder");
  });

  test.each([
    [[], "usage: tailrace"],
    [["runn", "x"], "unknown command runn (run, check, plan, status, snapshot, pause, resume, unpark, reload, dlq, drop, quickstart)"],
    [["run"], "which folder?"],
    [["check", "--jsno", "x"], "--jsno"],
  ])("usage: %j", async (args, words) => {
    const { code, stdout, stderr } = await tailrace(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(words);
  });

  test.each(["run", "check"])("%s names every problem at once, with place and fix", async (command) => {
    const scene = closeLater(await Scene.open());
    let asked = 0;
    const database = createServer((socket) => {
      asked += 1;
      socket.destroy();
    });
    const port = await listening(database);
    const url = `postgres://tailrace:${RIGHT_PASSWORD}@127.0.0.1:${port}/shop`;
    await writeFile(
      path.join(scene.folder, "shop.yaml"),
      `kind: source
name: shop
postgres: { url: "${url}", slto: shop }
tables: ["public.*"]
topics: { partitions: many }
wal_budget: { action: alert }
---
kind: sink
name: lake
source: shop
warehouse: { duckdb: { path: "\${TAILRACE_TEST_NEVER_SET}" } }
consistency: partition
`,
    );
    await writeFile(path.join(scene.folder, "torn.yaml"), `kind: service\nlog: { embedded: { path: ./log }\n`);

    const { code, stdout, stderr } = await scene.command(command);

    const at = (place: string): string => path.join(scene.folder, place);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(at("shop.yaml:3:"));
    expect(stderr).toMatch(/shop\.yaml:3:\d+: unknown key slto, did you mean slot\?/);
    expect(stderr).toMatch(/shop\.yaml:5:\d+: .*partitions/);
    expect(stderr).toMatch(/shop\.yaml:6:\d+: .*not in this version/);
    expect(stderr).toMatch(/shop\.yaml:11:\d+: .*TAILRACE_TEST_NEVER_SET/);
    expect(stderr).toMatch(/torn\.yaml:\d+:\d+: /);
    expect(stderr.match(/\n {4}fix: \S/g)?.length).toBe(5);
    expect(stderr).not.toContain(RIGHT_PASSWORD);
    expect((await readdir(scene.folder)).sort()).toEqual(["owner", "shop.yaml", "torn.yaml"]);
    expect(asked).toBe(0);
  });
});

test("check and the waiting service name what is wrong with the database or the DuckDB file, and go on by themselves once it is mended", async () => {
  const database = closeLater(await (await postgres()).createDatabase("bad"));
  const warehouse = closeLater(await (await postgres()).createDatabase("warehouse"));
  const role = uniqueName("clerk");
  const stranger = uniqueName("stranger");
  const [foreignSlot, busySlot] = [uniqueName("foreign"), uniqueName("busy")];
  await database.sql(`
    CREATE TABLE fine (id int PRIMARY KEY, note text);
    CREATE TABLE keyless (id int, note text);
    CREATE TABLE owned (id int PRIMARY KEY);
    CREATE ROLE ${stranger} LOGIN SUPERUSER PASSWORD '${RIGHT_PASSWORD}';
    CREATE ROLE ${role} LOGIN PASSWORD '${RIGHT_PASSWORD}'`);
  open.push(async () => {
    await warehouse.sql(`DROP OWNED BY ${stranger}`);
    await database.sql(`DROP OWNED BY ${role}, ${stranger}; DROP ROLE ${role}, ${stranger}`);
  });
  const scene = closeLater(await Scene.open());
  await database.sql("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [foreignSlot]);
  await database.sql("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [busySlot]);
  await database.sql(`CREATE PUBLICATION ${busySlot} FOR TABLE fine WITH (publish_via_partition_root = true)`);
  const reader = await readSlot(database.url, busySlot);
  open.push(async () => reader.end());
  const cluster = { dataDir: path.join(await temporaryFolder("late"), "data"), port: await freePort() };
  let late = await startPostgres({ ...cluster, settings: { wal_level: "replica", fsync: "off" } });
  open.push(async () => late[Symbol.asyncDispose]());
  await query(late.url, "CREATE TABLE fine (id int PRIMARY KEY)");
  await late.stop();

  const source = (name: string, url: string, table: string, postgres: Record<string, unknown> = {}) =>
    sourceDocument({ name, url, tables: [table], postgres: { slot: uniqueName("slot"), publication: uniqueName("pub"), ...postgres } });
  await scene.configure(
    source("fine", database.url, "public.fine"),
    source("late", late.url, "public.fine"),
    source("stranger", as(database.url, stranger, WRONG_PASSWORD), "public.fine"),
    source("clerk", as(database.url, role, RIGHT_PASSWORD), "public.owned"),
    source("absent", database.url, "public.absent"),
    source("keyless", database.url, "public.keyless"),
    source("foreign", database.url, "public.fine", { slot: foreignSlot }),
    source("busy", database.url, "public.fine", { slot: busySlot, publication: busySlot, create: false }),
    sinkDocument({ name: "lake", source: "fine" }),
    sinkDocument({ name: "mart", source: "fine", warehouse: { postgres: { url: as(warehouse.url, stranger, WRONG_PASSWORD) } } }),
  );
  const holder = await holdDuckdb(path.join(scene.folder, "lake.duckdb"));
  open.push(async () => letGo(holder));

  const expected = {
    late: "DATABASE_UNREACHABLE",
    stranger: "DATABASE_LOGIN",
    clerk: "PRIVILEGE_MISSING",
    absent: "TABLE_MISSING",
    keyless: "TABLE_WITHOUT_KEY",
    foreign: "SLOT_FOREIGN",
    busy: "SLOT_ACTIVE",
    lake: "WAREHOUSE_LOCKED",
    mart: "WAREHOUSE_LOGIN",
  } as const;
  const checked = await scene.command("check", ["--json"]);
  expect(checked.code).toBe(1); // something does not answer
  const findings = findingsOf(checked.stdout);
  for (const [name, code] of Object.entries(expected)) {
    expect(findings, name).toContainEqual(
      expect.objectContaining({ of: expect.stringMatching(` ${name}$`), kind: "problem", code, fix: expect.stringMatching(/\w/) }),
    );
  }
  for (const of of ["source fine", ...Object.keys(expected).map((name) => `source ${name}`)]) {
    const kinds = findings.filter((finding) => finding.of === of && /^(ok|problem)$/.test(finding.kind)).map(({ kind }) => kind);
    expect(kinds.includes("ok"), of).toBe(of === "source fine" && !kinds.includes("problem"));
  }
  await scene.start();
  await scene.reaches({
    fine: "running",
    ...Object.fromEntries(Object.entries(expected).map(([name, code]) => [name, `waiting ${code}`])),
  });
  const pid = Number((await database.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", [busySlot]))[0]?.active_pid);
  expect((await scene.errorOf("busy")).message).toContain(`PID ${pid}`);
  expect((await scene.errorOf("foreign")).message).toContain("test_decoding");
  expect((await scene.errorOf("lake")).message).toContain(`PID ${holder.pid}`);
  expect((await scene.errorOf("stranger")).message).toContain(stranger);
  const told = await scene.command("status");
  expect(told.code).toBe(1);
  expect(told.stdout).toMatch(/source absent: waiting \(.*\)\n.*\n {2}TABLE_MISSING: .*\n {2}fix: create it/);
  const notReady = (await (await scene.get("/readyz")).json()) as { ready: boolean; waiting: { name: string; code: string }[] };
  expect(Object.fromEntries(notReady.waiting.map(({ name, code }) => [name, code]))).toEqual(expected);

  // Every try is counted, and none of them is a line of the log.
  await until(async () => {
    for (const name of ["absent", "keyless", "foreign"]) expect((await scene.source(name)).restarts).toBeGreaterThan(3);
  });

  late = await startPostgres({ ...cluster, settings: { wal_level: "replica", fsync: "off" } });
  await scene.reaches({ late: "waiting WAL_LEVEL" });
  await late.stop();
  late = await startPostgres({ ...cluster, settings: { wal_level: "logical", fsync: "off" } });
  await database.sql(`ALTER ROLE ${stranger} PASSWORD '${WRONG_PASSWORD}'`);
  await database.sql("CREATE TABLE absent (id int PRIMARY KEY)");
  await database.sql("ALTER TABLE keyless ADD PRIMARY KEY (id)");
  await database.sql("SELECT pg_drop_replication_slot($1)", [foreignSlot]);
  reader.end();
  await letGo(holder);
  await followGrants(scene, database, "clerk");

  await scene.reaches({
    late: "running",
    stranger: "running",
    absent: "running",
    keyless: "running",
    foreign: "running",
    busy: "running",
    lake: "running",
    mart: "running",
  });
  await database.sql("INSERT INTO fine VALUES (1, 'x')");
  await until(async () => {
    expect(await scene.duckdb("SELECT id, note FROM public.fine")).toEqual([{ id: 1, note: "x" }]);
    expect(await warehouse.sql("SELECT id, note FROM public.fine")).toEqual([{ id: 1, note: "x" }]);
  });
  const during = await scene.command("check");
  expect(during.stdout).toMatch(/^note log: .* in use by another process \(PID \d+\)/);
  expect(during.code, during.stdout).toBe(0);
  const after = await scene.command("status", ["--json"]);
  expect(after.code).toBe(0);
  expect(JSON.parse(after.stdout)).toMatchObject({
    sources: expect.arrayContaining([expect.objectContaining({ name: "fine", state: "running", error: null })]),
  });
  expect(await scene.stop()).toMatchObject({ code: 0 });

  for (const name of [...Object.keys(expected), "fine"]) {
    const states = scene.statesOf(name).map(({ state, error }) => `${state} ${error?.code ?? ""}`);
    expect(states.filter((state, index) => state === states[index - 1])).toEqual([]);
    expect(states.length, `${name}: ${states.join(", ")}`).toBeLessThan(12);
  }
  const good = await scene.command("check");
  expect({ code: good.code, stdout: good.stdout }).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("ok   source late: PostgreSQL"),
  });
  for (const text of [scene.output, checked.stdout, told.stdout, during.stdout, after.stdout, good.stdout]) {
    expect(text).not.toContain(WRONG_PASSWORD);
    expect(text).not.toContain(RIGHT_PASSWORD);
    expect(text).not.toContain(new URL(database.url).password);
  }
});

test("check ends with 3 when everything answers and something has to be mended, and names all that is wrong with a source and its sinks", async () => {
  const database = closeLater(await (await postgres()).createDatabase("bad"));
  const warehouse = closeLater(await (await postgres()).createDatabase("warehouse"));
  const loader = uniqueName("loader");
  const scene = closeLater(await Scene.open());
  await database.sql(`CREATE TABLE keyless (id int); CREATE TABLE late_key (id int PRIMARY KEY DEFERRABLE); CREATE TABLE fine (id int PRIMARY KEY, note text);
    CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)`);
  await warehouse.sql(`CREATE ROLE ${loader} LOGIN PASSWORD '${RIGHT_PASSWORD}'; CREATE TABLE fine (id int PRIMARY KEY, note int)`);
  open.push(async () => warehouse.sql(`DROP OWNED BY ${loader}; DROP ROLE ${loader}`));
  const [slot, publication] = [uniqueName("slot"), uniqueName("pub")];
  const tables = ["public.keyless", "public.late_key", "public.absent", "public.fine", "public.parts"];
  await scene.configure(
    sourceDocument({ name: "shop", url: database.url, tables, postgres: { slot, publication } }),
    sinkDocument({ name: "lake", source: "shop" }),
    sinkDocument({ name: "mart", source: "shop", warehouse: { postgres: { url: as(warehouse.url, loader, RIGHT_PASSWORD) } } }),
  );

  const { code, stdout } = await scene.command("check", ["--json"]);

  expect(code).toBe(3);
  const findings = findingsOf(stdout);
  const problemsOf = (of: string): (string | undefined)[] =>
    findings.flatMap((finding) => (finding.of === of && finding.kind === "problem" ? [finding.code] : [])).sort();
  expect(problemsOf("source shop")).toEqual(["TABLE_MISSING", "TABLE_WITHOUT_KEY", "TABLE_WITHOUT_KEY"]);
  expect(findings).toContainEqual({
    of: "source shop",
    kind: "warning",
    message: expect.stringMatching(/^public\.parts: .*single partition/) as string,
  });
  expect(problemsOf("sink mart")).toEqual([
    "TARGET_DIFFERS",
    "WAREHOUSE_PRIVILEGE", // to make _tailrace in the database
    "WAREHOUSE_PRIVILEGE", // to make a target in schema public
    "WAREHOUSE_PRIVILEGE", // to merge into the target that is there
  ]);
  expect(findings.filter(({ kind }) => kind === "ok").map(({ of }) => of)).toEqual(["sink lake"]);
  expect((await readdir(scene.folder)).sort()).toEqual(["owner", "tailrace.yaml"]);
  expect(await warehouse.sql("SELECT FROM pg_namespace WHERE nspname = '_tailrace'")).toEqual([]);
  expect(await database.sql("SELECT FROM pg_publication WHERE pubname = $1", [publication])).toEqual([]);
  expect(await database.sql("SELECT FROM pg_replication_slots WHERE slot_name = $1", [slot])).toEqual([]);
});

describeWithKafka("with Kafka and a registry", () => {
  test("a broker and a registry that do not answer are named, and waited for", async () => {
    const database = closeLater(await (await postgres()).createDatabase("bad"));
    const scene = closeLater(await Scene.open());
    await database.sql("CREATE TABLE fine (id int PRIMARY KEY, note text)");
    const broker = closeLater(await gate((await kafka()).brokers[0] ?? ""));
    const url = new URL((await registry()).url);
    const schemas = closeLater(await gate(url.host));
    url.host = schemas.address;
    const prefix = uniqueName("bad");
    await scene.configure(
      { kind: "service", log: { kafka: { brokers: [broker.address] } }, registry: { url: url.href } },
      sourceDocument({
        name: "shop",
        url: database.url,
        tables: ["public.fine"],
        postgres: { slot: prefix, publication: prefix },
        topics: { prefix },
      }),
      sinkDocument({ name: "lake", source: "shop" }),
    );
    const checked = await scene.command("check", ["--json"]);
    expect(checked.code).toBe(1);
    expect(findingsOf(checked.stdout)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ of: "log", code: "LOG_UNREACHABLE", fix: expect.stringContaining("log.kafka") }),
        expect.objectContaining({ of: "registry", code: "REGISTRY_UNREACHABLE", fix: expect.stringContaining("registry.url") }),
      ]),
    );

    await scene.start();
    await scene.reaches({ shop: "waiting LOG_UNREACHABLE" });
    await broker.open();
    await scene.reaches({ shop: "waiting REGISTRY_UNREACHABLE" });
    await schemas.open();
    await scene.reaches({ shop: "running", lake: "running" });
    const during = await scene.command("check");
    expect(during.stdout).toMatch(/note source shop: the service reads its slot \(PID \d+\)/);
    expect(during.code, during.stdout).toBe(0);
    await database.sql("INSERT INTO fine VALUES (1, 'x')");
    await until(async () => {
      expect(await scene.duckdb("SELECT id, note FROM public.fine")).toEqual([{ id: 1, note: "x" }]);
    });
    expect(await scene.stop()).toMatchObject({ code: 0 });
    for (const name of ["shop", "lake"]) {
      const states = scene.statesOf(name).map(({ state, error }) => `${state} ${error?.code ?? ""}`);
      expect(states.filter((state, index) => state === states[index - 1])).toEqual([]);
    }
  });
});

type Finding = { readonly of: string; readonly kind: string; readonly code?: string; readonly message: string; readonly fix?: string };

function findingsOf(stdout: string): readonly Finding[] {
  return (JSON.parse(stdout) as { findings: Finding[] }).findings;
}

/** Does what the remedies of a connector that lacks privileges say, one after the other, until it runs. */
async function followGrants(scene: Scene, database: TestDatabase, connector: string): Promise<void> {
  const done = new Set<string>();
  await until(async () => {
    const { state, error } = await scene.source(connector);
    if (state === "running") return;
    const sql = /run as an administrator: (.*)$/.exec(String(error?.remedy))?.[1] ?? "";
    if (sql !== "" && !done.has(sql)) {
      await database.sql(sql);
      done.add(sql);
    }
    throw new Error(`${connector} is ${state} ${String(error?.message)} after ${[...done].join("; ")}`);
  });
  expect(done.size).toBeGreaterThan(1);
}

function as(url: string, user: string, password: string): string {
  const own = new URL(url);
  own.username = user;
  own.password = password;
  return own.href;
}

/** Somebody else's reader of a slot. */
async function readSlot(url: string, slot: string): Promise<{ end(): void }> {
  // It answers no keepalives: without a timeout nobody minds.
  const settings = { connectionString: url, replication: "database", options: "-c wal_sender_timeout=0" };
  const client = new pg.Client(settings);
  client.on("error", () => undefined);
  await client.connect();
  const reading = client.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names '${slot}')`);
  reading.catch(() => undefined);
  await until(async () => {
    const rows = await query(url, "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND active", [slot]);
    expect(rows.length).toBe(1);
  });
  return { end: () => client.connection.stream.destroy() };
}

/** Another process that has the file open for writing, as a DuckDB shell has it. */
async function holdDuckdb(file: string): Promise<ChildProcess> {
  const script = `import { DuckDBInstance } from "@duckdb/node-api";
    const instance = await DuckDBInstance.create(${JSON.stringify(file)});
    const connection = await instance.connect();
    console.log("held");
    setInterval(() => connection, 1_000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

async function letGo(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(async () => server.close());
  return (server.address() as { port: number }).port;
}

/** An address that leads to a server once it is opened; before, nobody listens there. */
async function gate(to: string): Promise<AsyncDisposable & { readonly address: string; open(): Promise<void> }> {
  const port = await freePort();
  const [host = "", target = ""] = to.split(":");
  const server = createServer((near) => {
    const far = connect(Number(target), host);
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.on("close", () => far.destroy());
  });
  return {
    address: `127.0.0.1:${port}`,
    open: async () => {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}
