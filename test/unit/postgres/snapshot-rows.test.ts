// COPY's binary format: rows as they come, and bytes that are none.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import type { Column } from "../../../src/core/table.ts";
import { Tuple, tupleState } from "../../../src/core/tuple.ts";
import { ChunkMemory, ChunkRows } from "../../../src/postgres/snapshot-rows.ts";

const HEADER = Buffer.from("5047434f50590aff0d0a00" + "00000000" + "00000000", "hex");
const TRAILER = Buffer.from("ffff", "hex");
const columns: readonly Pick<Column, "type">[] = [{ type: { kind: "int4" } }, { type: { kind: "other", typeName: "inet" } }];

/** A tuple of these values; null is null. */
function row(...values: readonly (string | null)[]): Buffer {
  const fields = values.map((value) => {
    if (value === null) return Buffer.from("ffffffff", "hex");
    const length = Buffer.alloc(4);
    length.writeInt32BE(Buffer.byteLength(value));
    return Buffer.concat([length, Buffer.from(value)]);
  });
  return Buffer.concat([Buffer.from([0, values.length]), ...fields]);
}

function filled(messages: readonly Buffer[], limit = 1 << 20): ChunkRows {
  const rows = new ChunkRows(columns, limit);
  for (const message of messages) rows.take(message);
  return rows;
}

const tuple = new Tuple();
function read(rows: ChunkRows, index: number): readonly (string | null)[] {
  rows.fillTuple(index, tuple);
  return Array.from({ length: tuple.columns }, (_, i) => {
    if (tuple.state[i] === tupleState.null) return null;
    const form = tuple.state[i] === tupleState.text ? "text" : "binary";
    return `${form} ${tuple.bytes.toString("utf8", tuple.start[i], (tuple.start[i] ?? 0) + (tuple.length[i] ?? 0))}`;
  });
}

test("rows are read in any order, each value in its column's form", () => {
  const rows = filled([Buffer.concat([HEADER, row("four", "a")]), row(null, ""), row("more", null), TRAILER]);
  expect([rows.count, rows.complete]).toEqual([3, true]);
  expect([2, 0, 1].map((index) => read(rows, index))).toEqual([
    ["binary more", null],
    ["binary four", "text a"],
    [null, "text "],
  ]);
});

test("the header may come alone, or with an extension; an empty table is a header and a trailer", () => {
  expect(read(filled([HEADER, row("1", "2")]), 0)).toEqual(["binary 1", "text 2"]);
  const extended = Buffer.concat([HEADER.subarray(0, 15), Buffer.from("00000003", "hex"), Buffer.from("ext")]);
  expect(filled([Buffer.concat([extended, row("1", "2")]), TRAILER]).count).toBe(1);
  for (const messages of [[HEADER, TRAILER], [Buffer.concat([HEADER, TRAILER])]]) {
    const rows = filled(messages);
    expect([rows.count, rows.complete]).toEqual([0, true]);
  }
});

test("what comes, comes back: any rows, however many", () => {
  const values = fc.tuple(fc.option(fc.string({ maxLength: 300 })), fc.option(fc.string()));
  fc.assert(
    fc.property(fc.array(values, { maxLength: 3_000, size: "max" }), (given) => {
      const rows = filled([HEADER, ...given.map((each) => row(...each)), TRAILER], 1 << 30);
      expect(rows.count).toBe(given.length);
      const shown = given.map(([a, b]) => [a === null ? null : `binary ${a}`, b === null ? null : `text ${b}`]);
      expect(given.map((_, index) => read(rows, index))).toEqual(shown);
    }),
    { numRuns: 30 },
  );
});

test("a row over the limit is not taken, unless it is the first; what is held is not more than twice what came", () => {
  const rows = new ChunkRows(columns, 100);
  expect([HEADER, row("x".repeat(50), null), row("y".repeat(20), null)].map((message) => rows.take(message))).toEqual([true, true, true]);
  expect(rows.take(row("z".repeat(20), null))).toBe(false);
  expect([rows.count, rows.length, rows.complete]).toEqual([2, 90, false]);
  expect(filled([HEADER, row("x".repeat(500), null)], 100).count).toBe(1);
  const many = filled([HEADER, ...Array.from({ length: 5_000 }, () => row("x".repeat(90), null))]);
  expect(many.memoryBytes).toBeLessThan(many.length * 2 + 100_000);
});

test("chunks one after the other share a memory, which does not grow beyond a chunk's limit", () => {
  const memory = new ChunkMemory();
  const chunk = (...messages: readonly Buffer[]): ChunkRows => {
    const rows = new ChunkRows(columns, 1_000, memory);
    for (const message of [HEADER, ...messages, TRAILER]) rows.take(message);
    return rows;
  };
  const long = chunk(...Array.from({ length: 20 }, () => row("x".repeat(30), "y")));
  const { bytes, starts } = memory;
  expect([long.count, read(chunk(row("second", null)), 0)]).toEqual([20, ["binary second", null]]);
  expect([memory.bytes === bytes, memory.starts === starts]).toEqual([true, true]);
  const giant = chunk(row("z".repeat(5_000), null));
  expect([giant.memoryBytes > 5_000, memory.bytes === bytes]).toEqual([true, true]);
  expect(read(chunk(row("after", null)), 0)).toEqual(["binary after", null]);
});

test("a message may stand anywhere in the bytes that came", () => {
  const rows = new ChunkRows(columns, 1_000);
  const came = Buffer.concat([Buffer.from("before"), HEADER, row("1", "2"), Buffer.from("between"), row("3", null)]);
  const second = came.indexOf("between") + 7;
  expect([rows.take(came, 6, second - 7), rows.take(came, second, came.length)]).toEqual([true, true]);
  expect([0, 1].map((index) => read(rows, index))).toEqual([
    ["binary 1", "text 2"],
    ["binary 3", null],
  ]);
});

describe("bad bytes are STREAM_PROTOCOL, never a crash", () => {
  const refused = (work: () => unknown): void => expect(work).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));

  test("what is no copy", () => {
    refused(() => filled([row("1", "2")]));
    refused(() => filled([HEADER.subarray(0, 18)]));
    refused(() => filled([Buffer.concat([HEADER.subarray(0, 11), Buffer.from("0001000000000000", "hex")])])); // a critical flag
    refused(() => filled([Buffer.concat([HEADER.subarray(0, 15), Buffer.from("00000009", "hex")])]));
    refused(() => filled([HEADER, TRAILER, row("1", "2")]));
    refused(() => filled([HEADER, Buffer.from([0])]));
  });

  test("a row cut anywhere, with a byte too many, of another number of columns, or out of the chunk", () => {
    const whole = row("four", "a");
    for (let length = 2; length < whole.length; length++) refused(() => read(filled([HEADER, whole.subarray(0, length), whole]), 0));
    refused(() => read(filled([HEADER, Buffer.concat([whole, Buffer.from([0])])]), 0));
    refused(() => read(filled([HEADER, row("a")]), 0));
    refused(() => read(filled([HEADER, row("a", "b", "c")]), 0));
    refused(() => read(filled([HEADER, Buffer.from("0002fffffffe00000000", "hex")]), 0)); // a negative length
    refused(() => read(filled([HEADER, whole]), 1));
  });

  test("anything at all is read inside its own bytes or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 60 }), (bytes) => {
        const rows = new ChunkRows(columns, 1_000);
        rows.take(HEADER);
        try {
          rows.take(Buffer.from(bytes));
          if (rows.count === 0) return rows.complete;
          rows.fillTuple(0, tuple);
          return [0, 1].every((i) => tuple.state[i] === tupleState.null || (tuple.start[i] ?? 0) + (tuple.length[i] ?? 0) <= rows.length);
        } catch (error) {
          return error instanceof TailraceError && error.code === "STREAM_PROTOCOL";
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

test("a limit that offsets can't hold is refused", () => {
  for (const limit of [0, -1, Number.NaN, 2 ** 31]) expect(() => new ChunkRows(columns, limit)).toThrow(RangeError);
});
