// R-park as an operator lives it: an ALTER TABLE that the registry refuses, under load; the others go on; unpark; and kill -9 at
// each place where parking and unparking have written one thing and not the next.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import type { Failpoint } from "../../src/core/failpoint.ts";
import { tailrace, type Ended } from "../support/command.ts";
import { expectSame } from "../support/compare.ts";
import { eventually } from "../support/eventually.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry, type TestDatabase } from "../support/servers.ts";
import { SINK, SOURCE, TestService, type ServiceSpec } from "../support/service.ts";

const TEST_MS = 300_000;
const DIES_MS = 120_000;
const TABLE = "public.accounts";

class Shop implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly warehouse: TestDatabase;
  readonly service: TestService;
  readonly registryUrl: string | null;
  load: Load | null = null;
  readonly #mending = new AbortController();
  readonly #mended: Promise<void>;

  private constructor(database: TestDatabase, warehouse: TestDatabase, service: TestService, registryUrl: string | null) {
    this.database = database;
    this.warehouse = warehouse;
    this.service = service;
    this.registryUrl = registryUrl;
    this.#mended = this.#mend();
  }

  static async open(log?: ServiceSpec["kafka"]): Promise<Shop> {
    const server = await postgres();
    const [database, warehouse] = [await server.createDatabase("shop"), await server.createDatabase("warehouse")];
    await createLoadTables(database.url);
    const spec = { url: database.url, tables: ["public.*"], warehouse: { postgres: warehouse.url } };
    const service = await TestService.create(log === undefined ? spec : { ...spec, kafka: log });
    return new Shop(database, warehouse, service, log?.registryUrl ?? null);
  }

  async start(failpoint?: Failpoint): Promise<void> {
    await this.service.start(failpoint);
    if (failpoint === undefined) await this.service.ready();
    this.load ??= new Load({ url: this.database.url, seed: 11 });
  }

  async alter(scale: number): Promise<void> {
    await this.database.sql(`ALTER TABLE accounts ALTER balance TYPE numeric(16,${scale})`);
  }

  async parked(): Promise<void> {
    await this.service.until("the table is parked", ({ parked }) => parked.length === 1 && parked[0]?.table === TABLE);
  }

  /** Runs the commands that the status gives, as the operator of the registry would. */
  async accept(): Promise<void> {
    const [source] = (await this.service.status()).sources;
    const commands = source?.parked[0]?.commands ?? "";
    expect(commands).toMatch(/^curl -X DELETE \S+-value$/);
    const place = new URL(commands.split(" ").at(-1) ?? "").pathname;
    const answer =
      this.registryUrl === null
        ? await this.service.get(place, "DELETE")
        : await fetch(commands.split(" ").at(-1) ?? "", { method: "DELETE" });
    expect(answer.ok || answer.status === 404).toBe(true);
  }

  async unpark(): Promise<Ended> {
    return tailrace(["unpark", this.service.folder, SOURCE, TABLE]);
  }

  /** The load ends, and the target equals the source; each event stands once. */
  async settle(): Promise<void> {
    await this.load?.stop();
    const { rows } = await expectSame(this.database.url, { postgres: this.warehouse.url }, loadTables);
    expect(rows).toBeGreaterThan(100);
    this.#mending.abort();
    await this.#mended;
    expect(await this.service.stop()).toMatchObject({ code: 0 });
    await expectEachOnce(this.service, loadTables);
  }

  /** The operator of the warehouse: whenever the sink has stopped for a target of the former type, what its error says is run. */
  async #mend(): Promise<void> {
    while (!this.#mending.signal.aborted) {
      await sleep(100);
      const sink = await this.service.status().then(
        ({ sinks }) => sinks[0],
        () => undefined, // no process runs now
      );
      if (sink?.error?.code !== "TARGET_DIFFERS" || sink.state !== "stopped") continue;
      const sql = /^run: (.*); or name another table/s.exec(String(sink.error.remedy))?.[1] ?? "";
      const client = new pg.Client({ connectionString: this.warehouse.url });
      await client.connect();
      await client.query(sql).finally(() => client.end());
      await tailrace(["resume", this.service.folder, SINK]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#mending.abort();
    await this.#mended.catch(() => undefined);
    await this.load?.stop().catch(() => undefined);
    await this.service[Symbol.asyncDispose]();
    await this.warehouse[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

/** Events of the other tables that are in the log. */
async function othersOf(service: TestService): Promise<number> {
  const counts = await service.metricByLabels("tailrace_source_events_total");
  return [...counts].reduce((sum, [labels, count]) => (labels.includes(`table="${TABLE}"`) ? sum : sum + count), 0);
}

async function parkAndUnpark(shop: Shop): Promise<void> {
  await shop.start();
  const { service } = shop;
  await service.until("a load", ({ publishedEvents }, { mergedEvents }) => publishedEvents > 1_000 && mergedEvents > 500);
  const states = service.lines.filter(({ connector, state }) => connector === SOURCE && state !== undefined).length;
  await shop.alter(4);
  await shop.parked();
  expect((await service.metricByLabels("tailrace_parked_tables")).get(`{source="${SOURCE}"}`)).toBe(1);
  const told = await tailrace(["status", service.folder]);
  expect(told.stdout).toContain(`parked: ${TABLE} → ${service.prefix}.${TABLE}.parked (balance: numeric(14,2) → numeric(16,4))`);
  expect(told.stdout).toContain(`then tailrace unpark DIR ${SOURCE} ${TABLE}`);
  const refused = await shop.unpark();
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(`table ${TABLE} stays parked`)]);

  const before = await othersOf(service);
  await eventually("the other tables stream on", async () => (await othersOf(service)) > before + 1_000, 60_000);
  // Neither the source nor the sink has paused for it.
  expect(service.lines.filter(({ connector, state }) => connector === SOURCE && state !== undefined)).toHaveLength(states);
  expect((await service.status()).sinks[0]).toMatchObject({ state: "running", restarts: 0 });

  await shop.accept();
  const unparked = await shop.unpark();
  expect([unparked.code, unparked.stdout, unparked.stderr]).toEqual([
    0,
    expect.stringMatching(new RegExp(`^${TABLE} is unparked: [1-9]\\d* records were drained`)),
    "",
  ]);
  expect((await service.status()).sources[0]).toMatchObject({ state: "running", restarts: 0, parked: [] });
  await shop.settle();
}

test(
  "R-park: under load an ALTER TABLE that is refused parks its table; the others go on, and unpark brings it level (embedded)",
  async () => {
    await using shop = await Shop.open();
    await parkAndUnpark(shop);
  },
  TEST_MS,
);

describeWithKafka("with Kafka and Apicurio", () => {
  test(
    "R-park: under load an ALTER TABLE that is refused parks its table; the others go on, and unpark brings it level",
    async () => {
      await using shop = await Shop.open({ brokers: (await kafka()).brokers, registryUrl: (await registry()).url });
      await parkAndUnpark(shop);
    },
    TEST_MS,
  );
});

test(
  "R-park: killed at each place of parking and of unparking, the service loses nothing and doubles nothing",
  async () => {
    await using shop = await Shop.open();
    const { service } = shop;
    await shop.start();
    await service.until("a load", ({ publishedEvents }) => publishedEvents > 500);
    let scale = 2;
    for (const point of ["source.before_parked", "source.after_parked"] as const) {
      await service.kill();
      await shop.start(point);
      scale = scale === 4 ? 3 : 4;
      await shop.alter(scale);
      expect({ point, ...(await service.ended(DIES_MS)) }).toEqual({ point, code: null, signal: "SIGKILL" });
      await shop.start();
      await shop.parked();
      await shop.accept();
      expect((await shop.unpark()).code).toBe(0);
    }
    for (const point of ["source.while_drained", "source.after_drained", "source.after_unparked"] as const) {
      await service.kill();
      await shop.start(point);
      scale = scale === 4 ? 3 : 4;
      await shop.alter(scale);
      await shop.parked();
      const events = (await service.status()).sources[0]?.publishedEvents ?? 0;
      await service.until("some is parked", ({ publishedEvents }) => publishedEvents > events + 500);
      await shop.accept();
      expect((await shop.unpark()).code).toBe(1);
      expect({ point, ...(await service.ended(DIES_MS)) }).toEqual({ point, code: null, signal: "SIGKILL" });
      await shop.start();
      const isParked = (await service.status()).sources[0]?.parked.length === 1;
      expect(isParked).toBe(point !== "source.after_unparked");
      if (isParked) expect((await shop.unpark()).code).toBe(0);
    }
    await shop.settle();
  },
  TEST_MS,
);

test(
  "R-park: killed wherever it happens to be while a table is parked and unparked, the service loses nothing and doubles nothing",
  async () => {
    await using shop = await Shop.open();
    const { service } = shop;
    await shop.start();
    await service.until("a load", ({ publishedEvents }) => publishedEvents > 500);
    for (let round = 0; round < 4; round++) {
      await shop.alter(round % 2 === 0 ? 4 : 3);
      await sleep(Math.random() * 300); // where it dies is left to chance
      await service.kill();
      await shop.start();
      await shop.parked();
      await shop.accept();
      const unparking = shop.unpark();
      await sleep(150 + Math.random() * 400);
      await service.kill();
      await unparking;
      await shop.start();
      if ((await service.status()).sources[0]?.parked.length === 1) expect((await shop.unpark()).code).toBe(0);
    }
    await shop.settle();
  },
  TEST_MS,
);
