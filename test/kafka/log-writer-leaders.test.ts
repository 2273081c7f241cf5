// The writer on a cluster of two: leaders move and die, replicas are missing; what comes back within the bound costs nothing.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EventLog, LogWriter } from "../../src/core/event-log.ts";
import { Brokers } from "../../src/log/kafka/brokers.ts";
import { startKafka } from "../support/kafka.ts";
import type { KafkaServer } from "../support/kafka.ts";
import { describeWithKafka, uniqueName } from "../support/servers.ts";
import { closeLater, eventually, numbered, numbersOf, openLog, plainOptions, QUICK_RESTART, range, within } from "./log-fixture.ts";

const PARTITIONS = 4;

describeWithKafka("the writer of the Kafka log, on two brokers", () => {
  let first: KafkaServer;
  let second: KafkaServer;
  let log: EventLog;
  beforeAll(async () => {
    const settings = { ...QUICK_RESTART, "replica.lag.time.max.ms": 2_000, "leader.imbalance.check.interval.seconds": 5 };
    first = await startKafka({ settings });
    second = await startKafka({ settings, joins: first });
  });
  afterAll(async () => {
    await second[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
  });

  async function makeReplicated(minReplicas: number): Promise<string> {
    log = openLog(plainOptions([...first.brokers, ...second.brokers]));
    const configs = { "min.insync.replicas": `${minReplicas}` };
    const spec = { name: uniqueName("log"), partitions: PARTITIONS, replication: 2, configs };
    return (await eventually(() => log.createTopic(spec, within(30_000)))).name;
  }

  /** How many partitions each broker leads, and how many have both replicas in sync. */
  async function state(topic: string): Promise<{ readonly leaders: number; readonly whole: boolean }> {
    const brokers = new Brokers(plainOptions(first.brokers));
    const { topics } = await brokers.metadata([topic], within(9_000));
    await brokers.close(1_000);
    const partitions = topics[0]?.partitions ?? [];
    return {
      leaders: new Set(partitions.map(({ leaderId }) => leaderId)).size,
      whole: partitions.length === PARTITIONS && partitions.every(({ isrNodes }) => isrNodes.length === 2),
    };
  }

  const spread = (topic: string): Promise<void> =>
    eventually(async () => expect(await state(topic)).toEqual({ leaders: 2, whole: true }), 60_000);

  /** Appends to all partitions, several at a time, until told to stop; every append must succeed, at its offset. */
  async function load(writer: LogWriter, topic: string, ended: AbortSignal): Promise<number[]> {
    const lane = async (partition: number): Promise<number> => {
      let next = 0;
      while (!ended.aborted) {
        const from = next;
        next += 8;
        const appends = range(from, next).map(async (number) => {
          expect(await writer.append([numbered(topic, partition, number, 1, 500)], within(60_000))).toEqual([number]);
        });
        await Promise.all(appends);
      }
      return next;
    };
    return Promise.all(range(0, PARTITIONS).map(lane));
  }

  test.each([
    ["is stopped in order, which moves its leaders,", async () => second.stop()],
    ["is killed, whose partitions get another leader,", async () => second.kill()],
  ] as const)(
    "a broker that %s costs the writer nothing: every append is in the log once, in order",
    async (_how, end) => {
      const topic = await makeReplicated(1);
      await spread(topic);
      const writer = closeLater(await log.openWriter({ name: "leaders" }, within(20_000)));
      const ended = new AbortController();
      const counts = load(writer, topic, ended.signal);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await end();
      await eventually(async () => expect((await state(topic)).leaders).toBe(1), 60_000);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await second.restart();
      await spread(topic); // the leaders come back to where they were
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      ended.abort();
      for (const [partition, count] of (await counts).entries()) expect(await numbersOf(log, topic, partition)).toEqual(range(0, count));
    },
    150_000,
  );

  test("too few replicas: the append waits for them, and goes on when they are back in time", async () => {
    const topic = await makeReplicated(2);
    await spread(topic);
    const writer = closeLater(await log.openWriter({ name: "replicas" }, within(20_000)));
    const appendAll = (number: number): Promise<readonly number[]> =>
      writer.append(
        range(0, PARTITIONS).map((partition) => numbered(topic, partition, number)),
        within(60_000),
      );
    await appendAll(0);
    await second.stop();
    const appends = Promise.all([appendAll(1), appendAll(2)]);
    await second.restart();
    expect(await appends).toEqual([1, 2].map((number) => range(0, PARTITIONS).map(() => number)));
    for (const partition of range(0, PARTITIONS)) expect(await numbersOf(log, topic, partition)).toEqual([0, 1, 2]);
  }, 120_000);

  test("too few replicas for longer than the bound are a refusal by Kafka's name", async () => {
    const topic = await makeReplicated(2);
    await spread(topic);
    const writer = closeLater(await log.openWriter({ name: "replicas" }, within(20_000)));
    await writer.append([numbered(topic, 0, 0)], within(20_000));
    await second.stop();
    const began = performance.now();
    const append = writer.append([numbered(topic, 0, 1)], within(60_000));
    await expect(append).rejects.toMatchObject({ code: "LOG_REFUSED", message: expect.stringMatching(/NOT_ENOUGH_REPLICAS/) });
    expect(performance.now() - began).toBeLessThan(30_000);
    await second.restart();
    expect(await numbersOf(log, topic)).toEqual([0]);
  }, 120_000);
});
