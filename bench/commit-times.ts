// When the transaction of a change was committed, as the change itself says it.
import avsc from "avsc";
import { EventDecoder, schemaIdOf } from "../src/avro/decoder.ts";

/** µs since 1970. */
export type CommitTime = (value: Buffer) => Promise<number>;

/** Confluent's frame: 0x00, id Int32. */
const FRAME_BYTES = 5;
const REQUEST_MS = 10_000;

export function ofTailrace(registry: string): CommitTime {
  const decoders = new Map<number, EventDecoder>();
  return async (value) => {
    const id = schemaIdOf(value);
    const decoder = decoders.get(id) ?? new EventDecoder(await schemaText(registry, id));
    decoders.set(id, decoder);
    decoder.decode(value);
    return Number(decoder.commitMicros);
  };
}

type Envelope = { readonly source: { readonly ts_us: bigint | number } };

export function ofDebeziumJson(): CommitTime {
  return async (value) => Number((JSON.parse(value.toString("utf8")) as Envelope).source.ts_us);
}

/** source.ts_ns does not fit into a double, which is what avsc makes of a long by itself. */
const long = avsc.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

export function ofDebeziumAvro(registry: string): CommitTime {
  const types = new Map<number, avsc.Type>();
  return async (value) => {
    const id = schemaIdOf(value);
    const type = types.get(id) ?? avsc.Type.forSchema(JSON.parse(await schemaText(registry, id)) as avsc.Schema, { registry: { long } });
    types.set(id, type);
    return Number((type.fromBuffer(value.subarray(FRAME_BYTES)) as Envelope).source.ts_us);
  };
}

async function schemaText(registry: string, id: number): Promise<string> {
  const response = await fetch(`${registry}/schemas/ids/${id}`, { signal: AbortSignal.timeout(REQUEST_MS) });
  if (!response.ok) throw new Error(`the registry answers ${response.status} for schema ${id}`);
  return ((await response.json()) as { schema: string }).schema;
}
