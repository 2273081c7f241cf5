// What a sink's records are decoded with, by the id of their value schema: asked of the registry once each.
import { EventDecoder } from "../avro/decoder.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { EventColumn } from "./staging.ts";

/** `keyed`: the table has a key to merge by. */
export type Decoding = { readonly decoder: EventDecoder; readonly columns: readonly EventColumn[]; readonly keyed: boolean };

export class Decoders {
  readonly #registry: SchemaRegistry;
  readonly #known = new Map<number, Decoding>();

  constructor(registry: SchemaRegistry) {
    this.#registry = registry;
  }

  /** null: it has to be learned first. */
  known(id: number): Decoding | null {
    return this.#known.get(id) ?? null;
  }

  /** Throws EVENT_UNREADABLE when the schema is none of ours, and what the registry throws. */
  async learn(id: number, signal: AbortSignal): Promise<Decoding> {
    const decoder = new EventDecoder(await this.#registry.schema(id, signal));
    const { columns } = decoder.shape;
    const decoding = { decoder, columns, keyed: columns.some(({ keyPosition }) => keyPosition > 0) };
    this.#known.set(id, decoding);
    return decoding;
  }
}
