// A registry that is away: what needs none of it goes on, what does waits and says so, and nothing is published before its schema is
// registered. Apicurio keeps its schemas in memory: before it is stopped they are exported, and it is reached again when it has them back.
import { expect, test } from "vitest";
import { Proxy } from "../kafka/proxy.ts";
import { expectSame } from "../support/compare.ts";
import { eventually } from "../support/eventually.ts";
import { freeze } from "../support/freeze.ts";
import { startRegistry, type RegistryServer } from "../support/registry.ts";
import { expectEachOnce, withLog } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres } from "../support/servers.ts";
import { SOURCE, TestService } from "../support/service.ts";

const { signal } = new AbortController();
const TEST_MS = 240_000;
const TABLES = ["orders", "beside"].map((name) => ({ schema: "public", name }));
const DOWN = "REGISTRY_UNREACHABLE";
const WAL_BYTES = 8 * 1024 * 1024;

/** The registry goes; what is given brings it back. */
type Away = (server: RegistryServer, proxy: Proxy) => Promise<() => Promise<void>>;

async function stopped(server: RegistryServer, proxy: Proxy): Promise<() => Promise<void>> {
  const admin = server.url.replace("/ccompat/v7", "/registry/v2/admin");
  const schemas = await (await fetch(`${admin}/export`, { headers: { accept: "application/zip" } })).arrayBuffer();
  await proxy.close();
  await server.stop();
  return async () => {
    await server.restart();
    const headers = { "content-type": "application/zip", "x-registry-preserve-globalid": "true", "x-registry-preserve-contentid": "true" };
    const imported = await fetch(`${admin}/import`, { method: "POST", headers, body: schemas });
    expect(imported.ok, await imported.text()).toBe(true);
    await proxy.open();
  };
}

function frozen(server: RegistryServer): Promise<() => Promise<void>> {
  const ice = freeze(server.pid === null ? [] : [server.pid]);
  return Promise.resolve(() => Promise.resolve(ice.thaw()));
}

async function outlives(away: Away): Promise<void> {
  await using server = await startRegistry();
  await using proxy = await Proxy.start();
  const url = new URL(server.url);
  proxy.target = url.host;
  await using database = await (await postgres()).createDatabase("shop");
  await using warehouse = await (await postgres()).createDatabase("warehouse");
  await database.sql("CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE beside (id int PRIMARY KEY, note text)");
  await using service = await TestService.create({
    url: database.url,
    tables: ["public.*"],
    kafka: { brokers: (await kafka()).brokers, registryUrl: `http://${proxy.address}${url.pathname}` },
    warehouse: { postgres: warehouse.url },
    partitions: 1,
  });
  const topic = (table: string): string => `${service.prefix}.public.${table}`;
  const ends = async (table: string): Promise<number> =>
    withLog(service, async (log) => (await log.offsets(topic(table), signal)).reduce((sum, { end }) => sum + end, 0));
  const same = (): Promise<unknown> => expectSame(database.url, { postgres: warehouse.url }, TABLES);
  const versions = async (subject: string): Promise<unknown> => (await fetch(`${server.url}/subjects/${subject}/versions`)).json();
  await service.start();
  await service.ready();
  await database.sql("INSERT INTO orders VALUES (1, 'before'); INSERT INTO beside VALUES (1, 'before')");
  await same();

  const back = await away(server, proxy);
  await database.sql("INSERT INTO orders VALUES (2, 'known shape'); UPDATE beside SET note = 'known shape'");
  await same();
  expect((await service.status()).sources[0]).toMatchObject({ state: "running", restarts: 0 });

  await database.sql(
    "ALTER TABLE orders ADD extra int; INSERT INTO orders VALUES (3, 'new shape', 5); INSERT INTO beside VALUES (2, 'behind it')",
  );
  await service.until("the source waits", ({ state, error }) => state === "waiting" && error?.code === DOWN);
  expect(await (await service.get("/readyz")).text()).toContain(DOWN);
  await database.sql(`SELECT pg_logical_emit_message(false, 'bulk', repeat('x', ${WAL_BYTES}))`);
  await eventually(
    "the metrics say for how long and what it costs",
    async () => {
      const waited = (await service.metricByLabels("tailrace_waiting_seconds_total")).get(`{connector="${SOURCE}",reason="${DOWN}"}`) ?? 0;
      return waited > 0 && (await service.metric("tailrace_slot_retained_wal_bytes")) > WAL_BYTES;
    },
    60_000,
  );
  expect([await ends("orders"), await ends("beside")]).toEqual([2, 2]);

  await service.kill();
  await service.start();
  await service.until("the source waits again", ({ state, error }) => state === "waiting" && error?.code === DOWN);
  await back();
  await service.ready();
  await same();
  expect(await warehouse.sql("SELECT id, note, extra FROM orders ORDER BY id")).toEqual([
    { id: 1, note: "before", extra: null },
    { id: 2, note: "known shape", extra: null },
    { id: 3, note: "new shape", extra: 5 },
  ]);
  // Once per change.
  expect(await versions(`${topic("orders")}-value`)).toEqual([1, 2]);
  for (const subject of [`${topic("orders")}-key`, `${topic("beside")}-key`, `${topic("beside")}-value`])
    expect(await versions(subject), subject).toEqual([1]);
  expect(await service.stop()).toMatchObject({ code: 0 });
  await expectEachOnce(service, TABLES);
}

describeWithKafka("a schema changes while the registry is away", () => {
  test(
    "stopped: the source waits, by name and with metrics, publishes nothing unregistered, and goes on by itself",
    () => outlives(stopped),
    TEST_MS,
  );
  test(
    "silent: the source waits, by name and with metrics, publishes nothing unregistered, and goes on by itself",
    () => outlives(frozen),
    TEST_MS,
  );
});
