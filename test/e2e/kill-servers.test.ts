// kill -9 of the servers that the service depends on, in turn, under load. Nobody restarts the service.
import { expect, test } from "vitest";
import { expectSame } from "../support/compare.ts";
import { startKafka } from "../support/kafka.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { startTestPostgres } from "../support/postgres.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, registry } from "../support/servers.ts";
import { TestService } from "../support/service.ts";
import { databaseOn } from "../support/databases.ts";

const ROUNDS = 3;
/** The controller lets a killed broker register again after this, not after 9 s. */
const QUICK_RESTART = { "broker.session.timeout.ms": 1_500, "broker.heartbeat.interval.ms": 300 };

describeWithKafka("servers are killed under load", () => {
  test("R-ack, R-tail, R-checkpoint: PostgreSQL, source and warehouse in one, and the broker are killed in turn; the service recovers by itself", async () => {
    await using server = await startTestPostgres();
    await using broker = await startKafka({ settings: QUICK_RESTART });
    const shop = await databaseOn(server.url, "shop");
    const warehouse = await databaseOn(server.url, "warehouse");
    await createLoadTables(shop);
    await using service = await TestService.create({
      url: shop,
      tables: ["public.*"],
      kafka: { brokers: broker.brokers, registryUrl: (await registry()).url },
      warehouse: { postgres: warehouse },
    });
    await service.start();
    await service.ready();
    const { pid } = service;
    const load = new Load({ url: shop });

    for (let round = 1; round <= ROUNDS; round++) {
      for (const victim of [server, broker]) {
        const before = await progressOf(service);
        await service.until(
          "events go into the log and out of it",
          (source, sink) => source.publishedEvents > before.published && sink.mergedEvents > before.merged,
        );
        await victim.kill();
        await service.until("the service notices", (source, sink) => source.state === "waiting" || sink.state === "waiting");
        await victim.restart();
      }
    }
    await service.ready();
    const before = await progressOf(service);
    await service.until(
      "events go into the log and out of it",
      (source, sink) => source.publishedEvents > before.published && sink.mergedEvents > before.merged,
    );
    await load.stop();
    expect(load.failures).toBeGreaterThanOrEqual(ROUNDS);
    expect(service.pid).toBe(pid);

    const { rows } = await expectSame(shop, { postgres: warehouse }, loadTables);
    expect(rows).toBeGreaterThan(100);
    expect(await service.stop()).toMatchObject({ code: 0 });
    await expectEachOnce(service, loadTables);
  }, 600_000);
});

async function progressOf(service: TestService): Promise<{ published: number; merged: number }> {
  const { sources, sinks } = await service.status();
  return { published: sources[0]?.publishedEvents ?? 0, merged: sinks[0]?.mergedEvents ?? 0 };
}
