// What every event log must do, as one suite that is run for each adapter. Each expectation is a promise of the port
// (core/event-log), written so that it says nothing about how an adapter keeps it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TailraceError } from "../../src/core/errors.ts";
import type { EventLog, LogReader, LogRecord, LogWriter, OffsetRange, Position, Topic } from "../../src/core/event-log.ts";
import { RecordBatchWriter } from "../../src/core/record-batch.ts";
import { formatSequence, SEQUENCE_HEADER } from "../../src/core/sequence.ts";
import { ZERO_LSN } from "../../src/core/lsn.ts";
import {
  LARGE,
  Seen,
  TIMESTAMP,
  at,
  batch,
  deadline,
  encoded,
  eventually,
  failure,
  fill,
  filler,
  keyText,
  pollUntilTaken,
  settled,
  sized,
  soon,
} from "./event-log-probes.ts";

export type EventLogUnderTest = {
  readonly kind: EventLog["kind"];
  /** One log for the whole suite, empty or not: the suite uses topic and group names of its own. Disposed by the suite. */
  open(): Promise<EventLog>;
  /** The longest that joining a group, or taking over one that a worker has just left, may take. */
  readonly joinMs: number;
};

/** Declares the suite; call it at the top of a test file. */
export function eventLogConformance(under: EventLogUnderTest): void {
  const patience = { timeout: 120_000 + 3 * under.joinMs };

  describe(`the event log, ${under.kind}`, patience, () => {
    const run = `${under.kind}-${process.pid.toString(36)}-${Date.now().toString(36)}`;
    let names = 0;
    let log: EventLog;
    beforeAll(async () => {
      log = await under.open();
    }, 60_000);
    afterAll(async () => {
      await log[Symbol.asyncDispose]();
    }, 60_000);

    const freshName = (): string => `conformance.${run}.${++names}`;
    const makeTopic = (partitions = 1, configs: Record<string, string> = {}): Promise<Topic> =>
      log.createTopic({ name: freshName(), partitions, replication: -1, configs }, soon());

    async function withWriter<T>(use: (writer: LogWriter) => Promise<T>): Promise<T> {
      const writer = await log.openWriter({ name: run }, soon());
      try {
        return await use(writer);
      } finally {
        await writer[Symbol.asyncDispose]();
      }
    }

    async function withReader<T>(group: string, positions: readonly Position[], use: (reader: LogReader) => Promise<T>): Promise<T> {
      const reader = await log.openReader(group, positions, soon(under.joinMs));
      try {
        return await use(reader);
      } finally {
        await reader[Symbol.asyncDispose]();
      }
    }

    /** All of a partition from `offset` on, by single reads. */
    async function readAll(topic: string, partition: number, offset = 0): Promise<LogRecord[]> {
      const records: LogRecord[] = [];
      for (let next = offset; ;) {
        const fetched = await log.read({ topic, partition, offset: next }, LARGE, soon());
        records.push(...fetched.records);
        if (fetched.next === next) return records;
        next = fetched.next;
      }
    }

    const rangeOf = async (topic: string, partition = 0): Promise<OffsetRange | undefined> =>
      (await log.offsets(topic, soon())).find((range) => range.partition === partition);

    describe("topics", () => {
      test("a topic that was made is described with its id and partitions; names that are not there are left out", async () => {
        const name = freshName();
        expect(await log.topics([name], soon())).toEqual([]);
        const made = await log.createTopic({ name, partitions: 3, replication: -1, configs: {} }, soon());
        expect(made).toEqual({ name, id: expect.stringMatching(/./) as string, partitions: 3 });
        expect(await log.topics([name, freshName()], soon())).toEqual([made]);
        expect(await log.topics([], soon())).toEqual([]);
      });

      test("making a topic that is there gives the existing one as it is", async () => {
        const made = await makeTopic(2);
        expect(await log.createTopic({ name: made.name, partitions: 5, replication: -1, configs: {} }, soon())).toEqual(made);
      });

      test("R-routing: a topic that was deleted and made again has another id and no records", async () => {
        const first = await makeTopic();
        await withWriter((writer) => writer.append([batch(first.name, 0, ["a"])], soon()));
        await log.deleteTopic(first.name, soon());
        await eventually(async () => expect(await log.topics([first.name], soon())).toEqual([]));
        const second = await eventually(async () => {
          const topic = await log.createTopic({ name: first.name, partitions: 1, replication: -1, configs: {} }, soon());
          expect(topic.id).not.toBe(first.id);
          return topic;
        });
        expect(await log.topics([first.name], soon())).toEqual([second]);
        await eventually(async () => expect(await rangeOf(first.name)).toMatchObject({ start: 0, end: 0 }));
        expect(await withWriter((writer) => writer.append([batch(first.name, 0, ["b"])], soon()))).toEqual([0]);
        expect((await readAll(first.name, 0)).map(keyText)).toEqual(["b"]);
      });

      test("deleting a topic that is not there does nothing", async () => {
        await log.deleteTopic(freshName(), soon());
      });

      test("the configs that a topic was made with are its effective ones; unknown names are left out", async () => {
        const topic = await makeTopic(1, { "cleanup.policy": "compact", "max.message.bytes": "2097152" });
        const configs = await log.topicConfigs(topic.name, ["cleanup.policy", "max.message.bytes", "no.such.config"], soon());
        expect(configs).toEqual({ "cleanup.policy": "compact", "max.message.bytes": "2097152" });
      });

      test("a new topic has every partition, empty", async () => {
        const { name } = await makeTopic(3);
        const ranges = [...(await log.offsets(name, soon()))].sort((a, b) => a.partition - b.partition);
        expect(ranges).toEqual([0, 1, 2].map((partition) => ({ topic: name, partition, start: 0, end: 0 })));
      });
    });

    describe("appending and reading", () => {
      test("keys, values, headers, nulls, empty bytes and timestamps come back as they were", async () => {
        const { name } = await makeTopic();
        const sequence = formatSequence({ epoch: 1, commitLsn: ZERO_LSN, ordinal: 7 });
        const writer = new RecordBatchWriter();
        const bytes = Buffer.from("..key..value..");
        writer.append(bytes, 2, 5, bytes, 7, 12);
        writer.append(null, 0, 0, bytes, 7, 7);
        writer.appendTombstone(bytes, 2, 5, Buffer.from(sequence));
        writer.appendWithHeaders(Buffer.alloc(0), null, [
          ["__connect.errors.topic", Buffer.from("t")],
          ["empty", Buffer.alloc(0)],
          ["empty", Buffer.from([0, 255])],
        ]);
        await withWriter((to) => to.append([encoded(name, 0, writer)], soon()));

        expect(await readAll(name, 0)).toEqual([
          { offset: 0, timestamp: TIMESTAMP, key: Buffer.from("key"), value: Buffer.from("value"), headers: [] },
          { offset: 1, timestamp: TIMESTAMP, key: null, value: Buffer.alloc(0), headers: [] },
          { offset: 2, timestamp: TIMESTAMP, key: Buffer.from("key"), value: null, headers: [[SEQUENCE_HEADER, Buffer.from(sequence)]] },
          {
            offset: 3,
            timestamp: TIMESTAMP,
            key: Buffer.alloc(0),
            value: null,
            headers: [
              ["__connect.errors.topic", Buffer.from("t")],
              ["empty", Buffer.alloc(0)],
              ["empty", Buffer.from([0, 255])],
            ],
          },
        ]);
      });

      test("base offsets are contiguous, and the range grows with them", async () => {
        const { name } = await makeTopic();
        await withWriter(async (writer) => {
          expect(await writer.append([batch(name, 0, ["a", "b", "c"])], soon())).toEqual([0]);
          expect(await rangeOf(name)).toEqual({ topic: name, partition: 0, start: 0, end: 3 });
          expect(await writer.append([batch(name, 0, ["d"])], soon())).toEqual([3]);
          expect(await writer.append([batch(name, 0, ["e", "f"])], soon())).toEqual([4]);
          expect(await rangeOf(name)).toEqual({ topic: name, partition: 0, start: 0, end: 6 });
        });
        expect((await readAll(name, 0)).map(keyText)).toEqual(["a", "b", "c", "d", "e", "f"]);
      });

      test("a second writer goes on where the first one stopped", async () => {
        const { name } = await makeTopic();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b"])], soon()));
        expect(await withWriter((writer) => writer.append([batch(name, 0, ["c"])], soon()))).toEqual([2]);
      });

      test("an append of no batches resolves with no offsets", async () => {
        await withWriter(async (writer) => expect(await writer.append([], soon())).toEqual([]));
      });

      test("one append takes batches of several partitions and topics; base offsets are in the order of the batches", async () => {
        const [one, two] = [await makeTopic(2), await makeTopic(1)];
        await withWriter(async (writer) => {
          const first = [batch(two.name, 0, ["t0"]), batch(one.name, 1, ["p1", "p1b"]), batch(one.name, 0, ["p0"])];
          expect(await writer.append(first, soon())).toEqual([0, 0, 0]);
          const second = [batch(one.name, 1, ["p1c"]), batch(one.name, 0, ["p0b"]), batch(two.name, 0, ["t1"])];
          expect(await writer.append(second, soon())).toEqual([2, 1, 1]);
        });
        expect((await readAll(one.name, 0)).map(keyText)).toEqual(["p0", "p0b"]);
        expect((await readAll(one.name, 1)).map(keyText)).toEqual(["p1", "p1b", "p1c"]);
        expect((await readAll(two.name, 0)).map(keyText)).toEqual(["t0", "t1"]);
      });

      test("one append takes several batches of one partition, in their order", async () => {
        const { name } = await makeTopic(2);
        await withWriter(async (writer) => {
          const batches = [batch(name, 0, ["a", "b"]), batch(name, 1, ["x"]), batch(name, 0, ["c"]), batch(name, 0, ["d"])];
          expect(await writer.append(batches, soon())).toEqual([0, 0, 2, 3]);
        });
        expect((await readAll(name, 0)).map(keyText)).toEqual(["a", "b", "c", "d"]);
      });

      // Trap: with kafkajs the last two of several sends to one partition that are in flight together change places.
      test("R-writer: many appends in flight keep the order of the calls, partition by partition", async () => {
        const { name } = await makeTopic(3);
        const calls = 300;
        const results = await withWriter((writer) =>
          Promise.all(Array.from({ length: calls }, (_, call) => writer.append([batch(name, call % 3, [`${call}`, `${call}b`])], soon()))),
        );
        expect(results.flat()).toEqual(Array.from({ length: calls }, (_, call) => Math.floor(call / 3) * 2));
        for (const partition of [0, 1, 2]) {
          const expected = Array.from({ length: calls / 3 }, (_, at) => [`${at * 3 + partition}`, `${at * 3 + partition}b`]).flat();
          expect((await readAll(name, partition)).map(keyText)).toEqual(expected);
        }
      });

      test("one signal may serve many appends in flight", async () => {
        const { name } = await makeTopic();
        const warnings: Error[] = [];
        const onWarning = (warning: Error): void => void warnings.push(warning);
        process.on("warning", onWarning);
        const signal = soon();
        await withWriter((writer) => Promise.all(Array.from({ length: 50 }, () => writer.append([batch(name, 0, ["a"])], signal))));
        await new Promise((resolve) => setImmediate(resolve));
        process.off("warning", onWarning);
        expect(warnings.filter((warning) => warning.name === "MaxListenersExceededWarning")).toEqual([]);
      });

      test("the caller's buffer may be used again once the append has resolved", async () => {
        const { name } = await makeTopic();
        const batches = new RecordBatchWriter();
        await withWriter(async (writer) => {
          for (const key of ["a", "b", "c", "d"]) {
            batches.reset();
            fill(batches, [key]);
            await writer.append([encoded(name, 0, batches)], soon());
          }
        });
        expect((await readAll(name, 0)).map(keyText)).toEqual(["a", "b", "c", "d"]);
      });

      test("a batch of exactly max.message.bytes is taken and comes back; one byte more is refused by name", async () => {
        const limit = 300_000;
        const { name } = await makeTopic(1, { "max.message.bytes": `${limit}` });
        await withWriter(async (writer) => {
          expect(await writer.append([sized(name, limit)], soon())).toEqual([0]);
          const refusal = await failure(writer.append([sized(name, limit + 1)], soon()), "LOG_REFUSED");
          expect(refusal.message).toContain(name);
          expect(refusal.message).toMatch(/larger|large|max\.message\.bytes/i);
        });
        const [record] = await readAll(name, 0);
        expect(record?.value?.equals(filler(record.value.length))).toBe(true);
      });

      test("a batch of 8 MiB passes when the topic allows it", async () => {
        const { name } = await makeTopic(1, { "max.message.bytes": `${16 * 1024 * 1024}` });
        await withWriter((writer) => writer.append([sized(name, 8 * 1024 * 1024)], soon()));
        const fetched = await log.read({ topic: name, partition: 0, offset: 0 }, LARGE, soon());
        expect(fetched.records.map((record) => record.value?.equals(filler(record.value.length)))).toEqual([true]);
      });

      test("a batch whose bytes changed after it was finished is refused, not stored", async () => {
        const { name } = await makeTopic();
        await withWriter(async (writer) => {
          const bad = batch(name, 0, ["a"]);
          bad.bytes[bad.bytes.length - 1] = (bad.bytes.at(-1) ?? 0) ^ 1;
          await failure(writer.append([bad], soon()), "LOG_REFUSED");
        });
        expect(await rangeOf(name)).toMatchObject({ start: 0, end: 0 });
      });

      test("R-writer: after a failed append the writer refuses every later one, those in flight too; another writer goes on", async () => {
        const { name } = await makeTopic(1, { "max.message.bytes": "2000" });
        await withWriter(async (writer) => {
          const outcomes = await Promise.allSettled([
            writer.append([batch(name, 0, ["a"])], soon()),
            writer.append([sized(name, 2001)], soon()),
            writer.append([batch(name, 0, ["never"])], soon()),
          ]);
          expect(outcomes.map((outcome) => outcome.status)).toEqual(["fulfilled", "rejected", "rejected"]);
          await failure(writer.append([batch(name, 0, ["never"])], soon()), "LOG_REFUSED", "LOG_UNREACHABLE");
        });
        expect(await withWriter((writer) => writer.append([batch(name, 0, ["b"])], soon()))).toEqual([1]);
        expect((await readAll(name, 0)).map(keyText)).toEqual(["a", "b"]);
      });

      test("an append to a topic or partition that is not there is refused by name", async () => {
        const missing = freshName();
        await withWriter(async (writer) => {
          const refusal = await failure(writer.append([batch(missing, 0, ["a"])], soon()), "LOG_REFUSED");
          expect(refusal.message).toContain(missing);
        });
        const { name } = await makeTopic(2);
        await withWriter((writer) => failure(writer.append([batch(name, 2, ["a"])], soon()), "LOG_REFUSED"));
      });
    });

    describe("reading from a place", () => {
      test("reading starts exactly at the offset, also inside a batch", async () => {
        const { name } = await makeTopic();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b", "c"])], soon()));
        await withWriter((writer) => writer.append([batch(name, 0, ["d", "e"])], soon()));
        for (const [offset, keys] of [
          [0, ["a", "b", "c", "d", "e"]],
          [1, ["b", "c", "d", "e"]],
          [3, ["d", "e"]],
          [4, ["e"]],
        ] as const) {
          expect((await readAll(name, 0, offset)).map(keyText)).toEqual(keys);
        }
      });

      test("reading at the end gives nothing, and the range", async () => {
        const { name } = await makeTopic(2);
        await withWriter((writer) => writer.append([batch(name, 1, ["a", "b"])], soon()));
        expect(await log.read({ topic: name, partition: 1, offset: 2 }, LARGE, soon())).toEqual({
          topic: name,
          partition: 1,
          records: [],
          next: 2,
          start: 0,
          end: 2,
        });
        expect(await log.read({ topic: name, partition: 0, offset: 0 }, LARGE, soon())).toMatchObject({ records: [], next: 0, end: 0 });
      });

      test("R-routing: reading past the end, or below the start, is a gap", async () => {
        const { name } = await makeTopic();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b"])], soon()));
        const gap = await failure(log.read({ topic: name, partition: 0, offset: 3 }, LARGE, soon()), "LOG_GAP");
        expect(gap.message).toContain(name);
        await failure(log.read({ topic: name, partition: 0, offset: -1 }, LARGE, soon()), "LOG_GAP");
      });

      test("R-routing: a topic that is not there is a lost one", async () => {
        const missing = freshName();
        await failure(log.read({ topic: missing, partition: 0, offset: 0 }, LARGE, soon()), "TOPIC_LOST");
        await failure(log.offsets(missing, soon()), "TOPIC_LOST");
      });

      test("a read is bounded by maxBytes but always makes progress", async () => {
        const { name } = await makeTopic();
        await withWriter(async (writer) => {
          for (let at = 0; at < 20; at++) await writer.append([sized(name, 20_000)], soon());
        });
        let next = 0;
        for (let reads = 0; next < 20; reads++) {
          expect(reads).toBeLessThan(20);
          const fetched = await log.read({ topic: name, partition: 0, offset: next }, 50_000, soon());
          expect(fetched.records.length).toBeGreaterThanOrEqual(1);
          expect(fetched.records.length).toBeLessThanOrEqual(3);
          next = fetched.next;
        }
        const one = await log.read({ topic: name, partition: 0, offset: 0 }, 1, soon());
        expect(one.records.map((record) => record.offset)).toEqual([0]);
      });
    });

    describe("a reader", () => {
      test("starts exactly at the given positions, one per partition, and reads on in order", async () => {
        const { name } = await makeTopic(3);
        await withWriter(async (writer) => {
          await writer.append([batch(name, 0, ["a0", "a1", "a2"]), batch(name, 1, ["b0"]), batch(name, 2, ["c0", "c1"])], soon());
          const positions = [at(name, 0, 1), at(name, 1, 1), at(name, 2, 0)];
          await withReader(freshName(), positions, async (reader) => {
            const seen = new Seen();
            await seen.until(reader, 4);
            await writer.append([batch(name, 1, ["b1"]), batch(name, 0, ["a3"])], soon());
            await seen.until(reader, 6);
            expect(seen.keys(name, 0)).toEqual(["a1", "a2", "a3"]);
            expect(seen.keys(name, 1)).toEqual(["b1"]);
            expect(seen.keys(name, 2)).toEqual(["c0", "c1"]);
            expect(seen.next(name, 0)).toBe(4);
            expect(seen.end(name, 0)).toBe(4);
          });
        });
      });

      test("reads only the partitions it was given, of several topics", async () => {
        const [one, two] = [await makeTopic(2), await makeTopic(1)];
        await withWriter((writer) =>
          writer.append([batch(one.name, 0, ["x"]), batch(one.name, 1, ["y"]), batch(two.name, 0, ["z"])], soon()),
        );
        await withReader(freshName(), [at(one.name, 1, 0), at(two.name, 0, 0)], async (reader) => {
          const seen = new Seen();
          await seen.until(reader, 2);
          expect(seen.keys(one.name, 1)).toEqual(["y"]);
          expect(seen.keys(two.name, 0)).toEqual(["z"]);
          expect(seen.keys(one.name, 0)).toEqual([]);
        });
      });

      test("does not begin at what the group committed, but where it is told", async () => {
        const { name } = await makeTopic();
        const group = freshName();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b", "c"])], soon()));
        await withReader(group, [at(name, 0, 0)], async (reader) => {
          await new Seen().until(reader, 3);
          await reader.commit([at(name, 0, 3)]);
        });
        await withReader(group, [at(name, 0, 1)], async (reader) => {
          const seen = new Seen();
          await seen.until(reader, 2);
          expect(seen.keys(name, 0)).toEqual(["b", "c"]);
        });
      });

      test("poll waits for the first record and returns soon after it", async () => {
        const { name } = await makeTopic();
        await withReader(freshName(), [at(name, 0, 0)], async (reader) => {
          await reader.poll({ maxBytes: LARGE, waitMs: 10 }, soon(under.joinMs));
          const waiting = reader.poll({ maxBytes: LARGE, waitMs: 60_000 }, soon(60_000));
          await withWriter((writer) => writer.append([batch(name, 0, ["late"])], soon()));
          const appended = performance.now();
          const polled = await waiting;
          expect(performance.now() - appended).toBeLessThan(15_000); // it would have waited for a minute
          expect(polled.flatMap((fetched) => fetched.records.map(keyText))).toEqual(["late"]);
        });
      });

      test("poll returns nothing when waitMs are over", async () => {
        const { name } = await makeTopic();
        await withReader(freshName(), [at(name, 0, 0)], async (reader) => {
          await reader.poll({ maxBytes: LARGE, waitMs: 10 }, soon(under.joinMs));
          const began = performance.now();
          const polled = await reader.poll({ maxBytes: LARGE, waitMs: 300 }, soon());
          expect(polled.flatMap((fetched) => fetched.records)).toEqual([]);
          expect(performance.now() - began).toBeGreaterThan(250);
          expect(performance.now() - began).toBeLessThan(15_000);
        });
      });

      test("poll is bounded by maxBytes, and loses nothing by it", async () => {
        const { name } = await makeTopic(2);
        await withWriter(async (writer) => {
          for (let turn = 0; turn < 30; turn++) await writer.append([sized(name, 20_000, 0), sized(name, 20_000, 1)], soon());
        });
        await withReader(freshName(), [at(name, 0, 0), at(name, 1, 0)], async (reader) => {
          const seen = new Seen();
          await seen.until(reader, 60, { maxBytes: 50_000, most: 3 });
          for (const partition of [0, 1]) expect(seen.offsets(name, partition)).toEqual(Array.from({ length: 30 }, (_, offset) => offset));
        });
      });

      test("R-routing: a position outside a partition's range is a gap, not a reset", async () => {
        const { name } = await makeTopic();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b"])], soon()));
        for (const offset of [3, 1_000_000]) {
          await failure(
            withReader(freshName(), [at(name, 0, offset)], async (reader) => {
              for (const patience = deadline(under.joinMs + 10_000); ; patience.check())
                await reader.poll({ maxBytes: LARGE, waitMs: 200 }, soon());
            }),
            "LOG_GAP",
          );
        }
      });

      test("a second worker of a group gets nothing while the first one reads on, and all of it when the first has gone", async () => {
        const { name } = await makeTopic();
        const group = freshName();
        const first = await log.openReader(group, [at(name, 0, 0)], soon(under.joinMs));
        const firstSeen = new Seen();
        await withWriter(async (writer) => {
          await writer.append([batch(name, 0, ["a"])], soon());
          await firstSeen.until(first, 1);
          const rival = pollUntilTaken(() => log.openReader(group, [at(name, 0, 0)], soon(under.joinMs)), under.joinMs);
          for (let turn = 0; turn < 5; turn++) {
            await writer.append([batch(name, 0, [`${turn}`])], soon());
            await firstSeen.until(first, 2 + turn);
          }
          // The group protocol may show the first worker, too, that another came; it keeps what it holds.
          for (const patience = deadline(under.joinMs + 10_000); !(await settled(rival)); patience.check())
            await firstSeen.poll(first, 100);
          expect(await rival).toEqual({ taken: true, records: 0 });
          await writer.append([batch(name, 0, ["z"])], soon());
          await firstSeen.until(first, 7);
          expect(firstSeen.keys(name, 0)).toEqual(["a", "0", "1", "2", "3", "4", "z"]);
        });
        await first[Symbol.asyncDispose]();
        await eventually(async () => {
          await withReader(group, [at(name, 0, 0)], async (reader) => {
            const seen = new Seen();
            await seen.until(reader, 7);
            expect(seen.offsets(name, 0)).toEqual([0, 1, 2, 3, 4, 5, 6]);
          });
        }, under.joinMs + 15_000);
      });

      test("workers of different groups read the same records", async () => {
        const { name } = await makeTopic();
        await withWriter((writer) => writer.append([batch(name, 0, ["a", "b"])], soon()));
        await withReader(freshName(), [at(name, 0, 0)], (one) =>
          withReader(freshName(), [at(name, 0, 0)], async (two) => {
            const seen = [new Seen(), new Seen()] as const;
            await Promise.all([seen[0].until(one, 2), seen[1].until(two, 2)]);
            expect(seen.map((each) => each.keys(name, 0))).toEqual([
              ["a", "b"],
              ["a", "b"],
            ]);
          }),
        );
      });
    });

    describe("ending", () => {
      test("a signal that is aborted already ends every call with its reason, and changes nothing", async () => {
        const { name } = await makeTopic();
        const reason = new Error("asked to stop");
        const aborted = AbortSignal.abort(reason);
        const other = freshName();
        await expect(log.topics([name], aborted)).rejects.toBe(reason);
        await expect(log.createTopic({ name: other, partitions: 1, replication: -1, configs: {} }, aborted)).rejects.toBe(reason);
        await expect(log.deleteTopic(name, aborted)).rejects.toBe(reason);
        await expect(log.offsets(name, aborted)).rejects.toBe(reason);
        await expect(log.read(at(name, 0, 0), LARGE, aborted)).rejects.toBe(reason);
        await expect(log.openWriter({ name: run }, aborted)).rejects.toBe(reason);
        await expect(log.openReader(freshName(), [at(name, 0, 0)], aborted)).rejects.toBe(reason);
        await withWriter((writer) => expect(writer.append([batch(name, 0, ["a"])], aborted)).rejects.toBe(reason));
        expect((await log.topics([name, other], soon())).map((topic) => topic.name)).toEqual([name]);
        expect(await rangeOf(name)).toMatchObject({ end: 0 });
      });

      test("an abort ends a waiting poll at once, with its reason", async () => {
        const { name } = await makeTopic();
        await withReader(freshName(), [at(name, 0, 0)], async (reader) => {
          await reader.poll({ maxBytes: LARGE, waitMs: 10 }, soon(under.joinMs));
          const controller = new AbortController();
          const polled = reader.poll({ maxBytes: LARGE, waitMs: 60_000 }, controller.signal);
          const reason = new Error("asked to stop");
          setTimeout(() => controller.abort(reason), 100);
          const began = performance.now();
          await expect(polled).rejects.toBe(reason);
          expect(performance.now() - began).toBeLessThan(15_000); // of a minute
        });
      });

      test("after an abort that ended an append, the writer refuses later ones", async () => {
        const { name } = await makeTopic();
        await withWriter(async (writer) => {
          await expect(writer.append([batch(name, 0, ["a"])], AbortSignal.abort(new Error("stop")))).rejects.toThrow("stop");
          await failure(writer.append([batch(name, 0, ["b"])], soon()), "LOG_REFUSED", "LOG_UNREACHABLE");
        });
        expect(await rangeOf(name)).toMatchObject({ end: 0 });
      });

      test("an abort takes back appends that wait; what is in the log is a beginning of the calls", async () => {
        const { name } = await makeTopic();
        const controller = new AbortController();
        const reason = new Error("asked to stop");
        await withWriter(async (writer) => {
          await writer.append([batch(name, 0, ["first"])], soon());
          const appended = Array.from({ length: 200 }, (_, call) => writer.append([batch(name, 0, [`${call}`])], controller.signal));
          const outcomes = Promise.allSettled(appended);
          await appended[0]?.catch(() => undefined);
          controller.abort(reason);
          const failures = (await outcomes).filter((outcome) => outcome.status === "rejected").map((outcome) => outcome.reason as unknown);
          for (const failed of failures) expect(failed === reason || failed instanceof TailraceError).toBe(true);
          const keys = (await readAll(name, 0)).map(keyText);
          expect(keys).toEqual(["first", ...Array.from({ length: keys.length - 1 }, (_, call) => `${call}`)]);
          expect(keys.length - 1).toBeGreaterThanOrEqual(200 - failures.length);
        });
      });

      test("writers and readers can be disposed twice, and a disposed writer refuses appends", async () => {
        const { name } = await makeTopic();
        const writer = await log.openWriter({ name: run }, soon());
        await writer[Symbol.asyncDispose]();
        await writer[Symbol.asyncDispose]();
        await failure(writer.append([batch(name, 0, ["a"])], soon()), "LOG_REFUSED", "LOG_UNREACHABLE");
        const reader = await log.openReader(freshName(), [at(name, 0, 0)], soon(under.joinMs));
        await reader[Symbol.asyncDispose]();
        await reader[Symbol.asyncDispose]();
      });

      test("disposing a writer waits for the appends in flight", async () => {
        const { name } = await makeTopic();
        const writer = await log.openWriter({ name: run }, soon());
        const appended = Promise.allSettled(["a", "b", "c"].map((key) => writer.append([batch(name, 0, [key])], soon())));
        await writer[Symbol.asyncDispose]();
        const resolved = (await appended).filter((outcome) => outcome.status === "fulfilled").length;
        const keys = (await readAll(name, 0)).map(keyText);
        expect(keys).toEqual(["a", "b", "c"].slice(0, keys.length));
        expect(keys.length).toBeGreaterThanOrEqual(resolved);
      });
    });
  });
}
