import fc from "fast-check";
import { expect, test } from "vitest";
import { EventDecoder, KeyDecoder, schemaIdOf } from "../../../src/avro/decoder.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { eventsOf, ORDINAL, transaction, VALUE_SCHEMA_ID } from "./events.ts";
import { column, NULL, rows, table, text, tuple, tupleOf, UNCHANGED } from "./rows.ts";

const orders = table([
  column("id", "int8", 1),
  column("long note", "text"),
  column("total", { kind: "decimal", precision: 40, scale: 2 }),
  column("paid", "bool"),
  column("ratio", "float8"),
  column("raw", "bytea"),
]);
const events = eventsOf(orders);
const decoder = new EventDecoder(events.schemas.value);
const row = tuple(text("-9007199254740993"), text("snow ☃"), text("-12345678901234567890.12"), text("t"), text("-0"), text("\\x00ff"));

test("what was encoded is decoded, by column, as core/table.ts says", () => {
  fc.assert(
    fc.property(rows(), (random) => {
      const written = eventsOf(random.table);
      const reader = new EventDecoder(written.schemas.value);
      const tupleBytes = tupleOf(random, "binary");
      reader.decode(written.create(tupleBytes, tupleBytes));
      const expected = random.samples.map((sample) => sample?.value ?? null);
      expect(reader.after).toStrictEqual(expected);
      expect(reader.before).toBeNull();
      if (written.schemas.key === null) {
        expect(reader.movedFrom).toBeNull();
        return;
      }
      const key = written.key(tupleBytes);
      expect(reader.movedFrom).toEqual(key.subarray(5));
      const keys = new KeyDecoder(written.schemas.key);
      const values = keys.columns.map(({ name }) => expected[random.table.columns.findIndex((each) => each.name === name)]);
      expect(keys.decode(key)).toStrictEqual(values);
      expect(keys.decodeBody(reader.movedFrom ?? Buffer.alloc(0))).toStrictEqual(values);
    }),
  );
});

test("an event's place and time are those of its transaction", () => {
  decoder.decode(events.create(row));
  expect(decoder).toMatchObject({ op: "c", epoch: 3, commitLsn: 0x16_b374_d848n, ordinal: ORDINAL, txId: 755 });
  expect(decoder.commitMicros).toBe(transaction.commitMicros);
  expect(decoder.after).toStrictEqual([-9007199254740993n, "snow ☃", -1234567890123456789012n, true, -0, Buffer.of(0, 255)]);
});

test("R-sequence: the fast path for tails finds the same sequence", () => {
  fc.assert(
    fc.property(rows(), (random) => {
      const written = eventsOf(random.table);
      const reader = new EventDecoder(written.schemas.value);
      const value = written.update(tupleOf(random, "text"), tupleOf(random, "binary"));
      expect(reader.readSequence(value)).toEqual({ epoch: 3, commitLsn: transaction.commitLsn, ordinal: ORDINAL });
    }),
  );
});

test("unchanged columns come as indexes; events without any share one empty list", () => {
  decoder.decode(events.update(null, tuple(text("1"), UNCHANGED, NULL, NULL, NULL, UNCHANGED)));
  expect(decoder.unchanged).toEqual([1, 5]);
  decoder.decode(events.create(row));
  const none = decoder.unchanged;
  decoder.decode(events.delete(row));
  expect(decoder.unchanged).toBe(none);
  expect(none).toEqual([]);
});

test("what an event refers to outlives both the next event and the bytes it was read from", () => {
  const value = events.create(row, row);
  decoder.decode(value);
  const { after, movedFrom } = decoder;
  const raw = Buffer.from(after?.[5] as Buffer);
  const key = Buffer.from(movedFrom ?? Buffer.alloc(0));
  value.fill(0xaa);
  decoder.decode(events.delete(row));
  expect(after?.[5]).toEqual(raw);
  expect(movedFrom).toEqual(key);
});

test("bytes that are no event are an EVENT_UNREADABLE, whatever they are", () => {
  const refusedOrRead = (value: Buffer): void => {
    for (const read of [() => decoder.decode(value), () => decoder.readSequence(value)]) {
      try {
        read();
      } catch (error) {
        expect(error).toBeInstanceOf(TailraceError);
        expect(error).toMatchObject({ code: "EVENT_UNREADABLE" });
      }
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusedOrRead(Buffer.from([0, 1, 2, 3, 4, ...bytes]))));
  const good = events.update(row, tuple(text("1"), UNCHANGED, UNCHANGED, NULL, NULL, NULL));
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(damage, fc.nat(good.length), (changes, length) => {
      const bad = Buffer.from(good);
      for (const [at, byte] of changes) bad[at] = byte;
      refusedOrRead(bad);
      refusedOrRead(bad.subarray(0, length));
    }),
    { numRuns: 2_000 },
  );
});

test("an event that is cut anywhere, or goes on, is refused", () => {
  const good = events.update(row, row);
  for (let length = 0; length < good.length; length++) {
    expect(() => decoder.decode(good.subarray(0, length)), `${length} bytes`).toThrow(TailraceError);
  }
  expect(() => decoder.decode(Buffer.concat([good, Buffer.of(0)]))).toThrow(/behind its end/);
});

test("rows that do not fit the operation are refused", () => {
  const value = events.truncate();
  const op = value.lastIndexOf("t");
  value[op] = "c".charCodeAt(0);
  expect(() => decoder.decode(value)).toThrow(/do not fit its operation c/);
  value[op] = "r".charCodeAt(0);
  expect(() => decoder.decode(value)).toThrow(/do not fit its operation r/);
  value[op] = "m".charCodeAt(0);
  expect(() => decoder.decode(value)).toThrow(/operation is unknown/);
});

test("R-window: a row that a snapshot has read is read as any other row", () => {
  const { schemas, encoder } = eventsOf(orders);
  const out = new ByteWriter(16);
  encoder.beginTransaction({ ...transaction, snapshot: true });
  encoder.writeEvent("r", null, row, 17, 0x16, 0xb374_d000, null, out);
  const read = new EventDecoder(schemas.value);
  read.decode(out.bytes.subarray(0, out.position));
  decoder.decode(events.create(row));
  expect(read).toMatchObject({ op: "r", commitLsn: transaction.commitLsn, ordinal: 17, before: null, movedFrom: null });
  expect(read.after).toStrictEqual(decoder.after);
});

test("the frame gives the schema's id; without one it is refused", () => {
  expect(schemaIdOf(events.truncate())).toBe(VALUE_SCHEMA_ID);
  expect(() => schemaIdOf(Buffer.of(1, 0, 0, 0, 1))).toThrow(TailraceError);
  expect(() => schemaIdOf(Buffer.of(0, 0, 0, 1))).toThrow(TailraceError);
});

test("a key that is cut or goes on is refused", () => {
  const keys = new KeyDecoder(events.schemas.key ?? "");
  const key = events.key(row);
  expect(() => keys.decode(key.subarray(0, -1))).toThrow(TailraceError);
  expect(() => keys.decode(Buffer.concat([key, key]))).toThrow(TailraceError);
});
