// Compressed batches of our own on a real broker, which takes each apart before it keeps it: they stand compressed in the topic, and
// both of our ways to read them give the records.
import { compressionsAlgorithms } from "@platformatic/kafka";
import { expect, test } from "vitest";
import { Brokers } from "../../src/log/kafka/brokers.ts";
import type { Compression } from "../../src/log/kafka/options.ts";
import { expectSame } from "../support/compare.ts";
import { createLoadTables, Load, loadTables } from "../support/load.ts";
import { expectEachOnce } from "../support/scan.ts";
import { describeWithKafka, kafka, postgres, registry, uniqueName } from "../support/servers.ts";
import { TestService } from "../support/service.ts";
import { closeLater, makeTopic, numbered, numberOf, numbersOf, openLog, plainOptions, range, within } from "./log-fixture.ts";

const ATTRIBUTES_AT = 21;
const CODEC = 0x07;
const codecs: readonly (readonly [Compression, number])[] = [
  ["lz4", 3],
  ...(compressionsAlgorithms.zstd.available ? [["zstd", 4] as const] : []),
];

describeWithKafka("a log that is written with compression", () => {
  test.each(codecs)("%s: batches stand compressed in the topic, in order, and both readers give them", async (compression, bits) => {
    const options = { ...plainOptions((await kafka()).brokers), compression };
    const log = openLog(options);
    const topic = await makeTopic(log);
    const writer = closeLater(await log.openWriter({ name: "test" }, within(20_000)));
    const batches = range(0, 20).map((at) => numbered(topic, 0, at * 100, 100, 200));
    const plain = batches.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const offsets = await Promise.all(batches.map((batch) => writer.append([batch], within(20_000))));
    expect(offsets.flat()).toEqual(range(0, 20).map((at) => at * 100));

    const brokers = new Brokers(options);
    const { bytes } = await brokers.fetch({ topic, partition: 0, offset: 0 }, 4 * 1024 * 1024, within(20_000));
    await brokers.close(1_000);
    expect(bytes.readInt16BE(ATTRIBUTES_AT) & CODEC).toBe(bits);
    expect(bytes.length).toBeLessThan(plain / 2);

    expect(await numbersOf(log, topic)).toEqual(range(0, 2_000));
    const reader = closeLater(await log.openReader(uniqueName("compressed"), [{ topic, partition: 0, offset: 0 }], within(20_000)));
    const seen: number[] = [];
    while (seen.length < 2_000) {
      const fetched = await reader.poll({ maxBytes: 1 << 20, waitMs: 1_000 }, within(60_000));
      seen.push(...fetched.flatMap(({ records }) => records.map(numberOf)));
    }
    expect(seen).toEqual(range(0, 2_000));
  });

  test("lz4: source and sink work through it, and a second start goes on where the first has stopped", async () => {
    await using database = await (await postgres()).createDatabase("shop");
    await createLoadTables(database.url);
    const log = { brokers: (await kafka()).brokers, registryUrl: (await registry()).url, compression: "lz4" as const };
    await using service = await TestService.create({ url: database.url, tables: ["public.*"], kafka: log, warehouse: "duckdb" });
    await service.start();
    await service.ready();
    const load = new Load({ url: database.url });
    await service.until("the sink merges", (_, sink) => sink.mergedEvents > 300);
    expect(await service.stop()).toMatchObject({ code: 0 });
    await service.start();
    await service.ready();
    await load.stop();
    await expectSame(database.url, { duckdb: service.duckdbFile }, loadTables);
    expect(await service.stop()).toMatchObject({ code: 0 });
    await expectEachOnce(service, loadTables);
  });
});
