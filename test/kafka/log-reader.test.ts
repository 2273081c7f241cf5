// The reader in its group: it starts where it is told, stays there through rebalances and restarts, and never jumps.
import { setTimeout as sleep } from "node:timers/promises";
import kafkajs from "kafkajs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { TailraceError } from "../../src/core/errors.ts";
import type { EventLog, LogReader, Position } from "../../src/core/event-log.ts";
import { oneWorkerAssigner } from "../../src/log/kafka/assignment.ts";
import { SESSION_MS } from "../../src/log/kafka/reader.ts";
import { startKafka } from "../support/kafka.ts";
import type { KafkaServer } from "../support/kafka.ts";
import { describeWithKafka, kafka, uniqueName } from "../support/servers.ts";
import {
  closeLater,
  eventually,
  makeTopic,
  numbered,
  numberOf,
  numbersOf,
  openLog,
  plainOptions,
  QUICK_RESTART,
  range,
  within,
} from "./log-fixture.ts";

/** Polls until `count` records came, and a little longer to see that no more do. */
async function pollNumbers(reader: LogReader, count: number, ms = 60_000): Promise<number[]> {
  const numbers: number[] = [];
  for (const end = performance.now() + ms; numbers.length < count && performance.now() < end;) {
    for (const { records } of await reader.poll({ maxBytes: 1_000_000, waitMs: 500 }, within(20_000)))
      numbers.push(...records.map(numberOf));
  }
  return numbers;
}

async function pollUntilItFails(reader: LogReader, ms = 60_000): Promise<TailraceError> {
  for (const end = performance.now() + ms; performance.now() < end;) {
    try {
      await reader.poll({ maxBytes: 1_000_000, waitMs: 500 }, within(20_000));
    } catch (error) {
      if (error instanceof TailraceError) return error;
      throw error;
    }
  }
  return expect.unreachable("the reader should have failed");
}

const at = (topic: string, offset = 0, partition = 0): Position => ({ topic, partition, offset });

describeWithKafka("the reader of the Kafka log", () => {
  let brokers: readonly string[];
  beforeAll(async () => {
    brokers = (await kafka()).brokers;
  });
  const open = (): EventLog => openLog(plainOptions(brokers));
  const openReader = async (log: EventLog, group: string, positions: readonly Position[]): Promise<LogReader> =>
    closeLater(await log.openReader(group, positions, within(20_000)));
  const plainClient = (): InstanceType<typeof kafkajs.Kafka> =>
    new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });

  async function append(log: EventLog, topic: string, from: number, count: number, partition = 0): Promise<void> {
    const writer = await log.openWriter({ name: "test" }, within(20_000));
    await writer.append([numbered(topic, partition, from, count)], within(20_000));
    await writer[Symbol.asyncDispose]();
  }

  async function deleteRecordsBefore(topic: string, offset: number): Promise<void> {
    const admin = plainClient().admin();
    await admin.connect();
    await admin.fetchTopicOffsets(topic); // it needs to know the leader
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] });
    await admin.disconnect();
  }

  describe("R-routing: no automatic offset reset", () => {
    // Trap: kafkajs answers an offset that is gone by reading on from its default offset, and only logs it.
    test("naively, a consumer whose offset is gone goes on elsewhere without an error", async () => {
      const log = open();
      const topic = await makeTopic(log);
      await append(log, topic, 0, 10);
      await deleteRecordsBefore(topic, 5);
      const consumer = plainClient().consumer({ groupId: topic, maxWaitTimeInMs: 200 });
      const seen: number[] = [];
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      consumer.on(consumer.events.GROUP_JOIN, () => consumer.seek({ topic, partition: 0, offset: "2" }));
      await consumer.run({ eachMessage: ({ message }) => Promise.resolve(void seen.push(Number(message.key))) });
      await eventually(async () => expect(seen).toEqual([5, 6, 7, 8, 9]));
      await consumer.disconnect();
    });

    test("a position that is gone when the reader opens is a gap", async () => {
      const log = open();
      const topic = await makeTopic(log);
      await append(log, topic, 0, 10);
      await deleteRecordsBefore(topic, 5);
      const error = await pollUntilItFails(await openReader(log, topic, [at(topic, 2)]));
      expect(error).toMatchObject({ code: "LOG_GAP", message: expect.stringContaining("starts at offset 5, the sink needs 2") });
    });

    test("a position that goes while the reader waits for it is a gap, also when nothing new arrives", async () => {
      const log = open();
      const topic = await makeTopic(log);
      await append(log, topic, 0, 10);
      const reader = await openReader(log, topic, [at(topic)]);
      expect(await pollNumbers(reader, 10)).toEqual(range(0, 10));
      // The log loses what it has and gets something else: its range is behind the position, then beyond it.
      await log.deleteTopic(topic, within(20_000));
      await log.createTopic({ name: topic, partitions: 1, replication: -1, configs: {} }, within(20_000));
      expect(["LOG_GAP", "TOPIC_LOST"]).toContain((await pollUntilItFails(reader)).code);
    });

    test("records that are deleted before they could be read are a gap, not skipped", async () => {
      const log = open();
      const topic = await makeTopic(log, 1, { "max.message.bytes": "2000000" });
      const writer = closeLater(await log.openWriter({ name: "big" }, within(20_000)));
      // More than the reader buffers, so that it must fetch the rest later.
      for (const number of range(0, 60)) await writer.append([numbered(topic, 0, number, 1, 1_000_000)], within(20_000));
      const reader = await openReader(log, topic, [at(topic)]);
      await sleep(2_000);
      await deleteRecordsBefore(topic, 60);
      await writer.append([numbered(topic, 0, 60, 1)], within(20_000));
      const seen: number[] = [];
      const failing = (async () => {
        for (;;)
          for (const { records } of await reader.poll({ maxBytes: 1, waitMs: 500 }, within(20_000))) seen.push(...records.map(numberOf));
      })();
      await expect(failing).rejects.toMatchObject({ code: "LOG_GAP" });
      expect(seen).toEqual(range(0, seen.length));
      expect(seen.length).toBeLessThan(60);
    });
  });

  describe("in its group", () => {
    test("a rebalance loses and doubles nothing, and the worker that has the partitions keeps them", async () => {
      const log = open();
      const topic = await makeTopic(log, 2);
      const positions = [at(topic, 0, 0), at(topic, 0, 1)];
      const reader = await openReader(log, topic, positions);
      const writer = closeLater(await log.openWriter({ name: "load" }, within(20_000)));
      await Promise.all([0, 1].map((partition) => writer.append([numbered(topic, partition, 0)], within(20_000))));
      const seen = new Map([0, 1].map((partition) => [partition, [] as number[]]));
      const poll = async (): Promise<void> => {
        for (const { partition, records } of await reader.poll({ maxBytes: 3_000, waitMs: 200 }, within(20_000)))
          seen.get(partition)?.push(...records.map(numberOf));
      };
      while ((seen.get(0)?.length ?? 0) === 0) await poll();

      // A rival that does not look first, as two services that start at the same moment would.
      const rival = plainClient().consumer({
        groupId: topic,
        partitionAssigners: [oneWorkerAssigner(positions, () => null)],
        maxWaitTimeInMs: 200,
      });
      const assigned: unknown[] = [];
      const stolen: unknown[] = [];
      await rival.connect();
      await rival.subscribe({ topic });
      rival.on(rival.events.GROUP_JOIN, ({ payload }) => void assigned.push(payload.memberAssignment));
      const running = rival.run({ eachMessage: ({ message }) => Promise.resolve(void stolen.push(message.offset)) });
      let next = 1;
      // For a while, and until the rival has joined.
      for (const end = performance.now() + 6_000; performance.now() < end || assigned.length === 0; next += 2) {
        await Promise.all([0, 1].map((partition) => writer.append([numbered(topic, partition, next, 2)], within(20_000))));
        await poll();
      }
      await running;
      await rival.disconnect();
      while ([...seen.values()].some((numbers) => numbers.length < next)) await poll();
      expect([...seen.values()]).toEqual([range(0, next), range(0, next)]);
      expect(assigned.length).toBeGreaterThan(0);
      expect(assigned.every((assignment) => JSON.stringify(assignment) === "{}")).toBe(true);
      expect(stolen).toEqual([]);
    });

    test("a reader that nobody polls for longer than its session keeps its place, with a bounded buffer", async () => {
      const log = open();
      const topic = await makeTopic(log, 1, { "max.message.bytes": "2000000" });
      const writer = closeLater(await log.openWriter({ name: "big" }, within(20_000)));
      for (const number of range(0, 40)) await writer.append([numbered(topic, 0, number, 1, 1_000_000)], within(20_000));
      const reader = await openReader(log, topic, [at(topic)]);
      await sleep(SESSION_MS + 3_000);
      expect(await pollNumbers(reader, 40)).toEqual(range(0, 40));
    });

    test("a commit shows in the group's offsets and is never read back", async () => {
      const log = open();
      const topic = await makeTopic(log);
      await append(log, topic, 0, 10);
      const reader = await openReader(log, topic, [at(topic)]);
      await pollNumbers(reader, 10);
      await reader.commit([at(topic, 7)]);
      const admin = plainClient().admin();
      await admin.connect();
      expect(await admin.fetchOffsets({ groupId: topic, topics: [topic] })).toMatchObject([{ partitions: [{ offset: "7" }] }]);
      await admin.disconnect();
      await reader[Symbol.asyncDispose]();
      expect(await pollNumbers(await openReader(log, topic, [at(topic, 3)]), 7)).toEqual(range(3, 10));
    });

    test("a group that a foreign consumer reads is taken", async () => {
      const log = open();
      const topic = await makeTopic(log);
      const foreign = plainClient().consumer({ groupId: topic, maxWaitTimeInMs: 200 });
      await foreign.connect();
      await foreign.subscribe({ topic });
      await foreign.run({ eachMessage: () => Promise.resolve() });
      const error = await pollUntilItFails(await openReader(log, topic, [at(topic)]));
      expect(error.code).toBe("GROUP_TAKEN");
      await foreign.disconnect();
    });
  });

  describe("of what others wrote", () => {
    // Trap: kafkajs has no codec for snappy, lz4 and zstd, and a batch of them ends its consumer.
    test.each(["gzip", "snappy", "lz4"])("batches that were compressed by Java's %s are read, by reader and by read()", async (codec) => {
      const log = open();
      // The broker compresses what it is given when its topic says so.
      const topic = await makeTopic(log, 1, { "compression.type": codec });
      const writer = closeLater(await log.openWriter({ name: "test" }, within(20_000)));
      for (const from of [0, 3_000, 6_000]) await writer.append([numbered(topic, 0, from, 3_000, 100)], within(20_000));
      expect(await numbersOf(log, topic, 0, 4_500)).toEqual(range(4_500, 9_000));
      expect(await pollNumbers(await openReader(log, uniqueName(codec), [at(topic, 10)]), 8_990)).toEqual(range(10, 9_000));
    });

    test("zstd is read where Node.js has it, and a named error where it has not", async () => {
      const log = open();
      const topic = await makeTopic(log, 1, { "compression.type": "zstd" });
      await append(log, topic, 0, 1_000);
      const reader = await openReader(log, topic, [at(topic)]);
      const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
      if (major > 22 || (major === 22 && minor >= 15)) {
        expect(await numbersOf(log, topic)).toEqual(range(0, 1_000));
        expect(await pollNumbers(reader, 1_000)).toEqual(range(0, 1_000));
      } else {
        await expect(numbersOf(log, topic)).rejects.toMatchObject({ code: "LOG_CODEC" });
        expect((await pollUntilItFails(reader)).code).toBe("LOG_CODEC");
      }
    });

    test("transaction markers are passed over, and the position moves past them", async () => {
      const log = open();
      const topic = await makeTopic(log);
      const producer = plainClient().producer({
        transactionalId: topic,
        maxInFlightRequests: 1,
        createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      });
      await producer.connect();
      for (const number of [0, 1]) {
        const transaction = await producer.transaction();
        await transaction.send({ topic, messages: [{ partition: 0, key: String(number), value: "v" }] });
        await transaction.commit();
      }
      await producer.disconnect();
      // A commit is answered before its marker is in the partition.
      await eventually(async () => expect(await log.offsets(topic, within(20_000))).toMatchObject([{ end: 4 }]));
      const fetched = await log.read(at(topic), 1_000_000, within(20_000));
      expect([fetched.records.map(({ offset }) => offset), fetched.next, fetched.end]).toEqual([[0, 2], 4, 4]);
      expect(await log.read(at(topic, 3), 1_000_000, within(20_000))).toMatchObject({ records: [], next: 4 });
      const reader = await openReader(log, topic, [at(topic, 3)]);
      await eventually(async () =>
        expect(await reader.poll({ maxBytes: 1_000, waitMs: 500 }, within(20_000))).toMatchObject([{ records: [], next: 4 }]),
      );
    });
  });

  test("nothing is printed, whatever happens", async () => {
    const written = [
      vi.spyOn(process.stdout, "write"),
      vi.spyOn(process.stderr, "write"),
      vi.spyOn(console, "error"),
      vi.spyOn(console, "log"),
    ];
    const log = openLog({ ...plainOptions(["127.0.0.1:1"]), clientId: "silent" });
    await expect(log.createTopic({ name: "t", partitions: 1, replication: -1, configs: {} }, within(40_000))).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
    });
    for (const spy of written) {
      expect(spy.mock.calls.flat().filter((text) => /kafkajs|KafkaJS/i.test(String(text)))).toEqual([]);
      spy.mockRestore();
    }
  });

  describe("on a broker that dies", () => {
    let broker: KafkaServer;
    beforeAll(async () => {
      broker = await startKafka({ settings: QUICK_RESTART });
    });
    afterAll(() => broker[Symbol.asyncDispose]());

    test("kill -9 under reading: opened again from where it was, it loses and doubles nothing", async () => {
      const log = openLog(plainOptions(broker.brokers));
      const topic = await makeTopic(log);
      const total = 3_000;
      const appending = (async () => {
        for (let from = 0; from < total;) {
          await eventually(async () => {
            const writer = await log.openWriter({ name: "load" }, within(20_000));
            try {
              from = (await numbersOf(log, topic)).length;
              for (; from < total; from += 10) {
                await writer.append([numbered(topic, 0, from, 10)], within(20_000));
                await sleep(10);
              }
            } finally {
              await writer[Symbol.asyncDispose]();
            }
          }, 180_000);
        }
      })();
      const seen: number[] = [];
      let opened = 0;
      const reading = eventually(async () => {
        const reader = await log.openReader(topic, [at(topic, seen.length)], within(20_000));
        opened++;
        try {
          for (const end = performance.now() + 180_000; seen.length < total && performance.now() < end;) {
            for (const { records } of await reader.poll({ maxBytes: 100_000, waitMs: 500 }, within(20_000)))
              seen.push(...records.map(numberOf));
          }
        } finally {
          await reader[Symbol.asyncDispose]();
        }
      }, 180_000);
      await eventually(async () => expect(seen.length).toBeGreaterThan(300));
      await broker.kill();
      await sleep(500);
      await broker.restart();
      await Promise.all([appending, reading]);
      expect(seen).toEqual(range(0, total));
      expect(opened).toBeLessThan(20);
    }, 300_000);
  });
});
