// R-writer: a source is the only writer of its partitions, and notices when it is not. The other writer here does what a late
// batch of a dead process does: it appends an event that the partition has already.
import kafkajs from "kafkajs";
import { expect, test } from "vitest";
import { topicName } from "../../src/core/naming.ts";
import { expectSame } from "../support/compare.ts";
import { scan, withLog } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry } from "../support/servers.ts";
import { TestService } from "../support/service.ts";

const items = { schema: "public", name: "items" };
const never = new AbortController().signal;

describeWithKafka("another producer writes into a data topic", () => {
  test("R-writer: the source names it, reads the tails again and goes on; the sink merges nothing twice", async () => {
    await using database = await (await postgres()).createDatabase("shop");
    await database.sql("CREATE TABLE items (id int PRIMARY KEY, note text)");
    const { brokers } = await kafka();
    await using service = await TestService.create({
      url: database.url,
      tables: ["public.items"],
      kafka: { brokers, registryUrl: (await registry()).url },
      warehouse: "duckdb",
    });
    await service.start();
    await service.ready();
    await database.sql("INSERT INTO items SELECT n, 'first' FROM generate_series(1, 50) n");
    await database.sql("UPDATE items SET note = 'second'");
    await service.until("the sink has merged them", (_, sink) => sink.mergedEvents === 100);

    const topic = topicName(service.prefix, items);
    const [stale] = (await withLog(service, (log) => log.read({ topic, partition: 0, offset: 0 }, 1 << 20, never))).records;
    const producer = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING }).producer();
    await producer.connect();
    const [written] = await producer.send({ topic, messages: [{ partition: 0, key: stale!.key, value: stale!.value }] });
    await producer.disconnect();

    await database.sql("INSERT INTO items SELECT n, 'third' FROM generate_series(51, 100) n");
    const { error } = await service.said("that there is a second writer", ({ error }) => error?.code === "SECOND_WRITER");
    const expected = Number(written!.baseOffset);
    expect(error!.message).toContain(`${topic} partition 0: expected offset ${expected}, got ${expected + 1}`);
    await service.ready();
    await database.sql("UPDATE items SET note = 'fourth' WHERE id > 20");
    await database.sql("DELETE FROM items WHERE id <= 5");

    expect((await expectSame(database.url, { duckdb: service.duckdbFile }, [items])).rows).toBe(95);
    expect(service.lines.filter((line) => line.error?.code === "SECOND_WRITER")).toHaveLength(1);
    expect(await service.stop()).toMatchObject({ code: 0 });
    // The foreign record stands in the log, and nothing else does twice.
    expect(await scan(service, [items])).toMatchObject({ duplicates: 1, backwards: 1, events: 236 });
  });
});
