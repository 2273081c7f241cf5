import { expect, test } from "vitest";
import type { EventLog, LogRecord } from "../../../src/core/event-log.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import type { SchemaRegistry } from "../../../src/core/schema-registry.ts";
import { formatSequence, SEQUENCE_HEADER } from "../../../src/core/sequence.ts";
import { lastEpoch } from "../../../src/source/tails.ts";

const { signal } = new AbortController();

/** A tombstone: its sequence stands in a header. */
function record(offset: number, epoch: number): LogRecord {
  const sequence = formatSequence({ epoch, commitLsn: toLsn(BigInt(offset)), ordinal: 0 });
  return { offset, timestamp: 0, key: null, value: null, headers: [[SEQUENCE_HEADER, Buffer.from(sequence)]] };
}

/** `topics`: a list of partitions each, of which retention has left what starts at `start`. */
function logOf(topics: Readonly<Record<string, readonly { readonly start: number; readonly epochs: readonly number[] }[]>>): EventLog {
  const log: Partial<EventLog> = {
    offsets: async (topic) =>
      Promise.resolve(
        (topics[topic] ?? []).map(({ start, epochs }, partition) => ({ topic, partition, start, end: start + epochs.length })),
      ),
    read: async ({ topic, partition, offset }) => {
      const { start, epochs } = topics[topic]![partition]!;
      const end = start + epochs.length;
      const next = Math.min(end, offset + 400);
      const records = Array.from({ length: next - offset }, (_, i) => record(offset + i, epochs[offset + i - start]!));
      return Promise.resolve({ topic, partition, records, next, start, end });
    },
  };
  return log as EventLog;
}

async function epoch(topics: Parameters<typeof logOf>[0]): Promise<number> {
  return lastEpoch(logOf(topics), {} as SchemaRegistry, Object.keys(topics), signal);
}

test("R-epoch: the highest epoch among the last events of all topics is found, behind a dead process's late ones too", async () => {
  expect(await epoch({})).toBe(0);
  expect(await epoch({ a: [{ start: 0, epochs: [] }] })).toBe(0);
  const late = [1, 3, ...Array.from({ length: 900 }, () => 2)];
  expect(
    await epoch({
      a: [
        { start: 0, epochs: [1] },
        { start: 5, epochs: late },
      ],
      b: [{ start: 0, epochs: [2] }],
    }),
  ).toBe(3);
});

test("R-epoch: where retention has taken every event there was an epoch all the same", async () => {
  expect(await epoch({ a: [{ start: 7, epochs: [] }] })).toBe(1);
});
