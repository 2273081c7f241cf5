// An encoder with its schemas, and the bytes of single events, for the tests of avro/.
import avro from "avsc";
import { TableEncoder, type SourceTransaction } from "../../../src/avro/encoder.ts";
import { tableSchemas, type TableSchemas } from "../../../src/avro/schema.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { keyColumns, type Table } from "../../../src/core/table.ts";
import type { Tuple } from "../../../src/core/tuple.ts";

export const KEY_SCHEMA_ID = 7;
export const VALUE_SCHEMA_ID = 0x01020304;

export const transaction: SourceTransaction = {
  epoch: 3,
  commitLsn: 0x16_b374_d848n,
  commitMicros: 1_795_247_750_123_456n,
  xid: 755,
  processedMs: 1_795_247_750_200,
  snapshot: false,
};

/** What a tail, a sink or a foreign reader would have at hand. */
export type Events = {
  readonly schemas: TableSchemas;
  readonly encoder: TableEncoder;
  key(row: Tuple, old?: Tuple | null): Buffer;
  create(after: Tuple, movedFrom?: Tuple | null): Buffer;
  update(before: Tuple | null, after: Tuple): Buffer;
  delete(before: Tuple): Buffer;
  truncate(): Buffer;
};

export const ORDINAL = 2 ** 33 + 5;

export function eventsOf(table: Table, topic = "shop.public.orders"): Events {
  const schemas = tableSchemas(table, topic);
  const encoder = new TableEncoder({
    table,
    keySchemaId: keyColumns(table).length > 0 ? KEY_SCHEMA_ID : null,
    valueSchemaId: VALUE_SCHEMA_ID,
    constants: { version: "0.1.0", connector: "shop", database: "store" },
  });
  encoder.beginTransaction(transaction);
  const written = (write: (out: ByteWriter) => void): Buffer => {
    const out = new ByteWriter(16);
    write(out);
    return Buffer.from(out.bytes.subarray(0, out.position));
  };
  return {
    schemas,
    encoder,
    key: (row, old = null) => written((out) => encoder.writeKey(row, old, out)),
    create: (after, moved = null) => written((out) => encoder.writeEvent("c", null, after, ORDINAL, 0x16, 0xb374_d000, moved, out)),
    update: (before, after) => written((out) => encoder.writeEvent("u", before, after, ORDINAL, 0x16, 0xb374_d000, null, out)),
    delete: (before) => written((out) => encoder.writeEvent("d", before, null, ORDINAL, 0x16, 0xb374_d000, null, out)),
    truncate: () => written((out) => encoder.writeEvent("t", null, null, ORDINAL, 0x16, 0xb374_d000, null, out)),
  };
}

/** Longs as BigInt: avsc refuses those beyond 2^53 otherwise. */
export const avroLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: (value: number | string) => BigInt(value),
  toJSON: (value: bigint) => value.toString(),
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

/** A schema as a foreign reader parses it. avsc's `registry` would miss the longs that have a logical type: hence the hook. */
export function avscType(schema: string, logicalTypes: NonNullable<avro.ForSchemaOptions["logicalTypes"]> = {}): avro.Type {
  const typeHook = (part: avro.Schema): avro.Type | undefined => {
    const { type, logicalType } = (typeof part === "string" ? { type: part } : part) as { type?: unknown; logicalType?: string };
    return type === "long" && (logicalType === undefined || !(logicalType in logicalTypes)) ? avroLong : undefined;
  };
  return avro.Type.forSchema(JSON.parse(schema) as avro.Schema, { typeHook, logicalTypes });
}

/** What a foreign reader sees of a framed record. */
export function readWithAvsc(schema: string, framed: Buffer): Record<string, unknown> {
  return avscType(schema).fromBuffer(framed.subarray(5)) as Record<string, unknown>;
}
