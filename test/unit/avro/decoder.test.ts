import fc from "fast-check";
import { expect, test } from "vitest";
import { EventDecoder, schemaIdOf } from "../../../src/avro/decoder.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { readEvent, rowAt, ValueList } from "../../support/row-values.ts";
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
      const expected = random.samples.map((sample) => sample?.value ?? null);
      const key = written.schemas.key === null ? null : written.key(tupleBytes).subarray(5);
      const created = readEvent(reader, written.create(tupleBytes, tupleBytes));
      expect([created.before, created.after, created.movedFrom]).toStrictEqual([null, expected, key]);
      const updated = readEvent(reader, written.update(tupleBytes, tupleBytes));
      expect([updated.before, updated.after, updated.movedFrom]).toStrictEqual([expected, expected, null]);
    }),
  );
});

test("an event's place and time are those of its transaction", () => {
  decoder.decode(events.create(row));
  expect(decoder).toMatchObject({ op: "c", epoch: 3, commitLsn: 0x16_b374_d848n, ordinal: ORDINAL, txId: 755 });
  expect(decoder.commitMicros).toBe(transaction.commitMicros);
  const { after } = readEvent(decoder, events.create(row));
  expect(after).toStrictEqual([-9007199254740993n, "snow ☃", -1234567890123456789012n, true, -0, Buffer.of(0, 255)]);
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

test("rows can be read when their bytes stand somewhere else, and the old key outlives the event", () => {
  const value = events.create(row, row);
  const { movedFrom, after } = readEvent(decoder, value);
  const key = Buffer.from(movedFrom ?? Buffer.alloc(0));
  const { afterAt, rows: reader } = decoder;
  const moved = Buffer.concat([Buffer.alloc(1_000, 0xff), value]);
  value.fill(0xaa);
  decoder.decode(events.delete(row));
  const columns = orders.columns.map(() => new ValueList());
  reader.write(moved, 1_000 + afterAt, columns);
  expect(columns.map(({ values }) => values)).toStrictEqual(after?.map((one) => [one]));
  expect(movedFrom).toEqual(key);
});

test("what passes over a row is as strict as what reads it: a value that is refused is refused at once", () => {
  fc.assert(
    fc.property(rows(), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (random, damage) => {
      const written = eventsOf(random.table);
      const reader = new EventDecoder(written.schemas.value);
      const bad = written.update(tupleOf(random, "text"), tupleOf(random, "binary"));
      for (const [at, byte] of damage) bad[at % bad.length] = byte;
      let read = true;
      try {
        reader.decode(bad);
      } catch {
        read = false;
      }
      if (!read) return;
      for (const at of [reader.beforeAt, reader.afterAt]) {
        const values = rowAt(reader, bad, at);
        const places = new Int32Array(random.table.columns.length);
        if (at >= 0) reader.rows.locate(bad, at, places);
        const found = random.table.columns.map((_, index) => {
          const into = new ValueList();
          reader.rows.writeColumn(index, bad, places[index] ?? -1, into);
          return into.last;
        });
        if (at >= 0) expect(found).toStrictEqual(values);
      }
    }),
    { numRuns: 300 },
  );
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
  const { after } = readEvent(decoder, events.create(row));
  expect(readEvent(read, out.bytes.subarray(0, out.position))).toMatchObject({
    ...{ op: "r", commitLsn: transaction.commitLsn, ordinal: 17, before: null, movedFrom: null },
    after,
  });
});

test("the frame gives the schema's id; without one it is refused", () => {
  expect(schemaIdOf(events.truncate())).toBe(VALUE_SCHEMA_ID);
  expect(() => schemaIdOf(Buffer.of(1, 0, 0, 0, 1))).toThrow(TailraceError);
  expect(() => schemaIdOf(Buffer.of(0, 0, 0, 1))).toThrow(TailraceError);
});
