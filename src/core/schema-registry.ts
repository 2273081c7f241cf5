// The port of the schema registry.

/** Confluent's compatibility levels. */
export const compatibilityLevels = [
  "NONE",
  "BACKWARD",
  "BACKWARD_TRANSITIVE",
  "FORWARD",
  "FORWARD_TRANSITIVE",
  "FULL",
  "FULL_TRANSITIVE",
] as const;
export type Compatibility = (typeof compatibilityLevels)[number];

/** All methods throw REGISTRY_UNREACHABLE or REGISTRY_LOGIN (both auto) unless named otherwise. */
export interface SchemaRegistry {
  /** For messages: the URL without credentials. */
  readonly address: string;
  /** Registers an Avro schema (JSON text) and returns its id; the id it has when it is there already. Throws REGISTRY_REFUSED on 409 and 422. */
  register(subject: string, schema: string, signal: AbortSignal): Promise<number>;
  /** The schema (JSON text) of an id. Cached: an id never changes its schema. Throws SCHEMA_UNKNOWN. */
  schema(id: number, signal: AbortSignal): Promise<string>;
}
