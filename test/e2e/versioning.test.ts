// R-version as an operator lives it: an ALTER TABLE that the registry refuses, under load; its table goes on as another version, the
// others go on, and kill -9 at each place where one thing of it is written and not the next.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { describe, expect, test } from "vitest";
import type { Failpoint } from "../../src/core/failpoint.ts";
import { tailrace } from "../support/command.ts";
import { expectSame, type Target } from "../support/compare.ts";
import { eventually } from "../support/eventually.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { expectEachOnce, withLog } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry, type TestDatabase } from "../support/servers.ts";
import { SOURCE, TestService, type ServiceSpec } from "../support/service.ts";

const TEST_MS = 300_000;
const DIES_MS = 120_000;
const TABLE = "public.accounts";
const others = loadTables.filter(({ name }) => name !== "accounts");

class Shop implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly warehouse: TestDatabase | null;
  readonly service: TestService;
  load: Load | null = null;

  private constructor(database: TestDatabase, warehouse: TestDatabase | null, service: TestService) {
    this.database = database;
    this.warehouse = warehouse;
    this.service = service;
  }

  static async open(kind: "duckdb" | "postgres", log?: ServiceSpec["kafka"], more: Partial<ServiceSpec> = {}): Promise<Shop> {
    const server = await postgres();
    const database = await server.createDatabase("shop");
    const warehouse = kind === "duckdb" ? null : await server.createDatabase("warehouse");
    await createLoadTables(database.url);
    const service = await TestService.create({
      url: database.url,
      tables: loadTables.map(({ schema, name }) => `${schema}.${name}`),
      warehouse: warehouse === null ? "duckdb" : { postgres: warehouse.url },
      snapshot: { mode: "initial" },
      incompatible: "version",
      ...(log === undefined ? {} : { kafka: log }),
      ...more,
    });
    return new Shop(database, warehouse, service);
  }

  async start(failpoint?: `${Failpoint}${"" | `:${number}`}`): Promise<void> {
    await this.service.start(failpoint);
    if (failpoint === undefined) await this.service.ready();
    this.load ??= new Load({ url: this.database.url, seed: 11 });
  }

  async alter(scale: number): Promise<void> {
    await this.database.sql(`ALTER TABLE accounts ALTER balance TYPE numeric(16,${scale})`);
  }

  async version(version: number): Promise<void> {
    await this.service.until(`the table has version ${version}`, ({ versions, snapshots }) => {
      return versions.some((one) => one.table === TABLE && one.version === version) && snapshots.length === 0;
    });
  }

  get target(): Target {
    return this.warehouse === null ? { duckdb: this.service.duckdbFile } : { postgres: this.warehouse.url };
  }

  /** The rows of a target in PostgreSQL, of which none has come or gone while this is the same. */
  async rows(target: string): Promise<string> {
    const client = new pg.Client({ connectionString: this.warehouse?.url });
    await client.connect();
    try {
      const { rows } = await client.query<{ all: string }>(
        `SELECT count(*) || ' ' || md5(string_agg(t::text, ',' ORDER BY id)) AS all FROM ${target} t`,
      );
      return rows[0]?.all ?? "";
    } finally {
      await client.end();
    }
  }

  /** The load ends, and the targets equal the source, the table's under its version; each event stands once in each topic. */
  async settle(version: number): Promise<void> {
    await this.load?.stop();
    // The table by the name that its target has.
    await this.database.sql(`CREATE TABLE accounts_v${version} (LIKE accounts INCLUDING ALL)`);
    await this.database.sql(`INSERT INTO accounts_v${version} SELECT * FROM accounts`);
    await this.database.sql("CREATE TABLE accounts_latest (LIKE accounts INCLUDING ALL)");
    await this.database.sql("INSERT INTO accounts_latest SELECT * FROM accounts");
    await this.database.sql("ALTER TABLE accounts_latest DROP balance"); // of another type than in the first version
    const versions = Array.from({ length: version - 1 }, (_, at) => ({ schema: "public", name: `accounts_v${at + 2}` }));
    const { rows } = await expectSame(this.database.url, this.target, [
      ...others,
      versions.at(-1)!,
      { schema: "public", name: "accounts_latest" },
    ]);
    expect(rows).toBeGreaterThan(50);
    expect(await this.service.stop()).toMatchObject({ code: 0 });
    const { tables } = await expectEachOnce(this.service, [...loadTables, ...versions]);
    for (const { name } of versions) expect(tables.find(({ table }) => table === `public.${name}`)?.events).toBeGreaterThan(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.load?.stop().catch(() => undefined);
    await this.service[Symbol.asyncDispose]();
    await this.warehouse?.[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

/** Events of the other tables that are in the log. */
async function othersOf(service: TestService): Promise<number> {
  const counts = await service.metricByLabels("tailrace_source_events_total");
  return [...counts].reduce((sum, [labels, count]) => (labels.includes(`table="${TABLE}"`) ? sum : sum + count), 0);
}

async function versionTwice(shop: Shop): Promise<void> {
  await shop.start();
  const { service } = shop;
  await service.until("a load", ({ publishedEvents }, { mergedEvents }) => publishedEvents > 1_000 && mergedEvents > 500);
  await shop.alter(4);
  await shop.version(2);
  expect((await service.metricByLabels("tailrace_versioned_tables")).get(`{source="${SOURCE}"}`)).toBe(1);
  const told = await tailrace(["status", service.folder]);
  expect(told.stdout).toContain(`version 2: ${TABLE} → ${service.prefix}.${TABLE}_v2 (balance: numeric(14,2) → numeric(16,4))`);
  const before = await othersOf(service);
  await eventually("the other tables stream on", async () => (await othersOf(service)) > before + 500, 60_000);
  expect((await service.status()).sources[0]).toMatchObject({ state: "running", restarts: 0, parked: [] });
  expect((await service.status()).sinks[0]).toMatchObject({ state: "running", restarts: 0 });

  // The commands know the table by its name, and mean its present version.
  const checked = await tailrace(["check", service.folder]);
  expect([checked.code, checked.stdout]).toEqual([0, expect.not.stringContaining("TARGET_DIFFERS")]);
  const planned = await tailrace(["plan", service.folder]);
  expect([planned.code, planned.stdout]).toEqual([0, expect.stringContaining(`${TABLE} → topic ${service.prefix}.${TABLE}_v2\n`)]);
  const unparked = await tailrace(["unpark", service.folder, SOURCE, TABLE]);
  expect([unparked.code, unparked.stderr]).toEqual([
    2,
    expect.stringContaining(`the events of ${TABLE} go to ${service.prefix}.${TABLE}_v2`),
  ]);
  expect(await tailrace(["snapshot", service.folder, SOURCE, TABLE])).toMatchObject({ code: 0 });

  await service.kill();
  await shop.start();
  expect((await service.status()).sources[0]?.versions).toMatchObject([{ table: TABLE, version: 2 }]);
  await shop.alter(3);
  await shop.version(3);
  await shop.settle(3);
}

test(
  "R-version: under load an ALTER TABLE that is refused begins a version; its target equals the table, and a second one begins another (embedded, DuckDB)",
  async () => {
    await using shop = await Shop.open("duckdb");
    await versionTwice(shop);
  },
  TEST_MS,
);

describeWithKafka("with Kafka and Apicurio", () => {
  test(
    "R-version: under load an ALTER TABLE that is refused begins a version; its target equals the table, and a second one begins another",
    async () => {
      await using shop = await Shop.open("postgres", { brokers: (await kafka()).brokers, registryUrl: (await registry()).url });
      await versionTwice(shop);
    },
    TEST_MS,
  );
});

test(
  "R-version: killed at each place of it, the service loses nothing and doubles nothing, and the former target keeps its rows",
  async () => {
    await using shop = await Shop.open("postgres");
    const { service } = shop;
    await shop.start();
    await service.until("a load", ({ publishedEvents }) => publishedEvents > 500);
    let version = 1;
    let former = "";
    let end = -1; // of the first version's topic, which gets nothing more
    const points = ["source.before_versioned", "source.after_versioned", "source.after_version_topic"] as const;
    for (const point of points) {
      await service.kill();
      if (version === 2)
        end = await withLog(service, async (log) => {
          const ranges = await log.offsets(`${service.prefix}.${TABLE}`, AbortSignal.timeout(30_000));
          return ranges.reduce((sum, range) => sum + range.end, 0);
        });
      // The last of them is passed by each session: the one that makes the topic is this process's second.
      await shop.start(point === "source.after_version_topic" ? `${point}:2` : point);
      await shop.alter(version % 2 === 0 ? 3 : 4);
      expect({ point, ...(await service.ended(DIES_MS)) }).toEqual({ point, code: null, signal: "SIGKILL" });
      await shop.start();
      version += 1;
      await shop.version(version);
      if (end < 0 || former !== "") continue;
      await eventually("the first version merged", async () => {
        const sql = `SELECT sum(next_offset)::text AS at FROM _tailrace.checkpoints WHERE topic = '${service.prefix}.${TABLE}'`;
        const [row] = (await shop.warehouse?.sql<{ at: string }>(sql)) ?? [];
        return row?.at === String(end);
      });
      former = await shop.rows("accounts");
    }
    await shop.settle(version);
    expect(await shop.rows("accounts")).toBe(former);
    expect(former).toMatch(/^[1-9]/);
  },
  TEST_MS,
);

test(
  "R-version: killed wherever it happens to be while versions begin, the service loses nothing and doubles nothing",
  async () => {
    await using shop = await Shop.open("postgres");
    const { service } = shop;
    await shop.start();
    await service.until("a load", ({ publishedEvents }) => publishedEvents > 500);
    for (let round = 0; round < 4; round++) {
      await shop.alter(round % 2 === 0 ? 4 : 3);
      await sleep(Math.random() * 1_500); // where it dies is left to chance
      await service.kill();
      await shop.start();
      await shop.version(round + 2);
    }
    await shop.settle(5);
  },
  TEST_MS,
);

test(
  "R-version: a table without rows of the new shape has its version once a snapshot reads it; a changed key has one too, and what can't be written any more is in its snapshot",
  async () => {
    await using shop = await Shop.open("postgres");
    const { service, database } = shop;
    await database.sql("INSERT INTO accounts SELECT n, 'Ada', n, NULL, now() FROM generate_series(1, 500) n");
    await database.sql("INSERT INTO orders VALUES ('north', 1); INSERT INTO documents VALUES (1); INSERT INTO readings VALUES (1)");
    await service.start();
    await service.ready();
    await service.until("the snapshots", ({ snapshots, publishedEvents }) => snapshots.length === 0 && publishedEvents >= 500);
    await shop.alter(4); // a rewrite, which asks for a snapshot by itself
    await shop.version(2);
    await service.until("the sink is level", (_, { lagRecords }) => lagRecords === 0);
    expect(await shop.rows("accounts")).toMatch(/^500 /);
    expect(await service.stop()).toMatchObject({ code: 0 });

    await database.sql("UPDATE accounts SET balance = balance + 0.0001");
    await shop.alter(3);
    await database.sql("DELETE FROM accounts WHERE id <= 100");
    await database.sql("ALTER TABLE accounts DROP CONSTRAINT accounts_pkey, ADD PRIMARY KEY (id, owner)");
    await database.sql("UPDATE accounts SET balance = balance + 0.001");
    await service.start();
    await service.ready();
    // Rows of the former key that no version was begun for are passed over, and the one of the present key has what they came to.
    await shop.version(3);
    await shop.settle(3);
  },
  TEST_MS,
);

test(
  "R-version: a transaction that writes, alters and writes again is cut where it alters; the topic of before may be deleted then",
  async () => {
    await using shop = await Shop.open("postgres");
    const { service, database } = shop;
    await database.sql("INSERT INTO orders VALUES ('north', 1); INSERT INTO documents VALUES (1); INSERT INTO readings VALUES (1)");
    await service.start();
    await service.ready();
    await database.sql(`BEGIN; INSERT INTO accounts SELECT n, 'Ada', 1, NULL, now() FROM generate_series(1, 300) n;
      ALTER TABLE accounts ALTER balance TYPE numeric(16,4); UPDATE accounts SET balance = 2.5 WHERE id <= 10; DELETE FROM accounts WHERE id > 290; COMMIT`);
    await shop.version(2);
    await service.until("the sink is level", (_, { lagRecords }) => lagRecords === 0);
    expect(await shop.rows("accounts")).toMatch(/^300 /);
    expect(await service.stop()).toMatchObject({ code: 0 });
    await withLog(service, async (log) => log.deleteTopic(`${service.prefix}.${TABLE}`, AbortSignal.timeout(30_000)));
    await service.start();
    await service.ready();
    await database.sql("UPDATE accounts SET balance = 3.5 WHERE id = 20");
    await shop.settle(2);
    expect(await shop.rows("accounts")).toMatch(/^300 /);
  },
  TEST_MS,
);

describe("R-version: changes that came while the service was down", () => {
  const fill = (from: number): string =>
    `INSERT INTO accounts SELECT n, 'Ada', 1, NULL, now() FROM generate_series(${from}, ${from + 9}) n`;

  async function changedTwice({ database, service }: Shop): Promise<void> {
    await database.sql(
      `${fill(1)}; INSERT INTO orders VALUES ('north', 1); INSERT INTO documents VALUES (1); INSERT INTO readings VALUES (1)`,
    );
    await service.until("the rows", ({ publishedEvents, snapshots }) => publishedEvents >= 13 && snapshots.length === 0);
    await service.kill();
    for (const [scale, from] of [
      [4, 11],
      [3, 21],
    ] as const) {
      await database.sql(fill(from));
      await database.sql(`ALTER TABLE accounts ALTER balance TYPE numeric(16,${scale})`);
    }
    await database.sql(fill(31));
    await service.start();
    await service.ready();
  }

  test(
    "each has its rows in the topic and target of its version, though the catalog shows the last one alone",
    async () => {
      await using shop = await Shop.open("postgres", undefined, { snapshot: { mode: "no_data" } });
      const { service } = shop;
      await service.start();
      await service.ready();
      await changedTwice(shop);
      await shop.version(3);
      await service.until("the sink is level", (_, { mergedEvents }) => mergedEvents >= 20);
      const counts = async (): Promise<readonly string[]> =>
        Promise.all(["accounts", "accounts_v2", "accounts_v3"].map(async (name) => (await shop.rows(name)).split(" ")[0]!));
      await eventually("the rows of each", async () => (await counts()).join(" ") === "20 10 10");
      expect(await service.stop()).toMatchObject({ code: 0 });
      await expectEachOnce(service, [...loadTables, ...[2, 3].map((number) => ({ schema: "public", name: `accounts_v${number}` }))]);
    },
    TEST_MS,
  );

  test(
    "where the table is read it has a version that holds it, and no more than it needs",
    async () => {
      await using shop = await Shop.open("postgres");
      const { service } = shop;
      await service.start();
      await service.ready();
      await changedTwice(shop);
      await service.until("a version", ({ versions, snapshots }) => versions.length === 1 && snapshots.length === 0);
      const version = (await service.status()).sources[0]?.versions[0]?.version ?? 0;
      await shop.settle(version);
      expect([2, 3]).toContain(version);
    },
    TEST_MS,
  );
});
