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

/**
 * What is registered: the shape that a table has; one that it had, which keeps the id that it got then, though the subject
 * has lost it since (an operator deletes a subject to accept a change that it refuses); or whatever comes, in a subject whose level is NONE from then on (R-park).
 */
export type Registered = "present" | "past" | "anything";

/** A rule of the caller's beside R-logical: why its schema may not follow the latest one of the subject (JSON text); null: it may. */
export type FollowRule = (latest: string) => string | null;
export const NO_RULE: FollowRule = () => null;

/** Asks what register() would say, without registering. */
export interface SchemaTrial {
  /**
   * `known`: the subject has the schema; `first`: it has none; `fits`: it would be its next version; else `refused`, with the reason. Throws
   * REGISTRY_UNREACHABLE, REGISTRY_LOGIN.
   */
  tryOut(subject: string, schema: string, signal: AbortSignal, rule?: FollowRule): Promise<TrialVerdict>;
}

export type TrialVerdict = { readonly verdict: "known" | "first" | "fits" } | { readonly verdict: "refused"; readonly reason: string };

/** All methods throw REGISTRY_UNREACHABLE or REGISTRY_LOGIN (both auto) unless named otherwise. */
export interface SchemaRegistry {
  /** For messages: the URL without credentials. */
  readonly address: string;
  /** Where its HTTP API answers, for commands that an operator runs; without credentials. */
  readonly url: string;
  /**
   * Registers an Avro schema (JSON text) and returns its id; the id it has when it is there already. `what`: default `present`.
   * Throws REGISTRY_REFUSED on 409, 422, and by R-logical and `rule`, whatever the level.
   */
  register(subject: string, schema: string, signal: AbortSignal, what?: Registered, rule?: FollowRule): Promise<number>;
  /** The latest schema (JSON text) of a subject; null when it has none. */
  latest(subject: string, signal: AbortSignal): Promise<string | null>;
  /** The schema (JSON text) of an id. Cached: an id never changes its schema. Throws SCHEMA_UNKNOWN. */
  schema(id: number, signal: AbortSignal): Promise<string>;
}
