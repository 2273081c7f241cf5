// The reader against bytes captured from PostgreSQL 18.4 (pgoutput-18.json: what psql was told is in the test), and against bad ones.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import { formatLsn, toLsn } from "../../../src/core/lsn.ts";
import { tupleState, type Tuple } from "../../../src/core/tuple.ts";
import { messageTag, oldKind, PgoutputReader } from "../../../src/postgres/pgoutput.ts";

type Captured = { readonly text: readonly string[]; readonly binary: readonly string[] };
const captured = JSON.parse(readFileSync(new URL("pgoutput-18.json", import.meta.url), "utf8")) as Captured;
const bytesOf = (hex: readonly string[]): Buffer[] => hex.map((message) => Buffer.from(message, "hex"));
const reader = new PgoutputReader();

/** Every message as one line. Values of more than 20 bytes by their length. */
function describeMessage(bytes: Buffer): string {
  const lsn = (high: number, low: number): string => formatLsn(toLsn((BigInt(high) << 32n) | BigInt(low)));
  switch (reader.read(bytes)) {
    case messageTag.begin:
      return `begin ${lsn(reader.finalLsnHigh, reader.finalLsnLow)} xid ${reader.xid}`;
    case messageTag.commit:
      return `commit ${lsn(reader.commitLsnHigh, reader.commitLsnLow)} end ${lsn(reader.endLsnHigh, reader.endLsnLow)}`;
    case messageTag.insert:
      return `insert ${row(reader.newTuple)}`;
    case messageTag.update:
      return `update ${old()}${row(reader.newTuple)}`;
    case messageTag.delete:
      return `delete ${old()}`.trimEnd();
    case messageTag.truncate:
      return `truncate ${reader.truncatedCount} relations, cascade ${reader.truncateCascade}, restart ${reader.truncateRestartIdentity}`;
    case messageTag.relation: {
      const { schema, name, identity, columns } = reader.relation;
      return `relation ${schema}.${name} ${identity} ${columns.map((each) => `${each.identity ? "*" : ""}${each.name}:${each.typeOid > 16_000 ? "own" : each.typeOid}/${each.typeModifier}`).join(" ")}`;
    }
    case messageTag.type:
      return `type ${reader.type.schema}.${reader.type.name}`;
    case messageTag.origin:
      return `origin ${reader.originName} ${lsn(reader.messageLsnHigh, reader.messageLsnLow)}`;
    case messageTag.message:
      return `message ${bytes.toString("utf8", reader.prefixStart, reader.prefixStart + reader.prefixLength)} ${JSON.stringify(bytes.toString("utf8", reader.contentStart, reader.contentStart + reader.contentLength))} transactional ${reader.messageTransactional}`;
  }
}

function old(): string {
  return reader.oldKind === oldKind.none ? "" : `${reader.oldKind === oldKind.key ? "key" : "row"} ${row(reader.oldTuple)} `;
}

function row(tuple: Tuple): string {
  const values = Array.from({ length: tuple.columns }, (_, i) => {
    const [state, start = 0, length = 0] = [tuple.state[i], tuple.start[i], tuple.length[i]];
    if (state === tupleState.null) return "null";
    if (state === tupleState.unchanged) return "unchanged";
    if (length > 20) return `${length} bytes`;
    return state === tupleState.text
      ? tuple.bytes.toString("utf8", start, start + length)
      : `\\x${tuple.bytes.toString("hex", start, start + length)}`;
  });
  return `(${values.join(", ")})`;
}

/** What changes with every capture, out of the lines of BEGIN and COMMIT. */
const lsnless = (line: string): string =>
  /^(begin|commit)/.test(line) ? line.replaceAll(/[0-9A-F]+\/[0-9A-F]+/g, "L").replace(/xid \d+/, "xid X") : line;

describe("messages of PostgreSQL 18", () => {
  test("text", () => {
    expect(bytesOf(captured.text).map((bytes) => lsnless(describeMessage(bytes)))).toEqual([
      "begin L xid X",
      "type public.mood",
      "relation Größe.Kunde d *id:20/-1 name:25/-1 mood:own/-1 amount:1700/786438 big:25/-1",
      "insert (1, Ada, ok, 12.50, 3000 bytes)",
      "insert (2, null, null, null, null)",
      "commit L end L",
      "begin L xid X",
      "update (1, Ada L., ok, 12.50, unchanged)",
      "commit L end L",
      "begin L xid X",
      "update key (2, null, null, null, null) (3, null, null, null, null)",
      "commit L end L",
      "begin L xid X",
      "delete key (3, null, null, null, null)",
      "commit L end L",
      "begin L xid X",
      "relation public.whole f *a:23/-1 *b:25/-1",
      "insert (7, seven)",
      "update row (7, seven) (7, null)",
      "delete row (7, null)",
      "commit L end L",
      "begin L xid X",
      "relation public.whole f *a:23/-1 *b:25/-1",
      "type public.mood",
      "relation Größe.Kunde d *id:20/-1 name:25/-1 mood:own/-1 amount:1700/786438 big:25/-1",
      "truncate 2 relations, cascade true, restart true",
      "commit L end L",
      "begin L xid X",
      'message mark "content" transactional true',
      "commit L end L",
      'message mark "" transactional false',
      "begin L xid X",
      "origin elsewhere AB/CD",
      "relation public.whole f *a:23/-1 *b:25/-1",
      "insert (8, eight)",
      "commit L end L",
    ]);
  });

  test("binary: the same, but for the values' form", () => {
    const lines = bytesOf(captured.binary).map(describeMessage);
    expect(lines[3]).toBe("insert (\\x0000000000000001, \\x416461, \\x6f6b, \\x0002000000000002000c1388, 3000 bytes)");
    expect(lines.map((line) => line.split(" ")[0])).toEqual(bytesOf(captured.text).map((bytes) => describeMessage(bytes).split(" ")[0]));
  });

  test("a transaction's commit LSN is its BEGIN's final LSN, and its end is behind it", () => {
    for (const bytes of bytesOf(captured.text)) {
      if (reader.read(bytes) !== messageTag.commit) continue;
      expect([reader.commitLsnHigh, reader.commitLsnLow]).toEqual([reader.finalLsnHigh, reader.finalLsnLow]);
      expect(reader.endLsnLow).toBeGreaterThan(reader.commitLsnLow);
    }
  });

  test("commit times are microseconds since 2000", () => {
    const begin = bytesOf(captured.text)[0];
    if (begin === undefined) throw new Error("nothing was captured");
    reader.read(begin);
    const micros = (BigInt(reader.commitTimeHigh) << 32n) | BigInt(reader.commitTimeLow);
    expect(micros).toBe(begin.readBigInt64BE(9));
  });
});

test("halves are unsigned in LSNs and signed in the upper half of times", () => {
  reader.read(Buffer.from("42" + "ffffffff80000001" + "ffffffffffffffff" + "fffffffe", "hex"));
  expect([reader.finalLsnHigh, reader.finalLsnLow, reader.commitTimeHigh, reader.commitTimeLow, reader.xid]).toEqual([
    0xffffffff, 0x80000001, -1, 0xffffffff, 0xfffffffe,
  ]);
});

test("a message that stands between others is read alone, and nothing behind its end", () => {
  const all = bytesOf([...captured.text, ...captured.binary]);
  const stream = Buffer.concat(all);
  let start = 0;
  for (const bytes of all) {
    const end = start + bytes.length;
    expect(reader.read(stream, start, end)).toBe(bytes[0]);
    expect(() => reader.read(stream, start, end - 1)).toThrow("can't be read");
    start = end;
  }
});

test("an INSERT after an UPDATE has no old row", () => {
  const update = bytesOf(captured.text)[10];
  const insert = bytesOf(captured.text)[3];
  if (update === undefined || insert === undefined) throw new Error("nothing was captured");
  reader.read(update);
  reader.read(insert);
  expect(reader.oldKind).toBe(oldKind.none);
});

test("rows of 1600 columns, PostgreSQL's limit, are read", () => {
  const wide = Buffer.concat([Buffer.from("49000000014e0640", "hex"), Buffer.alloc(1600, "n")]);
  reader.read(wide);
  expect(reader.newTuple.columns).toBe(1600);
});

describe("bad bytes are STREAM_PROTOCOL, never a crash", () => {
  const all = bytesOf([...captured.text, ...captured.binary]).filter((bytes) => bytes.length < 500);

  test("every message, cut anywhere or with a byte too many", () => {
    for (const whole of all) {
      for (let length = 0; length < whole.length; length++) expectRefused(whole.subarray(0, length));
      expectRefused(Buffer.concat([whole, Buffer.from([0])]));
    }
  });

  test("what a tuple may not hold", () => {
    expectRefused(Buffer.from("49000000014f0000", "hex")); // an INSERT of an old row
    expectRefused(Buffer.from("49000000014e000178", "hex")); // an unknown column state
    expectRefused(Buffer.from("49000000014e000174ffffffff", "hex")); // a negative length
    expectRefused(Buffer.from("49000000014effff", "hex")); // more columns than a table has
    expectRefused(Buffer.from("5500000001580000", "hex")); // an UPDATE of neither
    expectRefused(Buffer.from("54ffffffff00", "hex")); // more relations than bytes
    expectRefused(Buffer.from("53", "hex")); // a message of protocol 2
  });

  test("anything at all, and messages with bytes changed, are read or refused; views stay inside the bytes", () => {
    const mangled = fc
      .tuple(fc.constantFrom(...all), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }))
      .map(([whole, edits]) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        return bytes;
      });
    fc.assert(
      fc.property(
        fc.oneof(
          mangled,
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          try {
            const tag = reader.read(bytes);
            const tuples =
              tag === messageTag.insert || tag === messageTag.update
                ? [reader.newTuple]
                : tag === messageTag.delete
                  ? [reader.oldTuple]
                  : [];
            return tuples.every((tuple) => staysInside(tuple, bytes));
          } catch (error) {
            return error instanceof TailraceError && error.code === "STREAM_PROTOCOL";
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });
});

function staysInside(tuple: Tuple, bytes: Buffer): boolean {
  for (let i = 0; i < tuple.columns; i++) {
    const hasValue = tuple.state[i] === tupleState.text || tuple.state[i] === tupleState.binary;
    if (hasValue && (tuple.start[i] ?? 0) + (tuple.length[i] ?? 0) > bytes.length) return false;
  }
  return true;
}

function expectRefused(bytes: Buffer): void {
  expect(() => reader.read(bytes), bytes.toString("hex")).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
}
