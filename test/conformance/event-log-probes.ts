// What the event log's suite writes with and looks with: batches of known records, and waits that end.
import { expect } from "vitest";
import type { ErrorCode } from "../../src/core/error-catalogue.ts";
import { TailraceError } from "../../src/core/errors.ts";
import type { EncodedBatch, FetchedRecords, LogReader, LogRecord, Position } from "../../src/core/event-log.ts";
import { BATCH_HEADER_BYTES, RecordBatchWriter } from "../../src/core/record-batch.ts";

/** Of now: a broker deletes what is older than its retention, for the first time 30 s after its start. */
export const TIMESTAMP = Date.now();
export const LARGE = 64 * 1024 * 1024;

/** A signal that fires when a call takes far too long: no test hangs. */
export function soon(moreMs = 0): AbortSignal {
  return AbortSignal.timeout(20_000 + moreMs);
}

export function at(topic: string, partition: number, offset: number): Position {
  return { topic, partition, offset };
}

export function keyText(record: LogRecord): string {
  return record.key?.toString() ?? "(none)";
}

/** A batch with one record per key; the value names the key. */
export function batch(topic: string, partition: number, keys: readonly string[]): EncodedBatch {
  const writer = new RecordBatchWriter();
  fill(writer, keys);
  return encoded(topic, partition, writer);
}

export function fill(writer: RecordBatchWriter, keys: readonly string[]): void {
  for (const text of keys) {
    const key = Buffer.from(text);
    const value = Buffer.from(`value of ${text}`);
    writer.append(key, 0, key.length, value, 0, value.length);
  }
}

export function encoded(topic: string, partition: number, writer: RecordBatchWriter): EncodedBatch {
  return { topic, partition, bytes: writer.finish(TIMESTAMP), count: writer.count };
}

/** A batch of one record that takes exactly `byteLength` bytes, filled with bytes that are no text. */
export function sized(topic: string, byteLength: number, partition = 0): EncodedBatch {
  const writer = new RecordBatchWriter(byteLength);
  for (let value = byteLength - BATCH_HEADER_BYTES - 16; ; value++) {
    writer.reset();
    writer.append(null, 0, 0, filler(value), 0, value);
    if (writer.byteLength === byteLength) return encoded(topic, partition, writer);
    if (writer.byteLength > byteLength) throw new RangeError(`no record takes ${byteLength} bytes`);
  }
}

export function filler(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8)) & 0xff;
  return bytes;
}

/** The TailraceError that a promise rejects with, which must have one of the codes. */
export async function failure(promise: Promise<unknown>, ...codes: readonly ErrorCode[]): Promise<TailraceError> {
  const thrown = await promise.then(
    () => expect.unreachable("it should have failed"),
    (cause: unknown) => cause,
  );
  if (!(thrown instanceof TailraceError)) throw thrown;
  expect(codes).toContain(thrown.code);
  return thrown;
}

/** What a reader gave so far. */
export class Seen {
  readonly #fetched: FetchedRecords[] = [];

  async poll(
    reader: LogReader,
    waitMs: number,
    limits: { readonly maxBytes: number; readonly most: number } = { maxBytes: LARGE, most: Infinity },
  ): Promise<void> {
    const polled = await reader.poll({ maxBytes: limits.maxBytes, waitMs }, soon());
    expect(polled.reduce((sum, fetched) => sum + fetched.records.length, 0)).toBeLessThanOrEqual(limits.most);
    this.#fetched.push(...polled);
  }

  /** Polls until `count` records in all were seen, and not one more. */
  async until(reader: LogReader, count: number, limits?: { readonly maxBytes: number; readonly most: number }): Promise<void> {
    for (const patience = deadline(60_000); this.#count() < count; patience.check()) await this.poll(reader, 500, limits);
    expect(this.#count()).toBe(count);
  }

  keys(topic: string, partition: number): string[] {
    return this.#of(topic, partition).flatMap((fetched) => fetched.records.map(keyText));
  }

  offsets(topic: string, partition: number): number[] {
    return this.#of(topic, partition).flatMap((fetched) => fetched.records.map((record) => record.offset));
  }

  next(topic: string, partition: number): number | undefined {
    return this.#of(topic, partition).at(-1)?.next;
  }

  end(topic: string, partition: number): number | undefined {
    return this.#of(topic, partition).at(-1)?.end;
  }

  #count(): number {
    return this.#fetched.reduce((sum, fetched) => sum + fetched.records.length, 0);
  }

  #of(topic: string, partition: number): FetchedRecords[] {
    return this.#fetched.filter((fetched) => fetched.topic === topic && fetched.partition === partition);
  }
}

/** Opens a reader and polls it until it is told that the group is taken; counts what it got before. */
export async function pollUntilTaken(open: () => Promise<LogReader>, joinMs: number): Promise<{ taken: boolean; records: number }> {
  let records = 0;
  let reader: LogReader | undefined;
  try {
    reader = await open();
    for (const patience = deadline(joinMs + 30_000); ; patience.check()) {
      for (const fetched of await reader.poll({ maxBytes: LARGE, waitMs: 100 }, soon())) records += fetched.records.length;
    }
  } catch (cause) {
    if (cause instanceof TailraceError && cause.code === "GROUP_TAKEN") return { taken: true, records };
    throw cause;
  } finally {
    await reader?.[Symbol.asyncDispose]();
  }
}

export async function settled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  const turn = new Promise((resolve) => setImmediate(resolve, pending)); // a microtask would win over any promise's handler
  return (await Promise.race([promise.catch(() => undefined), turn])) !== pending;
}

/** What a loop asks at every turn, so that it ends. */
export function deadline(ms: number): { check(): void } {
  const end = performance.now() + ms;
  return {
    check: () => {
      if (performance.now() > end) throw new Error(`not within ${ms} ms`);
    },
  };
}

/** Tries again until it passes: for what a cluster makes known step by step. */
export async function eventually<T>(attempt: () => Promise<T>, ms = 60_000): Promise<T> {
  const patience = deadline(ms);
  for (;;) {
    try {
      return await attempt();
    } catch (cause) {
      try {
        patience.check();
      } catch {
        throw cause;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
