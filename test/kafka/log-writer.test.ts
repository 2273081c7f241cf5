// The writer against brokers that refuse, die and hang: what was acknowledged is in the log once and in order.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Producer } from "@platformatic/kafka";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EventLog, LogWriter } from "../../src/core/event-log.ts";
import { Brokers } from "../../src/log/kafka/brokers.ts";
import { startKafka } from "../support/kafka.ts";
import type { KafkaServer } from "../support/kafka.ts";
import { describeWithKafka, kafka } from "../support/servers.ts";
import {
  closeLater,
  eventually,
  makeTopic,
  numbered,
  numbersOf,
  openLog,
  plainOptions,
  QUICK_RESTART,
  range,
  within,
} from "./log-fixture.ts";

/** Where the library tells of requests and answers (its docs, "Diagnostics"). */
const REQUESTS = "tracing:plt:kafka:connections:api";

/** Watches the produce requests of this process: how many there were, and the most at a time. */
async function produceRequests(during: () => Promise<unknown>): Promise<{ readonly sent: number; readonly most: number }> {
  let [sent, inFlight, most] = [0, 0, 0];
  const isProduce = (context: unknown): boolean => (context as { readonly apiKey?: number }).apiKey === 0;
  const onStart = (context: unknown): void => {
    if (!isProduce(context)) return;
    sent++;
    most = Math.max(most, ++inFlight);
  };
  const onAnswer = (context: unknown): void => {
    if (isProduce(context)) inFlight--;
  };
  subscribe(`${REQUESTS}:start`, onStart);
  subscribe(`${REQUESTS}:asyncStart`, onAnswer);
  try {
    await during();
    return { sent, most };
  } finally {
    unsubscribe(`${REQUESTS}:start`, onStart);
    unsubscribe(`${REQUESTS}:asyncStart`, onAnswer);
  }
}

describeWithKafka("the writer of the Kafka log", () => {
  describe("on a broker that is well", () => {
    const open = async (): Promise<EventLog> => openLog(plainOptions((await kafka()).brokers));
    const openWriter = async (log: EventLog): Promise<LogWriter> => closeLater(await log.openWriter({ name: "test" }, within(20_000)));

    // Trap: the library's idempotent producer gives sends that are under way together the same sequence numbers; the broker
    // takes the second for a repetition of the first, and acknowledges what it does not keep.
    test("naively, sends to one partition that are in flight together are acknowledged and lost", async () => {
      const { brokers } = await kafka();
      const log = openLog(plainOptions(brokers));
      const topic = await makeTopic(log);
      const producer = new Producer({ clientId: "naive", bootstrapBrokers: [...brokers], idempotent: true });
      try {
        const send = (number: number): Promise<unknown> =>
          producer.send({ messages: [{ topic, partition: 0, key: Buffer.from(String(number)), value: Buffer.from("v") }] });
        await send(0);
        await Promise.all(range(1, 5).map(send));
      } finally {
        await producer.close();
      }
      expect(await numbersOf(log, topic)).not.toEqual(range(0, 5));
    });

    test("R-writer: batches carry one producer id and gapless sequences, from 0 on", async () => {
      const { brokers } = await kafka();
      const log = openLog(plainOptions(brokers));
      const topic = await makeTopic(log);
      const writer = await openWriter(log);
      await Promise.all([
        writer.append([numbered(topic, 0, 0, 3)], within(20_000)),
        writer.append([numbered(topic, 0, 3, 2)], within(20_000)),
      ]);
      const raw = new Brokers(plainOptions(brokers));
      const { bytes } = await raw.fetch({ topic, partition: 0, offset: 0 }, 1_000_000, within(20_000));
      await raw.close(1_000);
      const second = 12 + bytes.readInt32BE(8);
      const [producer, sequence] = [43, 53];
      expect(bytes.readBigInt64BE(producer)).toBeGreaterThanOrEqual(0n);
      expect(bytes.readBigInt64BE(second + producer)).toBe(bytes.readBigInt64BE(producer));
      expect([bytes.readInt32BE(sequence), bytes.readInt32BE(second + sequence)]).toEqual([0, 3]);
    });

    test("R-writer: another writer's records show as a jump of the base offsets", async () => {
      const log = await open();
      const topic = await makeTopic(log);
      const [ours, theirs] = [await openWriter(log), await openWriter(log)];
      expect(await ours.append([numbered(topic, 0, 0, 5)], within(20_000))).toEqual([0]);
      expect(await theirs.append([numbered(topic, 0, 100, 2)], within(20_000))).toEqual([5]);
      expect(await ours.append([numbered(topic, 0, 5, 5)], within(20_000))).toEqual([7]);
    });

    test("batches of several partitions share a request, up to a size; a larger one goes alone", async () => {
      const log = await open();
      const topic = await makeTopic(log, 12, { "max.message.bytes": "4000000" });
      const writer = await openWriter(log);
      const appendAll = (number: number, valueBytes: number): Promise<unknown> =>
        writer.append(
          range(0, 12).map((partition) => numbered(topic, partition, number, 1, valueBytes)),
          within(20_000),
        );
      expect((await produceRequests(() => appendAll(0, 1_000))).sent).toBe(1);
      expect((await produceRequests(() => appendAll(1, 250_000))).sent).toBe(3); // four in a MiB
      expect((await produceRequests(() => appendAll(2, 2_000_000))).sent).toBe(12);
      for (const partition of range(0, 12)) expect(await numbersOf(log, topic, partition)).toEqual([0, 1, 2]);
    });

    test("batches that come while requests are under way wait for room, and then share one", async () => {
      const log = await open();
      const topic = await makeTopic(log, 3);
      const writer = await openWriter(log);
      const appends = (from: number): Promise<unknown> =>
        Promise.all(range(from, from + 60).map((number) => writer.append([numbered(topic, number % 3, number)], within(20_000))));
      const first = await produceRequests(() => appends(0));
      expect(first).toEqual({ sent: 20, most: 5 });
      expect(await produceRequests(() => appends(60))).toEqual({ sent: 20, most: 5 });
    });

    test("batches of one partition are not put together, where they would exceed max.message.bytes", async () => {
      const log = await open();
      const topic = await makeTopic(log, 1, { "max.message.bytes": "10000" });
      const writer = await openWriter(log);
      const batches = range(0, 8).map((number) => numbered(topic, 0, number, 1, 9_000));
      expect(await writer.append(batches, within(20_000))).toEqual(range(0, 8));
    });

    test("too large a batch is refused with Kafka's name for it", async () => {
      const log = await open();
      const topic = await makeTopic(log, 2, { "max.message.bytes": "10000" });
      const writer = await openWriter(log);
      const append = writer.append([numbered(topic, 0, 0), numbered(topic, 1, 0, 1, 20_000)], within(20_000));
      await expect(append).rejects.toMatchObject({ code: "LOG_REFUSED", message: expect.stringMatching(/partition 1.*MESSAGE_TOO_LARGE/) });
    });

    // Trap: the library takes a partition beyond the topic's count modulo the count.
    test("R-routing: a batch for a partition that is not there goes to no other", async () => {
      const log = await open();
      const topic = await makeTopic(log, 2);
      await expect((await openWriter(log)).append([numbered(topic, 3, 0)], within(20_000))).rejects.toMatchObject({ code: "LOG_REFUSED" });
      expect((await log.offsets(topic, within(20_000))).map(({ end }) => end)).toEqual([0, 0]);
    });
  });

  describe("on a broker that dies", () => {
    let broker: KafkaServer;
    let log: EventLog;
    beforeAll(async () => {
      broker = await startKafka({ settings: QUICK_RESTART });
    });
    afterAll(() => broker[Symbol.asyncDispose]());

    /** Appends one batch after another to each partition, several at a time, until the writer ends; adds what was acknowledged. */
    async function appendUntilItEnds(topic: string, from: readonly number[], acknowledged: readonly Set<number>[]): Promise<void> {
      const writer = await eventually(() => log.openWriter({ name: "load" }, within(20_000)));
      const lane = async (partition: number): Promise<void> => {
        let next = from[partition] ?? 0;
        const inFlight = new Set<Promise<void>>();
        const ended = new AbortController();
        while (!ended.signal.aborted) {
          const first = next;
          next += 3;
          const one = writer.append([numbered(topic, partition, first, 3)], within(60_000)).then(
            () => range(first, first + 3).forEach((number) => acknowledged[partition]?.add(number)),
            () => ended.abort(),
          );
          inFlight.add(one);
          void one.finally(() => inFlight.delete(one));
          if (inFlight.size >= 5) await Promise.race(inFlight);
        }
        await Promise.all(inFlight);
      };
      await Promise.all(from.map(async (_, partition) => lane(partition)));
      await writer[Symbol.asyncDispose]();
    }

    test("R-writer: kill -9 under appends, three times: every acknowledged record is in the log once and in order", async () => {
      log = openLog(plainOptions(broker.brokers));
      const topic = await makeTopic(log, 3);
      const acknowledged = range(0, 3).map(() => new Set<number>());
      for (let round = 0; round < 3; round++) {
        // As the source does: the tail says where to go on.
        const tails = await eventually(async () => Promise.all(range(0, 3).map(async (partition) => numbersOf(log, topic, partition))));
        const from = tails.map((numbers) => (numbers.at(-1) ?? -1) + 1);
        const appending = appendUntilItEnds(topic, from, acknowledged);
        // In the midst of it, wherever that is.
        const isUnderWay = (): void =>
          acknowledged.forEach((numbers, at) => expect(Math.max(-1, ...numbers)).toBeGreaterThanOrEqual(from[at]!));
        await eventually(async () => Promise.resolve(isUnderWay()));
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 500));
        await broker.kill();
        await appending;
        await broker.restart();
      }
      for (const partition of range(0, 3)) {
        const found = await eventually(() => numbersOf(log, topic, partition));
        expect(found).toEqual(range(0, found.length));
        expect(acknowledged[partition]?.size).toBeGreaterThan(0);
        expect(Math.max(...(acknowledged[partition] ?? []))).toBeLessThan(found.length);
      }
    }, 300_000);

    test("an append to a hung broker ends with its signal at once, and everything can be disposed of within 2 s", async () => {
      log = openLog(plainOptions(broker.brokers));
      const topic = await makeTopic(log);
      const writer = await log.openWriter({ name: "hung" }, within(20_000));
      const reader = await log.openReader(topic, [{ topic, partition: 0, offset: 0 }], within(20_000));
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      await eventually(async () => expect((await reader.poll({ maxBytes: 1_000_000, waitMs: 500 }, within(20_000))).length).toBe(1));
      process.kill(broker.pid ?? 0, "SIGSTOP");
      try {
        const stop = new AbortController();
        const append = writer.append([numbered(topic, 0, 1)], stop.signal);
        setTimeout(() => stop.abort(new Error("asked to stop")), 300);
        const began = performance.now();
        await expect(append).rejects.toThrow("asked to stop");
        expect(performance.now() - began).toBeLessThan(10_000); // the request itself may take 20 s
        await expect(log.topics([topic], within(300))).rejects.toMatchObject({ name: "TimeoutError" });
        const disposing = performance.now();
        await log[Symbol.asyncDispose]();
        expect(performance.now() - disposing).toBeLessThan(8_000); // two seconds, and the rest for a busy machine
      } finally {
        process.kill(broker.pid ?? 0, "SIGCONT");
      }
    });

    test("a broker that is away is LOG_UNREACHABLE, and the same log goes on when it is back", async () => {
      log = openLog(plainOptions(broker.brokers));
      const topic = await makeTopic(log);
      await broker.stop();
      for (const attempt of [
        () => log.topics([topic], within(20_000)),
        () => log.openWriter({ name: "away" }, within(20_000)),
        () => log.createTopic({ name: "other", partitions: 1, replication: -1, configs: {} }, within(40_000)),
        () => log.read({ topic, partition: 0, offset: 0 }, 1_000, within(20_000)),
        () => log.openReader("away", [{ topic, partition: 0, offset: 0 }], within(20_000)),
      ]) {
        // The first may find a connection that has not noticed yet.
        const reason = /ECONNREFUSED|ECONNRESET|EPIPE|closed/i;
        await expect(attempt()).rejects.toMatchObject({ code: "LOG_UNREACHABLE", message: expect.stringMatching(reason) });
      }
      await broker.restart();
      await eventually(async () => expect(await log.topics([topic], within(20_000))).toHaveLength(1));
      // It answers before the controller counts it among the brokers that a new topic may be put on.
      await eventually(() => log.createTopic({ name: "other", partitions: 1, replication: -1, configs: {} }, within(40_000)));
    }, 240_000);
  });
});
