// The writer when connections, answers and topics are lost under it: what a second try may and may not do.
import { Connection } from "@platformatic/kafka";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { EventLog, LogWriter } from "../../src/core/event-log.ts";
import { sequenceAfter, stampProducer } from "../../src/core/record-batch.ts";
import { Brokers } from "../../src/log/kafka/brokers.ts";
import { hostAndPort } from "../../src/log/kafka/connections.ts";
import { produceApis } from "../../src/log/kafka/produce-request.ts";
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
import { Proxy } from "./proxy.ts";

const openWriter = async (log: EventLog): Promise<LogWriter> => closeLater(await log.openWriter({ name: "test" }, within(20_000)));

describeWithKafka("the writer of the Kafka log, when something is lost", () => {
  describe("on the way to the broker", () => {
    let proxy: Proxy;
    let broker: KafkaServer;
    let log: EventLog;
    beforeAll(async () => {
      proxy = await Proxy.start();
      broker = await startKafka({ settings: { ...QUICK_RESTART, "advertised.listeners": `PLAINTEXT://${proxy.address}` } });
      proxy.target = broker.brokers[0];
    });
    afterEach(() => {
      proxy.silent = false;
      proxy.loseAnswers(0);
    });
    afterAll(async () => {
      await broker[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    });
    const open = (): EventLog => (log = openLog(plainOptions([proxy.address])));

    test("R-writer: batches that landed and whose answers are lost are sent again, and have the offsets of the first time", async () => {
      const topic = await makeTopic(open(), 2);
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0), numbered(topic, 1, 0)], within(20_000));
      for (const round of [1, 2]) {
        proxy.loseAnswers(4);
        const first = (round - 1) * 16 + 1;
        const appends = range(first, first + 16).map((number) =>
          writer.append([numbered(topic, 0, number), numbered(topic, 1, number)], within(20_000)),
        );
        expect(await Promise.all(appends)).toEqual(range(first, first + 16).map((number) => [number, number]));
        expect(proxy.toLose).toBe(0);
      }
      for (const partition of [0, 1]) expect(await numbersOf(log, topic, partition)).toEqual(range(0, 33));
    });

    test("R-writer: the very first batch may lose its answer too", async () => {
      const topic = await makeTopic(open());
      const writer = await openWriter(log);
      await writer.append([numbered(await makeTopic(log), 0, 0)], within(20_000)); // the connection is there
      proxy.loseAnswers(2); // of the question for the leader, or of the batch
      const appends = range(0, 8).map((number) => writer.append([numbered(topic, 0, number)], within(20_000)));
      expect(await Promise.all(appends)).toEqual(range(0, 8).map((number) => [number]));
      expect(await numbersOf(log, topic)).toEqual(range(0, 8));
    });

    test("connections cut again and again under load cost nothing and change no order", async () => {
      const topic = await makeTopic(open(), 4);
      const writer = await openWriter(log);
      const ended = new AbortController();
      const lane = async (partition: number): Promise<number> => {
        let next = 0;
        while (!ended.signal.aborted) {
          const appends = range(0, 8).map(async (at) => {
            const [offset] = await writer.append([numbered(topic, partition, next + at * 3, 3, 2_000)], within(20_000));
            expect(offset).toBe(next + at * 3);
          });
          await Promise.all(appends);
          next += 24;
        }
        return next;
      };
      const lanes = Promise.all(range(0, 4).map(lane));
      for (let cut = 0; cut < 25; cut++) {
        await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 150));
        proxy.cut();
      }
      ended.abort();
      for (const [partition, count] of (await lanes).entries()) expect(await numbersOf(log, topic, partition)).toEqual(range(0, count));
    });

    test("a broker that answers nothing any more ends the append with the caller's signal, whose bytes are its own again", async () => {
      const topic = await makeTopic(open());
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      proxy.silent = true;
      const stop = new AbortController();
      const batches = range(1, 9).map((number) => numbered(topic, 0, number, 1, 50_000));
      const appends = Promise.allSettled(batches.map((batch) => writer.append([batch], stop.signal)));
      setTimeout(() => stop.abort(new Error("asked to stop")), 100);
      for (const outcome of await appends) expect(outcome).toMatchObject({ status: "rejected", reason: { message: "asked to stop" } });
      for (const { bytes } of batches) bytes.fill(0);
      proxy.silent = false;
      const found = await numbersOf(log, topic);
      expect(found).toEqual(range(0, found.length));
      expect(await (await openWriter(log)).append([numbered(topic, 0, found.length)], within(20_000))).toEqual([found.length]);
    });

    test("a broker that answers nothing any more ends the writer after a request's time", async () => {
      const topic = await makeTopic(open());
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      proxy.silent = true;
      const began = performance.now();
      const append = writer.append([numbered(topic, 0, 1)], within(50_000));
      await expect(append).rejects.toMatchObject({ code: "LOG_UNREACHABLE", message: expect.stringMatching(/timed out/) });
      expect(performance.now() - began).toBeLessThan(25_000);
    });

    test("a broker that stays away ends the writer within its bound, by what is wrong", async () => {
      const topic = await makeTopic(open());
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      await broker.stop();
      const began = performance.now();
      const append = writer.append([numbered(topic, 0, 1)], within(60_000));
      await expect(append).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      const tookMs = performance.now() - began;
      expect(tookMs).toBeGreaterThan(9_000);
      expect(tookMs).toBeLessThan(20_000);
      await expect(writer.append([numbered(topic, 0, 1)], within(9_000))).rejects.toThrow(/the writer ended before/);
      await broker.restart();
    });

    test("R-writer: kill -9 and a restart under appends: nothing acknowledged is lost, nothing is there twice, order is kept", async () => {
      const topic = await makeTopic(open(), 3);
      const acknowledged = range(0, 3).map(() => 0);
      for (let round = 0; round < 3; round++) {
        const writer = await eventually(() => log.openWriter({ name: "load" }, within(20_000)));
        const ended = new AbortController();
        const lane = async (partition: number): Promise<void> => {
          let next = (await eventually(() => numbersOf(log, topic, partition))).length;
          while (!ended.signal.aborted) {
            const from = next;
            next += 10;
            const appends = range(from, next).map(async (number) => {
              const [offset] = await writer.append([numbered(topic, partition, number)], within(60_000));
              expect(offset).toBe(number);
              acknowledged[partition] = number + 1;
            });
            for (const outcome of await Promise.allSettled(appends)) if (outcome.status === "rejected") ended.abort();
          }
        };
        const lanes = Promise.all(range(0, 3).map(lane));
        await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 500));
        await broker.kill();
        await broker.restart();
        await new Promise((resolve) => setTimeout(resolve, 500));
        ended.abort();
        await lanes;
        await writer[Symbol.asyncDispose]();
      }
      for (const partition of range(0, 3)) {
        const found = await eventually(() => numbersOf(log, topic, partition));
        expect(found).toEqual(range(0, found.length));
        expect(acknowledged[partition]).toBeGreaterThan(0);
        expect(acknowledged[partition]).toBeLessThanOrEqual(found.length);
      }
    }, 120_000);
  });

  describe("in the cluster", () => {
    test("R-routing: a topic that was deleted under the writer is refused by name", async () => {
      const log = openLog(plainOptions((await kafka()).brokers));
      const topic = await makeTopic(log);
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      await log.deleteTopic(topic, within(20_000));
      const append = writer.append([numbered(topic, 0, 1)], within(20_000));
      await expect(append).rejects.toMatchObject({ code: "LOG_REFUSED", message: expect.stringMatching(/UNKNOWN_TOPIC_OR_PARTITION/) });
    });

    test("R-routing: a topic that was made again under its name gets nothing that was meant for the first", async () => {
      const log = openLog(plainOptions((await kafka()).brokers));
      const topic = await makeTopic(log);
      const writer = await openWriter(log);
      await writer.append([numbered(topic, 0, 0)], within(20_000));
      await log.deleteTopic(topic, within(20_000));
      await eventually(() => log.createTopic({ name: topic, partitions: 1, replication: -1, configs: {} }, within(20_000)));
      const append = writer.append([numbered(topic, 0, 1)], within(20_000));
      await expect(append).rejects.toMatchObject({ code: "LOG_REFUSED", message: expect.stringMatching(/made again/) });
      expect((await log.offsets(topic, within(9_000))).map(({ end }) => end)).toEqual([0]);
    });

    test("R-writer: two writers at once keep their orders, and each sees the other in its offsets", async () => {
      const log = openLog(plainOptions((await kafka()).brokers));
      const topic = await makeTopic(log);
      const writers = [await openWriter(log), await openWriter(log)];
      const offsets = await Promise.all(
        writers.map(async (writer, who) =>
          (
            await Promise.all(range(0, 100).map((number) => writer.append([numbered(topic, 0, who * 1_000 + number)], within(20_000))))
          ).flat(),
        ),
      );
      const found = await numbersOf(log, topic);
      for (const [who, seen] of offsets.entries())
        expect(seen.map((offset) => found[offset])).toEqual(range(who * 1_000, who * 1_000 + 100));
      expect(offsets.flat().sort((a, b) => a - b)).toEqual(range(0, 200));
      expect(offsets.some((seen) => seen.some((offset, at) => at > 0 && offset !== seen[at - 1]! + 1))).toBe(true);
    });

    // Seen: a first base sequence other than 0 is taken. Hence the first batch travels alone.
    test.each([9, 13] as const)("produce %i: a producer may begin at any sequence; numbers go on at 0 after 2^31 - 1", async (version) => {
      const options = plainOptions((await kafka()).brokers);
      const topic = await makeTopic(openLog(options));
      const brokers = new Brokers(options);
      const [found] = await brokers.topics([topic], within(9_000));
      const { id, epoch } = await brokers.producerId(within(9_000));
      await brokers.close(1_000);
      const connection = new Connection("raw");
      const { host, port } = hostAndPort(options.brokers[0]!);
      await connection.connect(host, port);
      let sequence = 0x7fff_fffd;
      const send = async (number: number, count: number): Promise<unknown> => {
        const { bytes } = numbered(topic, 0, number, count);
        stampProducer(bytes, id, epoch, sequence);
        const [answer] = await produceApis[version].async(connection, [
          { name: topic, id: found?.id ?? "", partitions: [{ partition: 0, bytes }] },
        ]);
        return answer;
      };
      expect(await send(0, 2)).toMatchObject({ errorCode: 0, baseOffset: 0n });
      sequence = sequenceAfter(sequence, 2);
      expect(await send(2, 4)).toMatchObject({ errorCode: 0, baseOffset: 2n });
      expect(await send(2, 4)).toMatchObject({ errorCode: 0, baseOffset: 2n }); // the same again: where it is already
      sequence = sequenceAfter(sequence, 4);
      expect(sequence).toBe(3);
      expect(await send(6, 1)).toMatchObject({ errorCode: 0, baseOffset: 6n });
      sequence = 9;
      expect(await send(7, 1)).toMatchObject({ errorCode: 45, baseOffset: -1n }); // OUT_OF_ORDER_SEQUENCE_NUMBER
      await connection.close();
      expect(await numbersOf(openLog(options), topic)).toEqual(range(0, 7));
    });
  });
});
