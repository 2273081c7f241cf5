// What only PostgreSQL can do wrong: logins, lost connections, workers at the same time, plans, settings of others.
import pg from "pg";
import { afterAll, expect, test } from "vitest";
import type { TargetSpec, Warehouse, WarehouseSession } from "../../src/core/warehouse.ts";
import { createTarget, merge } from "../../src/warehouses/postgres/dialect.ts";
import { openPostgresWarehouse } from "../../src/warehouses/postgres/warehouse.ts";
import { postgres, uniqueName } from "../support/servers.ts";
import { dropDatabases, postgresPlace, queryPostgres, type Place } from "./places.ts";
import { at, change, tableFlush, targetSpec, Worker } from "./staged.ts";

const { signal } = new AbortController();
const spec = targetSpec({ schema: "analytics", name: "orders" }, ["id"], {
  id: { kind: "int8" },
  name: { kind: "text" },
  note: { kind: "text" },
});

afterAll(dropDatabases);

type Ready = { readonly session: WarehouseSession; readonly worker: Worker };

async function ready(warehouse: Warehouse, target: TargetSpec = spec): Promise<Ready & AsyncDisposable> {
  const session = await warehouse.open(signal);
  await session.prepare();
  const worker = new Worker();
  await worker.acquire(session);
  await session.ensureTarget(target);
  return { session, worker, [Symbol.asyncDispose]: () => session[Symbol.asyncDispose]() };
}

async function rows(place: Place): Promise<(string | null)[][]> {
  return place.sql("SELECT id::text, name, note FROM analytics.orders o ORDER BY o.id");
}

test("a worker that was replaced while it was reading fails at its next flush; the new one waits for a flush that has begun", async () => {
  await using place = await postgresPlace();
  await using old = await ready(place.warehouse);
  const flushing = old.worker.merge(old.session, [
    tableFlush(
      spec,
      Array.from({ length: 20_000 }, (_, id) => change(1, { id: BigInt(id), name: "old" })),
    ),
  ]);
  await using other = await ready(place.warehouse);
  await flushing.catch(() => undefined); // whoever was first: it happened wholly before the other's acquire, or not at all
  const [[count] = []] = await place.sql("SELECT count(*)::text FROM analytics.orders");
  expect(count).toBe(other.worker.offset === null ? "0" : "20000");
  await expect(old.worker.merge(old.session, [tableFlush(spec, [change(2, { id: 1n })])])).rejects.toMatchObject({
    code: "CHECKPOINT_MOVED",
  });
  await other.worker.merge(other.session, [tableFlush(spec, [change(3, { id: 1n, name: "new" })])]);
  expect((await place.sql("SELECT name FROM analytics.orders WHERE id = 1"))[0]).toEqual(["new"]);
});

test("logins that are refused, and servers that do not answer, are told apart, without the password", async () => {
  const { url } = await postgres();
  const broken = (change: (to: URL) => void): Warehouse => {
    const to = new URL(url);
    to.password = "hunter2";
    change(to);
    return openPostgresWarehouse({ url: () => to.href });
  };
  const errorOf = async (warehouse: Warehouse): Promise<{ code: string; message: string }> =>
    warehouse.open(signal).then(
      () => Promise.reject(new Error("opened")),
      (cause: unknown) => cause as { code: string; message: string },
    );

  const noUser = await errorOf(broken((to) => (to.username = "nobody_of_this_name")));
  expect(noUser).toMatchObject({ code: "WAREHOUSE_LOGIN", message: expect.stringContaining("nobody_of_this_name") as string });
  expect((await errorOf(broken((to) => (to.pathname = "/no_such_database")))).code).toBe("WAREHOUSE_LOGIN");
  const closed = await errorOf(broken((to) => (to.port = "1")));
  expect(closed).toMatchObject({ code: "WAREHOUSE_UNREACHABLE", message: expect.stringContaining(":1/") as string });
  for (const { message } of [noUser, closed]) expect(message).not.toContain("hunter2");
});

test("the url is asked for again at every connection", async () => {
  await using place = await postgresPlace();
  let url = "postgres://127.0.0.1:1/x";
  await using warehouse = openPostgresWarehouse({ url: () => url });
  await expect(warehouse.open(signal)).rejects.toMatchObject({ code: "WAREHOUSE_UNREACHABLE" });
  url = place.url;
  await (await ready(warehouse))[Symbol.asyncDispose]();
});

test("a connection that is lost, busy or idle, is WAREHOUSE_UNREACHABLE or replaced", async () => {
  await using place = await postgresPlace();
  await place.alone();
  const terminate =
    "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'tailrace' AND datname = current_database()";
  {
    await using lost = await ready(place.warehouse);
    expect(await place.sql(terminate)).toEqual([["true"]]);
    await place.alone();
    await expect(lost.worker.merge(lost.session, [tableFlush(spec, [change(1, { id: 1n })])])).rejects.toMatchObject({
      code: "WAREHOUSE_UNREACHABLE",
      retry: "auto",
    });
  }
  await (await ready(place.warehouse))[Symbol.asyncDispose]();
  expect(await place.sql(terminate)).toEqual([["true"]]);
  await place.alone();
  await using again = await ready(place.warehouse);
  await again.worker.merge(again.session, [tableFlush(spec, [change(1, { id: 1n, name: "after" })])]);
  expect(await rows(place)).toEqual([["1", "after", null]]);
});

test("sessions that follow each other share a connection, and flushes leave nothing in the catalogue", async () => {
  await using place = await postgresPlace();
  await place.alone();
  await using warehouse = openPostgresWarehouse({ url: () => place.url });
  const facts = `SELECT string_agg(DISTINCT pid::text, ','), (SELECT count(*)::text FROM pg_class WHERE relname LIKE 'tailrace_staged%')
    FROM pg_stat_activity WHERE application_name = 'tailrace' AND datname = current_database()`;
  const seen = new Set<string>();
  for (let flush = 1; flush <= 5; flush++) {
    await using one = await ready(warehouse);
    await one.worker.merge(one.session, [tableFlush(spec, [change(flush, { id: 1n }, flush % 2 === 0 ? ["note"] : [])])]);
    seen.add(String(await place.sql(facts)));
  }
  expect([...seen]).toEqual([expect.stringMatching(/^\d+,1$/)]);
});

test("the trap: a COPY that the server refuses in the middle leaves the connection usable, and says why", async () => {
  await using place = await postgresPlace();
  await using one = await ready(place.warehouse);
  const many = Array.from({ length: 30_000 }, (_, id) =>
    change(1, { id: BigInt(id), name: id === 500 ? "nul \0 inside" : "x".repeat(100) }),
  );
  await expect(one.worker.merge(one.session, [tableFlush(spec, many)])).rejects.toMatchObject({
    code: "ROW_REFUSED",
    message: expect.stringContaining("invalid byte sequence") as string,
  });
  expect(await one.session.refusal(tableFlush(spec, many.slice(500, 501)), signal)).toContain("invalid byte sequence");
  expect(await one.session.refusal(tableFlush(spec, many.slice(501)), signal)).toBe(null);
  await one.worker.merge(one.session, [tableFlush(spec, many.slice(501, 503))]);
  expect((await rows(place)).length).toBe(2);
});

test("deferred constraints, triggers that raise and keys too long for their index are refusals of a row", async () => {
  await using place = await postgresPlace();
  const keyed = targetSpec({ schema: "analytics", name: "keyed" }, ["k"], { k: { kind: "text" } });
  await using one = await ready(place.warehouse, keyed);
  await one.session.ensureTarget(spec);
  await place.sql(`CREATE TABLE analytics.names (name text PRIMARY KEY);
    ALTER TABLE analytics.orders ADD FOREIGN KEY (name) REFERENCES analytics.names DEFERRABLE INITIALLY DEFERRED;
    CREATE FUNCTION analytics.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not on Mondays'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON analytics.orders FOR EACH ROW WHEN (NEW.note = 'Monday') EXECUTE FUNCTION analytics.refuse()`);
  const refused = [
    [tableFlush(spec, [change(1, { id: 1n, name: "unknown" })]), "foreign key"],
    [tableFlush(spec, [change(1, { id: 1n, note: "Monday" })]), "not on Mondays"],
    [tableFlush(keyed, [change(1, { k: Array.from({ length: 9_000 }, (_, i) => (i * 7919).toString(36)).join("") })]), "index row"],
  ] as const;
  for (const [table, reason] of refused) {
    await expect(one.worker.merge(one.session, [table])).rejects.toMatchObject({
      code: "ROW_REFUSED",
      message: expect.stringContaining(reason) as string,
    });
    expect(await one.session.refusal(table, signal)).toContain(reason);
  }
});

test("a few rows into a large target go through its primary key, whatever its statistics", async () => {
  await using place = await postgresPlace();
  const client = new pg.Client({ connectionString: place.url });
  await client.connect();
  {
    await using made = await ready(place.warehouse);
    await made.worker.merge(made.session, []);
  }
  await client.query(`INSERT INTO analytics.orders SELECT g, 'n', 'x', '${at(1)}', now(), now() FROM generate_series(1, 200000) g`);
  const { plan } = tableFlush({ ...spec }, [change(2, { id: 1n }, ["note"])]);
  const steps = merge(plan);
  await client.query("BEGIN");
  await client.query(steps.stage);
  await client.query(
    `INSERT INTO tailrace_staged SELECT g * 50, 'm', NULL, '${at(2)}', now(), false, 'k'::bytea, g, '{3}' FROM generate_series(1, 1000) g`,
  );
  for (const analyzed of [false, true]) {
    if (analyzed) await client.query("ANALYZE analytics.orders");
    for (const sql of [steps.orphans!, steps.merge]) {
      const { rows: lines } = await client.query<{ "QUERY PLAN": string }>(`EXPLAIN ${sql}`);
      const text = lines.map((line) => line["QUERY PLAN"]).join("\n");
      expect(text).toMatch(/Index (Only )?Scan using orders_pkey/);
      expect(text).not.toMatch(/Seq Scan on orders/);
    }
  }
  await client.end();
});

test("the trap: tombstones that are many, and new to the server's statistics, are looked up by their keys", async () => {
  await using place = await postgresPlace();
  const client = new pg.Client({ connectionString: place.url });
  await client.connect();
  {
    await using made = await ready(place.warehouse);
    await made.worker.merge(made.session, []);
  }
  const { plan } = tableFlush(spec, [change(2, { id: 1n }, ["note"])]);
  const steps = merge(plan);
  await client.query(steps.stage.replace("ON COMMIT DELETE ROWS", ""));
  await client.query(
    `INSERT INTO tailrace_staged SELECT g, 'm', NULL, '${at(2)}', now(), g % 2 = 0, int4send(g), g, '{3}' FROM generate_series(1, 1000) g`,
  );
  await client.query(
    `INSERT INTO _tailrace.tombstones SELECT 'analytics', 'orders', int4send(g), '${at(1)}' FROM generate_series(1, 20000) g`,
  );
  for (const sql of [steps.orphans!, steps.merge, ...steps.tombstones]) {
    const { rows: lines } = await client.query<{ "QUERY PLAN": string }>(`EXPLAIN ${sql}`);
    const text = lines.map((line) => line["QUERY PLAN"]).join("\n");
    expect(text).not.toMatch(/Seq Scan on tombstones/);
    for (const [, condition] of text.matchAll(/tombstones_pkey on .*\n +Index Cond: (.*)/g))
      expect(condition).toMatch(/key = s\._tailrace_key/);
  }
  await client.end();
});

test("a target with another primary key than the table's is refused with the SQL that puts the one in the place of the other", async () => {
  await using place = await postgresPlace();
  await place.sql(
    'CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint, name varchar, CONSTRAINT "its key" PRIMARY KEY (id, name))',
  );
  await using session = await place.warehouse.open(signal);
  const error = (await session.ensureTarget(spec).catch((cause: unknown) => cause)) as { code: string; remedy: string };
  const sql = 'DROP CONSTRAINT "its key", ADD PRIMARY KEY ("id")';
  expect(error).toMatchObject({ code: "TARGET_DIFFERS", remedy: expect.stringContaining(sql) as string });
  await place.sql(/^run: (.*); or name/.exec(error.remedy)?.[1] ?? "");
  await session.ensureTarget(spec);
});

test("targets without a unique index on the key are refused with the SQL; one in another column order is enough", async () => {
  await using place = await postgresPlace();
  await place.sql("CREATE SCHEMA analytics; CREATE TABLE analytics.orders (id bigint, name varchar, note text)");
  await using session = await place.warehouse.open(signal);
  const error = (await session.ensureTarget(spec).catch((cause: unknown) => cause)) as { code: string; remedy: string };
  expect(error).toMatchObject({ code: "TARGET_DIFFERS", remedy: expect.stringContaining('ADD PRIMARY KEY ("id")') as string });
  await place.sql(/^run: (.*); or name/.exec(error.remedy)?.[1] ?? "");
  await session.ensureTarget(spec);
  await place.sql("CREATE TABLE analytics.pairs (a integer, b integer); CREATE UNIQUE INDEX ON analytics.pairs (b, a) INCLUDE (a)");
  const pairs = targetSpec({ schema: "analytics", name: "pairs" }, ["a", "b"], { a: { kind: "int4" }, b: { kind: "int4" } });
  await session.ensureTarget(pairs);
  await place.sql("DROP INDEX analytics.pairs_b_a_a1_idx; CREATE UNIQUE INDEX ON analytics.pairs (b, a) WHERE a > 0");
  await expect(
    session.ensureTarget({ ...pairs, columns: [...pairs.columns, { name: "c", type: { kind: "int4" } }] }),
  ).rejects.toMatchObject({ code: "TARGET_DIFFERS" });
});

test("the trap: a key column with a collation of its own is joined in that collation", async () => {
  await using place = await postgresPlace();
  const keyed = targetSpec(spec.target, ["k"], { k: { kind: "text" }, v: { kind: "int4" } });
  await place.sql(
    `CREATE SCHEMA analytics; CREATE TABLE analytics.orders (k varchar COLLATE "POSIX" PRIMARY KEY, v integer, _tailrace_seq text)`,
  );
  await using one = await ready(place.warehouse, keyed);
  for (const commit of [1, 2]) await one.worker.merge(one.session, [tableFlush(keyed, [change(commit, { k: "a", v: commit })])]);
  expect(await place.sql("SELECT k, v::text FROM analytics.orders")).toEqual([["a", "2"]]);
});

test("the trap: names beyond 63 bytes, which PostgreSQL cuts with a notice, are refused", async () => {
  await using place = await postgresPlace();
  await using session = await place.warehouse.open(signal);
  const target = { schema: "analytics", name: "ü".repeat(32) };
  await expect(session.ensureTarget({ ...spec, target })).rejects.toMatchObject({ code: "NAME_COLLISION" });
  await session.ensureTarget({ ...spec, target: { ...target, name: `${"ü".repeat(31)}x` } });
});

test("settings of the database do not change what is merged", async () => {
  await using place = await postgresPlace();
  const [[name] = []] = await place.sql("SELECT quote_ident(current_database())");
  const settings = [
    "standard_conforming_strings = off",
    "default_transaction_isolation = serializable",
    "default_transaction_read_only = on",
    "bytea_output = escape",
    "TimeZone = 'Asia/Kathmandu'",
    "search_path = ''",
  ];
  await place.sql(settings.map((setting) => `ALTER DATABASE ${name} SET ${setting}`).join("; "));
  try {
    const odd = { ...spec, target: { schema: "analytics", name: "back\\slash' " } };
    await using one = await ready(place.warehouse, odd);
    await one.worker.merge(one.session, [tableFlush(odd, [change(1, { id: 1n, name: "\\n" })])], { deadLetters: [] });
    await one.worker.merge(one.session, [tableFlush(odd, [], at(2))]);
    await one.worker.merge(one.session, [tableFlush(odd, [change(3, { id: 1n, name: "\\n" })])]);
  } finally {
    await queryPostgres(`${place.url}?options=-c%20default_transaction_read_only%3Doff`, `ALTER DATABASE ${name} RESET ALL`);
  }
  expect(await place.sql(`SELECT name FROM analytics."back\\slash' "`)).toEqual([["\\n"]]);
});

test("a role that may not create schemas works in those that were made for it", async () => {
  await using place = await postgresPlace();
  await (await ready(place.warehouse))[Symbol.asyncDispose]();
  const role = uniqueName("merger");
  await place.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA _tailrace, analytics TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA _tailrace, analytics TO ${role}`);
  const url = new URL(place.url);
  url.username = role;
  url.password = "secret";
  try {
    await using warehouse = openPostgresWarehouse({ url: () => url.href });
    await using one = await ready(warehouse);
    await one.worker.merge(one.session, [tableFlush(spec, [change(1, { id: 1n, name: "a" })])]);
    await expect(one.session.ensureTarget({ ...spec, target: { schema: "another", name: "t" } })).rejects.toMatchObject({
      code: "WAREHOUSE_REFUSED",
      message: expect.stringContaining("permission denied") as string,
    });
  } finally {
    await place.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
  expect(await rows(place)).toEqual([["1", "a", null]]);
});

test("several sinks that start at once make the tables once", async () => {
  await using place = await postgresPlace();
  const fresh = { ...spec, target: { schema: "together", name: "t" } };
  const warehouses = Array.from({ length: 6 }, () => openPostgresWarehouse({ url: () => place.url }));
  await Promise.all(warehouses.map(async (warehouse) => (await ready(warehouse, fresh))[Symbol.asyncDispose]()));
  await Promise.all(warehouses.map((warehouse) => warehouse[Symbol.asyncDispose]()));
  expect(await place.sql("SELECT fence::text FROM _tailrace.workers")).toEqual([["6"]]);
});

test("a target that somebody dropped between flushes is made again after the error", async () => {
  await using place = await postgresPlace();
  const worker = new Worker();
  {
    await using one = await ready(place.warehouse);
    await worker.acquire(one.session);
    await worker.merge(one.session, [tableFlush(spec, [change(1, { id: 1n })])]);
  }
  await queryPostgres(place.url, "DROP TABLE analytics.orders");
  const retry = async (): Promise<void> => {
    await using session = await place.warehouse.open(signal);
    await session.ensureTarget(spec);
    await worker.merge(session, [tableFlush(spec, [change(2, { id: 2n })])]);
  };
  await expect(retry()).rejects.toMatchObject({ code: "WAREHOUSE_REFUSED" });
  await retry();
  expect((await rows(place)).length).toBe(1);
});

test("the DDL of a target can be run as it is printed", async () => {
  await using place = await postgresPlace();
  await place.sql(`CREATE SCHEMA analytics; ${createTarget(spec)}`);
  await using session = await place.warehouse.open(signal);
  await session.ensureTarget(spec);
});

/** A target of ten rows each of which takes 100 ms to delete. */
async function slowToDelete(place: Place & { readonly url: string }, seconds = 0.1): Promise<Ready & AsyncDisposable> {
  const slow = await ready(openPostgresWarehouse({ url: () => place.url, statementTimeoutMs: 400 }));
  await slow.worker.merge(slow.session, [
    tableFlush(
      spec,
      Array.from({ length: 10 }, (_, id) => change(1, { id: BigInt(id), name: "old" })),
    ),
  ]);
  await place.sql(`CREATE FUNCTION analytics.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(${seconds}); RETURN coalesce(OLD, NEW); END';
    CREATE TRIGGER slow BEFORE DELETE ON analytics.orders FOR EACH ROW EXECUTE FUNCTION analytics.slow()`);
  return slow;
}

const sweepAt = (commit: number) => ({ sweeps: [{ target: spec.target, deletes: spec.deletes, opening: at(commit) }] });

test("a sweep and a TRUNCATE take as long as the target is large: no bound of a flush's statements makes them fail for ever (R-sweep)", async () => {
  await using place = await postgresPlace();
  {
    await using slow = await slowToDelete(place);
    await slow.worker.merge(slow.session, [], sweepAt(5));
    expect(await rows(place)).toEqual([]);
    await place.sql("DROP SCHEMA analytics CASCADE");
  }
  await using again = await slowToDelete(place);
  await again.worker.merge(again.session, [tableFlush(spec, [change(7, { id: 1n, name: "new" })], at(6))]);
  expect(await rows(place)).toEqual([["1", "new", null]]);
  await place.sql("CREATE TRIGGER slow_insert BEFORE INSERT ON analytics.orders FOR EACH ROW EXECUTE FUNCTION analytics.slow()");
  const inserts = Array.from({ length: 10 }, (_, id) => change(8, { id: BigInt(id + 2), name: "bounded as before" }));
  await expect(again.worker.merge(again.session, [tableFlush(spec, inserts)])).rejects.toMatchObject({
    code: "WAREHOUSE_REFUSED",
    message: expect.stringContaining("statement timeout") as string,
  });
});

test("a sweep that is aborted ends at the server too, and another worker is not kept waiting for it", async () => {
  await using place = await postgresPlace();
  await using slow = await slowToDelete(place, 60);
  const active = () =>
    place.sql(
      "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'tailrace' AND state = 'active' AND datname = current_database()",
    );
  const [aborting, reason] = [new AbortController(), new Error("enough")];
  const sweeping = slow.session.flush(slow.worker.flush([], sweepAt(5)), aborting.signal);
  await expect.poll(async () => (await active()).length).toBe(1);
  aborting.abort(reason);
  await expect(sweeping).rejects.toBe(reason);
  await expect.poll(active, { timeout: 20_000 }).toEqual([]);
  expect((await rows(place)).length).toBe(10);
});
