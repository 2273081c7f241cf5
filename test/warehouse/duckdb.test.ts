// What only DuckDB can do wrong: its file's lock, its names, its errors' texts.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { DuckDBInstance } from "@duckdb/node-api";
import { expect, test } from "vitest";
import { TIMESTAMP_INFINITY } from "../../src/core/table.ts";
import type { TargetSpec } from "../../src/core/warehouse.ts";
import { merge } from "../../src/warehouses/duckdb/dialect.ts";
import { isRowsFault } from "../../src/warehouses/duckdb/session.ts";
import { openDuckdb } from "../../src/warehouses/duckdb/warehouse.ts";
import { lockHolder } from "../../src/warehouses/duckdb/file.ts";
import { eventually } from "../support/eventually.ts";
import { duckdbPlace, queryDuckdb } from "./places.ts";
import { at, change, tableFlush, targetSpec, Worker } from "./staged.ts";

const { signal } = new AbortController();
const spec = targetSpec({ schema: "analytics", name: "orders" }, ["id"], { id: { kind: "int8" }, name: { kind: "text" } });

/** Another program with the file: opens it, says `open` or why not, and leaves on a line of input. */
const HOLDER = `
import { DuckDBInstance } from "@duckdb/node-api";
try {
  const instance = await DuckDBInstance.create(process.argv[1], { access_mode: "READ_ONLY" });
  const connection = await instance.connect();
  console.log("open", (await (await connection.runAndReadAll("SELECT count(*)::text FROM analytics.orders")).getRowsJson())[0][0]);
  process.stdin.once("data", () => {
    connection.closeSync(); // named here, or the garbage collector would close the file behind our back
    process.exit();
  });
} catch (error) {
  console.log("refused", error.message.split("\\n")[0]);
  process.exit();
}`;

async function otherProgram(file: string): Promise<{ said: string; child: ChildProcess; leave: () => Promise<void> }> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", HOLDER, file], { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const left = child.exitCode === null ? once(child, "exit") : Promise.resolve();
  return {
    said,
    child,
    leave: async () => {
      child.stdin.end("\n");
      await left;
    },
  };
}

async function flushOnce(place: Awaited<ReturnType<typeof duckdbPlace>>, worker: Worker, target: TargetSpec = spec): Promise<void> {
  await using session = await place.warehouse.open(signal);
  await session.prepare();
  await worker.acquire(session);
  await session.ensureTarget(target);
  const commit = (worker.offset ?? 0) + 1;
  await worker.merge(session, [tableFlush(target, [change(commit, { id: BigInt(commit), name: "n" })])]);
}

test("other programs read the file between flushes, and not while a session has it", async () => {
  await using place = await duckdbPlace();
  const worker = new Worker();
  await flushOnce(place, worker);
  const reader = await otherProgram(place.file);
  expect(reader.said).toBe("open 1");
  await reader.leave();
  {
    await using session = await place.warehouse.open(signal);
    await session.prepare();
    expect((await otherProgram(place.file)).said).toMatch(/^refused .*Could not set lock/);
  }
  await flushOnce(place, worker);
  const later = await otherProgram(place.file);
  expect(later.said).toBe("open 2");
  await later.leave();
});

test("a file that another program reads is waited for, and who reads it is told once", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  const reader = await otherProgram(place.file);
  expect(reader.said).toBe("open 1");
  const told: string[] = [];
  const warehouse = openDuckdb({ path: place.file, onLocked: (holder) => told.push(holder) });
  const opened = warehouse.open(signal);
  opened.catch(() => undefined); // awaited below
  await eventually("who reads it is told", () => told.length > 0);
  await wait(150);
  expect(await Promise.race([opened, Promise.resolve("waiting")])).toBe("waiting");
  await reader.leave();
  await (await opened)[Symbol.asyncDispose]();
  expect(told).toEqual([expect.stringMatching(new RegExp(`^PID ${reader.child.pid}, .*node`))]);
});

test("a file that stays held is WAREHOUSE_LOCKED with its holder, and waiting ends at once when aborted", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  const reader = await otherProgram(place.file);
  expect(reader.said).toBe("open 1");
  const warehouse = openDuckdb({ path: place.file, lockWaitMs: 100 });
  await expect(warehouse.open(signal)).rejects.toMatchObject({
    code: "WAREHOUSE_LOCKED",
    retry: "auto",
    message: expect.stringContaining(`held by another process (PID ${reader.child.pid}, `) as string,
  });
  await expect(place.warehouse.open(AbortSignal.timeout(50))).rejects.toMatchObject({ name: "TimeoutError" });
  await reader.leave();
  await flushOnce(place, new Worker("another"));
});

test("two sinks of one process take turns, by whatever path they name the file", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  const link = path.join(path.dirname(place.file), "link.duckdb");
  await symlink(place.file, link);
  const first = await place.warehouse.open(signal);
  for (const name of [place.file, link, path.relative(process.cwd(), place.file)]) {
    await expect(openDuckdb({ path: name, lockWaitMs: 30 }).open(signal), name).rejects.toMatchObject({ code: "WAREHOUSE_LOCKED" });
  }
  const second = openDuckdb({ path: link }).open(signal);
  await wait(50);
  await first[Symbol.asyncDispose]();
  await (await second)[Symbol.asyncDispose]();
});

test("a session that is disposed of twice does not take the file from the next one", async () => {
  await using place = await duckdbPlace();
  const first = await place.warehouse.open(signal);
  await first[Symbol.asyncDispose]();
  await using second = await place.warehouse.open(signal);
  await first[Symbol.asyncDispose]();
  await expect(openDuckdb({ path: place.file, lockWaitMs: 30 }).open(signal)).rejects.toMatchObject({ code: "WAREHOUSE_LOCKED" });
  await second.prepare();
});

test("the trap: DuckDB itself opens a file twice in one process, and the second to close lets other processes in", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  const [one, two] = [await DuckDBInstance.create(place.file), await DuckDBInstance.create(place.file)];
  two.closeSync();
  const intruder = await otherProgram(place.file);
  expect(intruder.said).toBe("open 1");
  await intruder.leave();
  one.closeSync();
});

test("the trap: a query that still runs keeps a closed file; a session's abort waits for it, so that its end lets go", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  {
    await using session = await place.warehouse.open(signal);
    const worker = new Worker();
    await worker.acquire(session);
    const many = tableFlush(
      spec,
      Array.from({ length: 100_000 }, (_, id) => change(9, { id: BigInt(id), name: "n" })),
    );
    await expect(session.flush(worker.flush([many]), AbortSignal.timeout(60))).rejects.toMatchObject({ name: "TimeoutError" });
  }
  const reader = await otherProgram(place.file);
  expect(reader.said).toBe("open 1");
  await reader.leave();
});

test("the folder is made; nothing but the database is left in it", async () => {
  await using place = await duckdbPlace(path.join("new", "folder", "lake.duckdb"));
  await flushOnce(place, new Worker());
  expect(await readdir(path.dirname(place.file))).toEqual(["lake.duckdb"]);
});

test("what can't be opened is WAREHOUSE_UNREACHABLE with the reason", async () => {
  await using place = await duckdbPlace();
  await mkdir(place.file);
  await expect(place.warehouse.open(signal)).rejects.toMatchObject({ code: "WAREHOUSE_UNREACHABLE", retry: "auto" });
  const text = `${place.file}.txt`;
  await writeFile(text, "no database at all, only some text that is long enough to have a header".repeat(100));
  await expect(openDuckdb({ path: text }).open(signal)).rejects.toMatchObject({
    code: "WAREHOUSE_UNREACHABLE",
    message: expect.stringContaining("not a valid DuckDB") as string,
  });
  await expect(openDuckdb({ path: path.join(text, "below.duckdb") }).open(signal)).rejects.toMatchObject({ code: "WAREHOUSE_UNREACHABLE" });
});

test("the trap: a schema may have the file's name, or a catalogue's", async () => {
  await using place = await duckdbPlace("raw.duckdb");
  const worker = new Worker();
  for (const schema of ["raw", "system", "temp", "memory", "main", "warehouse", "lake"]) {
    await flushOnce(place, worker, { ...spec, target: { schema, name: "orders" } });
  }
  expect((await queryDuckdb(place.file, "SELECT count(*)::text FROM duckdb_tables() WHERE table_name = 'orders'"))[0]).toEqual(["7"]);
});

test("the trap: names that differ in the case of ASCII letters are one name to DuckDB, and are refused", async () => {
  await using place = await duckdbPlace();
  await using session = await place.warehouse.open(signal);
  const columns = targetSpec(spec.target, ["id"], { id: { kind: "int8" }, ID: { kind: "int8" } });
  await expect(session.ensureTarget(columns)).rejects.toMatchObject({
    code: "NAME_COLLISION",
    message: "id and ID would both be called analytics.orders.id",
  });
  await session.ensureTarget(targetSpec(spec.target, ["id"], { id: { kind: "int8" }, É: { kind: "int8" }, é: { kind: "int8" } }));
  for (const target of [
    { schema: "analytics", name: "Orders" },
    { schema: "Analytics", name: "orders" },
  ]) {
    await expect(session.ensureTarget({ ...spec, target })).rejects.toMatchObject({ code: "NAME_COLLISION" });
  }
});

test("a timestamptz near the end of 64 bits is stored to the microsecond, although it is displayed with less", async () => {
  await using place = await duckdbPlace();
  const target = targetSpec({ schema: "analytics", name: "times" }, ["id"], { id: { kind: "int8" }, t: { kind: "timestamptz" } });
  await using session = await place.warehouse.open(signal);
  await session.prepare();
  const worker = new Worker();
  await worker.acquire(session);
  await session.ensureTarget(target);
  await worker.merge(session, [tableFlush(target, [change(1, { id: 1n, t: TIMESTAMP_INFINITY - 1n })])]);
  await session[Symbol.asyncDispose]();
  expect(await queryDuckdb(place.file, "SELECT epoch_us(t)::text FROM analytics.times")).toEqual([[String(TIMESTAMP_INFINITY - 1n)]]);
});

test("a large load gives way to the rest of the process", async () => {
  await using place = await duckdbPlace();
  await flushOnce(place, new Worker());
  await using session = await place.warehouse.open(signal);
  const worker = new Worker();
  await worker.acquire(session);
  const many = tableFlush(
    spec,
    Array.from({ length: 50_000 }, (_, id) => change(9, { id: BigInt(id), name: "n" })),
  );
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await worker.merge(session, [many]);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(5);
});

test("DuckDB's messages: which errors are a row's fault, and who holds a lock", async () => {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  await connection.run("CREATE TABLE t (i TINYINT NOT NULL CHECK (i < 100), d DECIMAL(4, 2), u INTEGER UNIQUE)");
  await connection.run("INSERT INTO t VALUES (1, 1, 1)");
  const messageOf = async (sql: string): Promise<string> =>
    connection.run(sql).then(
      () => "none",
      (error: unknown) => (error as Error).message,
    );
  for (const sql of [
    "INSERT INTO t VALUES (NULL, 1, 2)",
    "INSERT INTO t VALUES (101, 1, 2)",
    "INSERT INTO t VALUES (1, 1, 1)",
    "INSERT INTO t VALUES (1000, 1, 2)",
    "INSERT INTO t VALUES (1, 100, 2)",
    "INSERT INTO t SELECT 'x', 1, 2",
  ]) {
    expect([sql, isRowsFault(await messageOf(sql))]).toEqual([sql, true]);
  }
  for (const sql of ["SELEC 1", "INSERT INTO nowhere VALUES (1)", "SELECT nothing FROM t", "COMMIT", "ATTACH '/nowhere/at/all.duckdb'"]) {
    expect([sql, isRowsFault(await messageOf(sql))]).toEqual([sql, false]);
  }
  instance.closeSync();
  expect(
    lockHolder('IO Error: Could not set lock on file "/a b.duckdb": Conflicting lock is held in /usr/bin/python3.11 (PID 12). See also …'),
  ).toBe("PID 12, /usr/bin/python3.11");
  expect(lockHolder('IO Error: Could not set lock on file "/a.duckdb": Resource temporarily unavailable')).toBe("unknown");
  expect(lockHolder("IO Error: Cannot open file")).toBe(null);
});

test("flushes by the hundred do not make the file grow with them", async () => {
  await using place = await duckdbPlace();
  const worker = new Worker();
  await flushOnce(place, worker);
  const sizes: number[] = [];
  for (let flush = 0; flush < 60; flush++) {
    const session = await place.warehouse.open(signal);
    const rows = Array.from({ length: 500 }, (_, id) => change(10 + flush, { id: BigInt(id), name: `${flush} ${id} ${at(flush)}` }));
    await worker.merge(session, [tableFlush(spec, rows)]);
    await session[Symbol.asyncDispose]();
    if (flush % 20 === 19) {
      sizes.push(Number((await queryDuckdb(place.file, "SELECT (used_blocks * block_size)::text FROM pragma_database_size()"))[0]?.[0]));
    }
  }
  expect(sizes[2]).toBeLessThan(sizes[0]! * 2);
});

test("a flush that brings no deleted key back reads the tombstones once, in its join, and not again to clean up (R-tombstone)", async () => {
  await using place = await duckdbPlace();
  const steps = merge({ ...spec, columns: spec.columns.map((column) => ({ ...column, unchanged: "impossible" })) });
  {
    await using session = await place.warehouse.open(signal);
    await session.prepare();
    await session.ensureTarget(spec);
  }
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  const cpuMs = async (sql: string): Promise<number> => {
    const before = process.cpuUsage();
    await connection.run(sql);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  await connection.run(`ATTACH '${place.file}' AS warehouse`);
  await connection.run(`INSERT INTO warehouse._tailrace.tombstones
    SELECT 'analytics', 'orders', encode('gone:' || i), '${at(1)}' FROM generate_series(1, 500000) g(i)`);
  await connection.run(steps.stage);
  await connection.run(`INSERT INTO temp.tailrace_staged
    SELECT i, 'new', '${at(2)}', now(), false, encode('gone:' || i || 'a'), i FROM generate_series(1, 99) g(i)`);
  const joining = await cpuMs(steps.resolve);
  const cleaning = await cpuMs(steps.tombstones[0] ?? "");
  connection.closeSync();
  instance.closeSync();
  expect(cleaning).toBeLessThan(joining / 4); // it was as much
});
