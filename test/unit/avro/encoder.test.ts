import fc from "fast-check";
import { expect, test } from "vitest";
import { TableEncoder } from "../../../src/avro/encoder.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { TailraceError } from "../../../src/core/errors.ts";
import { toLsn } from "../../../src/core/lsn.ts";
import { formatSequence } from "../../../src/core/sequence.ts";
import { eventsOf, KEY_SCHEMA_ID, ORDINAL, readWithAvsc, transaction, VALUE_SCHEMA_ID } from "./events.ts";
import { binary, column, int4, int8, NULL, rows, table, text, tuple, tupleOf, UNCHANGED } from "./rows.ts";

const orders = table([column("id", "int8", 1), column("note", "text"), column("total", { kind: "decimal", precision: 12, scale: 2 })]);

test("the binary and the text protocol give the same bytes, for keys and for events", () => {
  fc.assert(
    fc.property(rows(), (row) => {
      const events = eventsOf(row.table);
      const [textRow, binaryRow] = [tupleOf(row, "text"), tupleOf(row, "binary")];
      expect(events.create(textRow).toString("hex")).toBe(events.create(binaryRow).toString("hex"));
      if (events.schemas.key !== null) expect(events.key(textRow)).toEqual(events.key(binaryRow));
    }),
  );
});

test("any row can be read by avsc with the registered schemas, and a frame of Confluent's stands before it", () => {
  fc.assert(
    fc.property(rows(), (row) => {
      const events = eventsOf(row.table);
      const value = events.create(tupleOf(row, "binary"));
      expect(value[0]).toBe(0);
      expect(value.readInt32BE(1)).toBe(VALUE_SCHEMA_ID);
      const after = readWithAvsc(events.schemas.value, value).after as Record<string, unknown>;
      expect(Object.keys(after)).toHaveLength(row.table.columns.length);
      if (events.schemas.key === null) return;
      const key = events.key(tupleOf(row, "binary"));
      expect(key.readInt32BE(1)).toBe(KEY_SCHEMA_ID);
      readWithAvsc(events.schemas.key, key);
    }),
  );
});

test("the source block says where an event comes from", () => {
  const events = eventsOf(orders);
  const decoded = readWithAvsc(events.schemas.value, events.create(tuple(text("1"), NULL, text("2.50"))));
  expect(decoded.source).toEqual({
    version: "0.1.0",
    connector: "postgresql",
    name: "shop",
    ts_ms: 1_795_247_750_123n,
    ts_us: 1_795_247_750_123_456n,
    snapshot: "false",
    db: "store",
    schema: "public",
    table: "orders",
    txId: 755n,
    lsn: 0x16_b374_d000n,
    epoch: 3,
    commit_lsn: 0x16_b374_d848n,
    ordinal: BigInt(ORDINAL),
  });
  expect(decoded.op).toBe("c");
  expect(decoded.ts_ms).toEqual(1_795_247_750_200n);
});

test("a commit before 1970 has its milliseconds rounded down, as Debezium's are", () => {
  const events = eventsOf(orders);
  events.encoder.beginTransaction({ ...transaction, commitMicros: -1n });
  const decoded = readWithAvsc(events.schemas.value, events.truncate());
  expect(decoded.source).toMatchObject({ ts_ms: -1n, ts_us: -1n });
});

test("a new transaction's constants replace the last one's, in events and in tombstones", () => {
  const events = eventsOf(orders);
  events.truncate();
  events.encoder.beginTransaction({ ...transaction, xid: 4_294_967_295, commitLsn: 0x17_0000_0000n });
  expect(readWithAvsc(events.schemas.value, events.truncate()).source).toMatchObject({
    txId: 4_294_967_295n,
    commit_lsn: 0x17_0000_0000n,
  });
  const out = new ByteWriter(4);
  events.encoder.writeTombstoneSequence(6, out);
  expect(out.bytes.toString("latin1", 0, out.position)).toBe("0003-0000001700000000-000000000006");
});

test("R-sequence: a tombstone's header is the text form of the event's sequence", () => {
  const cases = fc.tuple(fc.integer({ min: 1, max: 0xffff }), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), fc.nat(2 ** 48 - 1));
  fc.assert(
    fc.property(cases, ([epoch, commitLsn, ordinal]) => {
      const { encoder } = eventsOf(orders);
      encoder.beginTransaction({ ...transaction, epoch, commitLsn });
      const out = new ByteWriter(1);
      encoder.writeTombstoneSequence(ordinal, out);
      const written = out.bytes.toString("latin1", 0, out.position);
      expect(written).toBe(formatSequence({ epoch, commitLsn: toLsn(commitLsn), ordinal }));
    }),
  );
});

test("a delete brings the key alone, its other columns null, and no unchanged ones", () => {
  const events = eventsOf(orders);
  const decoded = readWithAvsc(events.schemas.value, events.delete(tuple(text("42"), NULL, NULL)));
  expect(decoded).toMatchObject({ op: "d", after: null, unchanged: [], moved_from: null });
  expect(decoded.before).toEqual({ id: 42n, note: null, total: null });
});

test("a truncate has no rows", () => {
  const events = eventsOf(orders);
  expect(readWithAvsc(events.schemas.value, events.truncate())).toMatchObject({ op: "t", before: null, after: null, unchanged: [] });
});

test("an unchanged TOAST column is named by its Avro field and null in the row", () => {
  const odd = table([column("id", "int8", 1), column("long text", "text"), column("more", "bytea")]);
  const events = eventsOf(odd);
  const decoded = readWithAvsc(events.schemas.value, events.update(null, tuple(text("1"), UNCHANGED, UNCHANGED)));
  expect(decoded.unchanged).toEqual(["long_u0020text", "more"]);
  expect(decoded.after).toEqual({ id: 1n, long_u0020text: null, more: null });
});

test("with REPLICA IDENTITY FULL an unchanged TOAST column is taken from the row before", () => {
  const events = eventsOf(orders);
  const value = events.update(tuple(text("1"), text("a long note"), text("1.00")), tuple(text("1"), UNCHANGED, text("2.00")));
  const decoded = readWithAvsc(events.schemas.value, value);
  expect(decoded.unchanged).toEqual([]);
  expect(decoded.after).toMatchObject({ note: "a long note" });
});

test("the create of a changed key names the key it replaces and takes unsent columns from that row", () => {
  const events = eventsOf(orders);
  const old = tuple(text("1"), text("a long note"), text("1.00"));
  const value = events.create(tuple(text("2"), UNCHANGED, NULL), old);
  const decoded = readWithAvsc(events.schemas.value, value);
  expect(decoded).toMatchObject({ before: null, unchanged: [], moved_from: { id: 1n } });
  expect(decoded.after).toMatchObject({ id: 2n, note: "a long note" });

  const keyAlone = readWithAvsc(events.schemas.value, events.create(tuple(text("2"), UNCHANGED, NULL), tuple(text("1"), NULL, NULL)));
  expect(keyAlone.unchanged).toEqual(["note"]);
});

test("a key column that was TOASTed and not sent comes from the old key", () => {
  const documents = table([column("path", "text", 1), column("body", "text")]);
  const events = eventsOf(documents);
  const after = tuple(UNCHANGED, text("new"));
  const before = tuple(text("a/long/path"), NULL);
  expect(events.key(after, before)).toEqual(events.key(before));
  const decoded = readWithAvsc(events.schemas.value, events.update(before, after));
  expect(decoded.after).toEqual({ path: "a/long/path", body: "new" });
  expect(decoded.unchanged).toEqual([]);
  expect(() => events.key(after)).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
  expect(() => events.update(null, after)).toThrow(expect.objectContaining({ code: "VALUE_OUT_OF_RANGE" }));
});

test("the key's columns stand in the key's order, not the table's", () => {
  const lines = table([column("line", "int4", 2), column("note", "text"), column("order", "int4", 1)]);
  const events = eventsOf(lines);
  const row = tuple(binary(int4(1)), NULL, binary(int4(-2)));
  expect(events.key(row).subarray(5)).toEqual(Buffer.of(0x03, 0x02));
  expect(Object.keys(readWithAvsc(events.schemas.key ?? "", events.key(row)))).toEqual(["order", "line"]);
});

test("one row may mix both protocols: a type without a binary form arrives as text", () => {
  const hosts = table([column("id", "int4", 1), column("address", { kind: "other", typeName: "inet" })]);
  const events = eventsOf(hosts);
  const decoded = readWithAvsc(events.schemas.value, events.create(tuple(binary(int4(1)), text("10.0.0.1/8"))));
  expect(decoded.after).toEqual({ id: 1, address: "10.0.0.1/8" });
});

test("a table without a key has events and no keys", () => {
  const events = eventsOf(table([column("note", "text")]));
  expect(readWithAvsc(events.schemas.value, events.create(tuple(text("x"))))).not.toHaveProperty("moved_from");
  expect(() => events.key(tuple(text("x")))).toThrow(TailraceError);
});

test("a refused value names its column and table, and the caller takes back what was written", () => {
  const events = eventsOf(orders);
  const out = new ByteWriter();
  events.encoder.writeEvent("c", null, tuple(text("1"), NULL, text("1.00")), 0, 0, 0, null, out);
  const good = Buffer.from(out.bytes.subarray(0, out.position));
  const bad = tuple(text("2"), NULL, text("NaN"));
  expect(() => events.encoder.writeEvent("c", null, bad, 0, 0, 0, null, out)).toThrow(
    expect.objectContaining({
      code: "VALUE_OUT_OF_RANGE",
      place: { table: "public.orders" },
      message: expect.stringContaining("total") as string,
    }),
  );
  out.position = 0;
  events.encoder.writeEvent("c", null, tuple(text("1"), NULL, text("1.00")), 0, 0, 0, null, out);
  expect(out.bytes.subarray(0, out.position)).toEqual(good);
});

test("a row of another shape than the table is a protocol error", () => {
  const events = eventsOf(orders);
  expect(() => events.create(tuple(text("1")))).toThrow(expect.objectContaining({ code: "STREAM_PROTOCOL" }));
  expect(() => events.create(tuple(binary(int8(1n)), { state: 0x78, bytes: Buffer.alloc(0) }, NULL))).toThrow(
    expect.objectContaining({ code: "STREAM_PROTOCOL" }),
  );
});

test("an event outside a transaction is refused", () => {
  const constants = { version: "0.1.0", connector: "shop", database: "store" };
  const encoder = new TableEncoder({ table: orders, keySchemaId: 1, valueSchemaId: 2, constants });
  expect(() => encoder.writeEvent("t", null, null, 0, 0, 0, null, new ByteWriter())).toThrow(TailraceError);
});
