// What a look at a warehouse says before a sink begins: it must be what the sink would meet, and change nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { TailraceError } from "../../src/core/errors.ts";
import type { Flush, TargetSpec, Warehouse } from "../../src/core/warehouse.ts";
import { openDuckdb } from "../../src/warehouses/duckdb/warehouse.ts";
import { openPostgresWarehouse } from "../../src/warehouses/postgres/warehouse.ts";
import { describeWithPostgres15, postgres, postgres15, uniqueName } from "../support/servers.ts";
import { dropDatabases, duckdbKind, duckdbPlace, postgres15Kind, postgresKind, postgresPlace, queryPostgres } from "./places.ts";
import { at, change, deletion, letter, tableFlush, targetSpec, Worker, type Row } from "./staged.ts";

const { signal } = new AbortController();
const COLUMNS = { id: { kind: "int8" }, name: { kind: "text" }, note: { kind: "text" } } as const;
const hard = targetSpec({ schema: "analytics", name: "orders" }, ["id"], COLUMNS, "hard");
const soft = targetSpec({ schema: "analytics", name: "customers" }, ["id"], COLUMNS, "soft");
const targets = [hard, soft];

afterAll(dropDatabases);

/** Everything that a sink, new each time, ever does in its warehouse. */
async function work(warehouse: Warehouse, specs: readonly TargetSpec[] = targets): Promise<void> {
  await using session = await warehouse.open(signal);
  await session.prepare();
  const worker = new Worker(uniqueName("sink"));
  await worker.acquire(session);
  await session.openKeys(worker.sink);
  for (const spec of specs) await session.ensureTarget(spec);
  const merge = async (rows: readonly Row[], truncate: string | null, parts: Partial<Flush> = {}): Promise<unknown> =>
    worker.merge(
      session,
      specs.map((spec) => tableFlush(spec, rows, truncate)),
      parts,
    );
  await merge([change(1, { id: 1n, name: "a", note: "n" }), change(1, { id: 2n })], null, { deadLetters: [letter(1)] });
  const closed = { topic: "t", keyBytes: Buffer.from("key"), sequence: at(3) };
  await merge([change(2, { id: 1n, name: "b" }, ["note"]), deletion(2, { id: 2n })], null, { closedDeadLetters: [closed] });
  await merge([], at(4));
}

function said(problems: readonly TailraceError[]): string[] {
  return problems.map(({ code, message }) => `${code} ${message}`);
}

for (const [suite, kind] of [
  [describe, duckdbKind],
  [describe, postgresKind],
  [describeWithPostgres15, postgres15Kind],
] as const)
  suite(kind.title, () => {
    const schemas = "SELECT DISTINCT schema_name FROM information_schema.schemata WHERE schema_name IN ('_tailrace', 'analytics')";

    test("where nothing is there yet nothing is wrong, and nothing is made", async () => {
      await using place = await kind.make();
      expect(await place.warehouse.inspect(targets, signal)).toEqual([]);
      expect(await place.sql(schemas)).toEqual([]);
    });

    test("where the sink has merged nothing is wrong", async () => {
      await using place = await kind.make();
      await work(place.warehouse);
      expect(await place.warehouse.inspect(targets, signal)).toEqual([]);
    });

    test("a target that does not fit is named as the sink would name it, and the SQL of the remedy makes it fit", async () => {
      await using place = await kind.make();
      await place.sql(`CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id BIGINT PRIMARY KEY, name BIGINT, note VARCHAR)`);
      const problems = await place.warehouse.inspect(targets, signal);
      expect(said(problems)).toEqual([expect.stringMatching(/^TARGET_DIFFERS target analytics\.orders does not fit: name is/i)]);
      await expect(work(place.warehouse)).rejects.toMatchObject({ code: "TARGET_DIFFERS", message: problems[0]?.message });
      await place.sql(/run: (.*); or name/.exec(problems[0]?.remedy ?? "")?.[1] ?? "");
      expect(await place.warehouse.inspect(targets, signal)).toEqual([]);
      await work(place.warehouse);
    });
  });

for (const [suite, title, server] of [
  [describe, "PostgreSQL 18", postgres],
  [describeWithPostgres15, "PostgreSQL 15", postgres15],
] as const)
  suite(`${title}, privileges`, () => {
    type Role = AsyncDisposable & {
      readonly name: string;
      readonly warehouse: Warehouse;
      /** On a connection of its own: one that is kept has what it was once allowed to make. */
      work(): Promise<void>;
      /** As the administrator. */
      sql(text: string): Promise<unknown>;
    };

    async function role(): Promise<Role> {
      const place = await postgresPlace(server);
      const name = uniqueName("loader");
      const url = new URL(place.url);
      [url.username, url.password] = [name, "loader"];
      const database = url.pathname.slice(1);
      await place.sql(
        `CREATE ROLE ${name} LOGIN PASSWORD 'loader'; REVOKE ALL ON DATABASE ${database} FROM PUBLIC; GRANT CONNECT ON DATABASE ${database} TO ${name}`,
      );
      const warehouse = openPostgresWarehouse({ url: () => url.href });
      return {
        name,
        warehouse,
        work: async () => {
          await using fresh = openPostgresWarehouse({ url: () => url.href });
          await work(fresh);
        },
        sql: (text) => queryPostgres(place.url, text),
        [Symbol.asyncDispose]: async () => {
          await warehouse[Symbol.asyncDispose]();
          await place.sql(`DROP OWNED BY ${name} CASCADE; DROP ROLE ${name}`);
        },
      };
    }
    const grantsOf = (problems: readonly TailraceError[]): readonly string[] =>
      problems.map(({ code, remedy }) => {
        expect(code).toBe("WAREHOUSE_PRIVILEGE");
        return remedy.replace("run as an administrator: ", "");
      });
    /** Does what the remedies say, once, and gives what was done. */
    async function obey(loader: Role): Promise<readonly string[]> {
      const grants = grantsOf(await loader.warehouse.inspect(targets, signal));
      for (const grant of grants) await loader.sql(grant);
      expect(said(await loader.warehouse.inspect(targets, signal))).toEqual([]);
      return grants;
    }

    test("a role that may nothing is told all that it needs to make its tables", async () => {
      await using loader = await role();
      const grants = await obey(loader);
      expect(grants).toEqual([expect.stringContaining("GRANT TEMPORARY ON DATABASE"), expect.stringContaining("GRANT CREATE ON DATABASE")]);
      await loader.work();
    });

    test("in schemas that somebody made it may need to create, and its columns are added by the owner alone", async () => {
      await using loader = await role();
      await loader.sql(
        `CREATE SCHEMA _tailrace; CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint PRIMARY KEY, name text)`,
      );
      const grants = await obey(loader);
      expect(grants.map((grant) => grant.replace(loader.name, "loader"))).toEqual([
        expect.stringContaining("GRANT TEMPORARY ON DATABASE"),
        'GRANT USAGE, CREATE ON SCHEMA "_tailrace" TO "loader"',
        'GRANT USAGE, CREATE ON SCHEMA "analytics" TO "loader"',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON "analytics"."orders" TO "loader"',
        "ALTER TABLE analytics.orders OWNER TO loader",
      ]);
      await loader.work();
    });

    test("with tables that somebody made it needs no more than what is named, and each part of that", async () => {
      await using loader = await role();
      await using made = await role();
      await obey(made);
      await made.work();
      const grants = await obey(loader);
      await loader.work();
      const parts = grants.flatMap((grant) => {
        const [, privileges = "", rest = ""] = /^GRANT (.*) (ON .*) TO/.exec(grant) ?? [];
        return privileges.split(", ").map((privilege) => `${privilege} ${rest}`);
      });
      expect(parts.length).toBeGreaterThan(20);
      const unneeded: string[] = [];
      for (const part of parts) {
        await loader.sql(`REVOKE ${part} FROM ${loader.name}`);
        await loader.work().then(
          () => unneeded.push(part),
          (cause: unknown) => expect(cause, part).toMatchObject({ code: "WAREHOUSE_REFUSED" }),
        );
        expect(said(await loader.warehouse.inspect(targets, signal)).length, part).toBe(1);
        await loader.sql(`GRANT ${part} TO ${loader.name}`);
      }
      expect(unneeded).toEqual([]);
      await loader.work();
    });
  });

describe("DuckDB, the file", () => {
  test("what a killed process has left in the WAL is read, and stays there", async () => {
    await using place = await duckdbPlace();
    await place.sql("CREATE SCHEMA analytics; CREATE TABLE analytics.customers (id VARCHAR)");
    const script = `import { DuckDBInstance } from "@duckdb/node-api";
      const connection = await (await DuckDBInstance.create(process.argv[1])).connect();
      await connection.run("CREATE TABLE analytics.orders (id VARCHAR)");
      process.kill(process.pid, "SIGKILL");`;
    await once(spawn(process.execPath, ["--input-type=module", "-e", script, place.file], { stdio: "inherit" }), "exit");
    const state = async () =>
      Promise.all(["", ".wal"].map(async (suffix) => (await readFile(`${place.file}${suffix}`)).toString("base64")));
    const before = await state();
    expect((await place.warehouse.inspect(targets, signal)).map(({ code }) => code)).toEqual(["TARGET_DIFFERS", "TARGET_DIFFERS"]);
    expect(await state()).toEqual(before);
  });

  test("a reader holds it up, as it would the sink", async () => {
    await using place = await duckdbPlace();
    await work(place.warehouse);
    const script = `import { DuckDBInstance } from "@duckdb/node-api";
      const instance = await DuckDBInstance.create(process.argv[1], { access_mode: "READ_ONLY" });
      console.log("held");
      process.stdin.on("end", () => instance.closeSync()).resume();`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, place.file], { stdio: ["pipe", "pipe", "inherit"] });
    await once(child.stdout, "data");
    const warehouse = openDuckdb({ path: place.file, lockWaitMs: 100 });
    await expect(warehouse.inspect(targets, signal)).rejects.toMatchObject({
      code: "WAREHOUSE_LOCKED",
      message: expect.stringContaining(`PID ${child.pid}`) as string,
    });
    child.stdin.end();
    await once(child, "exit");
    expect(await warehouse.inspect(targets, signal)).toEqual([]);
  });

  test("folders that are missing are made by the sink: the nearest one that is there must take them", async () => {
    await using place = await duckdbPlace();
    const folder = path.dirname(place.file);
    await writeFile(path.join(folder, "file"), "");
    expect(await openDuckdb({ path: path.join(folder, "a", "b", "lake.duckdb") }).inspect(targets, signal)).toEqual([]);
    const [problem, ...more] = await openDuckdb({ path: path.join(folder, "file", "lake.duckdb") }).inspect(targets, signal);
    expect(more).toEqual([]);
    expect(problem).toMatchObject({ code: "WAREHOUSE_PRIVILEGE", message: expect.stringContaining(path.join(folder, "file")) as string });
    expect(await readdir(folder)).toEqual(["file"]);
  });

  test.skipIf(process.getuid?.() === 0)("a file or folder that may not be written is named", async () => {
    await using place = await duckdbPlace();
    await work(place.warehouse);
    const folder = path.dirname(place.file);
    await chmod(place.file, 0o444);
    await chmod(folder, 0o555);
    try {
      const problems = await place.warehouse.inspect(targets, signal);
      expect(problems.map(({ code, remedy }) => [code, remedy])).toEqual(
        [place.file, folder].map((at) => ["WAREHOUSE_PRIVILEGE", `run as an administrator: chown ${process.getuid?.()} ${at}`]),
      );
    } finally {
      await chmod(folder, 0o755);
    }
  });
});
