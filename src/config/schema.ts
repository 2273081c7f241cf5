// The shape of the three kinds of document, as zod schemas: the check of a configuration and the JSON schema for editors
// both come from here. Keys of features that this version lacks are not in it; later.ts knows them.

import * as zlib from "node:zlib";
import * as z from "zod";

import { compatibilityLevels } from "../core/schema-registry.ts";
import { readAsNames } from "../core/table.ts";
import { isPostgresUrl } from "./address.ts";
import { DURATION_PATTERN, parseDuration } from "./duration.ts";
import { parseSize, SIZE_PATTERN } from "./size.ts";
import { parseTablePattern, parseTargetTemplate } from "./table-pattern.ts";

/** The leaves that hold credentials. Their values become a Secret and are never shown. */
export const secretLeaves = z.registry<{ readonly pem: boolean }>();

/** An error text of a leaf says what is allowed; problem.ts puts the rest around it. */
const text = (description: string) => z.string().min(1, "a text that is not empty").describe(description);
const secret = (description: string) =>
  z.string().min(1, "a text that is not empty").describe(description).register(secretLeaves, { pem: false });
const pem = (description: string) =>
  z.string().min(1, "the path of a PEM file").describe(description).register(secretLeaves, { pem: true });
const postgresUrl = (description: string) =>
  z
    .string()
    .refine(isPostgresUrl, "a URL postgres://user:password@host:5432/database, with special characters of the password percent-encoded")
    .describe(description)
    .register(secretLeaves, { pem: false });

/** A text that `parse` understands. `parse` says in one line why it does not. */
function parsed<T extends object>(parse: (text: string) => T | { readonly problem: string }) {
  return z.string().transform((value, context): T => {
    const result = parse(value);
    if (!("problem" in result)) return result;
    context.addIssue({ code: "custom", message: result.problem, params: { problem: true } });
    return z.NEVER;
  });
}

const duration = (description: string) =>
  z
    .string()
    .regex(DURATION_PATTERN, { error: 'a duration such as "200ms", "1s", "5m", "12h" or "7d"', abort: true })
    .refine((value) => (parseDuration(value) ?? 0) >= 1, "a duration of whole milliseconds, at least 1ms")
    .transform((value) => parseDuration(value) ?? 0)
    .describe(description);
const size = (least: string, description: string) =>
  z
    .string()
    .regex(SIZE_PATTERN, { error: 'a size such as "512MiB" or "10GiB"', abort: true })
    .refine((value) => (parseSize(value) ?? 0) >= (parseSize(least) ?? 0), `a size of at least ${least}`)
    .transform((value) => parseSize(value) ?? 0)
    .describe(description);
const count = (least: number, most: number, description: string) =>
  z
    .int(`a whole number from ${least} to ${most}`)
    .min(least, `a whole number from ${least} to ${most}`)
    .max(most, `a whole number from ${least} to ${most}`)
    .describe(description);

// A name stands in topics, group ids, metric labels and on the command line.
const connectorName = (description: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "1 to 63 letters, digits, and . _ - after the first")
    .describe(description);

/** PostgreSQL's rule for slot names (ReplicationSlotValidateName). */
export const SLOT_PATTERN = /^[a-z0-9_]{1,63}$/;
/** Ours: what a publication can be called without surprises; anyone who sends it quotes it. */
export const PUBLICATION_PATTERN = /^[A-Za-z_][A-Za-z0-9_$-]{0,62}$/;
const HOST_PORT = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/;

const broker = z
  .string()
  // One reference may hold the whole list, as KAFKA_BROKERS=b1:9092,b2:9092 often does.
  .refine((value) => value.split(",").every((one) => isHostPort(one.trim(), 1)), "host:port")
  .describe("host:port of a broker");

const kafka = z.strictObject({
  brokers: z.array(broker).min(1, "at least one broker").describe("Brokers to ask first; the others are found through them."),
  ssl: z
    .union([
      z.boolean(),
      z.strictObject({
        ca: pem("PEM file of the authorities to trust, instead of Node's own.").optional(),
        cert: pem("PEM file of the client's certificate, for mutual TLS.").optional(),
        key: pem("PEM file of the client's private key.").optional(),
      }),
    ])
    .default(false)
    .describe("TLS to the brokers: true, or files. A text that starts with -----BEGIN is taken as the PEM itself."),
  sasl: z
    .strictObject({
      mechanism: z.enum(["plain", "scram-sha-256", "scram-sha-512"]).describe("SASL mechanism."),
      username: secret("User name; read again at every connect."),
      password: secret("Password; read again at every connect."),
    })
    .optional()
    .describe("Login to the brokers."),
  compression: z
    .enum(["none", "lz4", "zstd"])
    .refine((codec) => codec !== "zstd" || "zstdCompressSync" in zlib, "none or lz4: zstd is in Node.js 22.15 and later")
    .default("none")
    .describe("How record batches are compressed before they are sent (a producer's compression.type)."),
});

export const serviceSchema = z
  .strictObject({
    kind: z.literal("service"),
    log: z
      .strictObject({
        kafka: kafka.optional().describe("Events go to Kafka."),
        embedded: z
          .strictObject({
            path: text(
              "Folder of the embedded log, relative to this file. Default ./data/log, in the image /var/lib/tailrace/log.",
            ).optional(),
          })
          .optional()
          .describe("Events go to a log in a local folder."),
      })
      .optional()
      .describe("Where events become durable: Kafka, or the embedded log (the default)."),
    registry: z
      .strictObject({
        url: z
          .string()
          .refine(isRegistryUrl, "an http:// or https:// URL without credentials, which go to registry.auth")
          .describe("Address of a Confluent-compatible schema registry."),
        auth: z
          .strictObject({
            username: secret("User name; read again at every request."),
            password: secret("Password; read again at every request."),
          })
          .optional()
          .describe("Basic authentication."),
        compatibility: z
          .enum(compatibilityLevels)
          .optional()
          .describe("Written to the registry's config of our subjects; without it nothing is."),
      })
      .optional()
      .describe("Required with Kafka. With the embedded log an embedded registry is the default."),
    http: z
      .strictObject({
        listen: parsed(parseListen)
          .optional()
          .describe("host:port for metrics and health; port 0 takes a free one. Default 127.0.0.1:8080, in the image 0.0.0.0:8080."),
      })
      .optional()
      .describe("The service's HTTP server."),
  })
  .describe("Settings of the whole service; at most one such document, all of it optional.");

const schemaChanges = () =>
  z.strictObject({
    incompatible: z
      .enum(["park", "version", "stop"])
      .optional()
      .describe(
        "What becomes of a table whose new schema is refused. park: its events go to a topic of their own until `tailrace unpark`, the others stream on; version: the table goes on under a topic and targets of its next version (orders_v2), into which it is read (parked where it has no key); stop: the source stops before the first event of it.",
      ),
  });

const tablePattern = () => parsed(parseTablePattern).describe("schema.table; * stands for any run of characters, ? for one.");

export const sourceSchema = z
  .strictObject({
    kind: z.literal("source"),
    name: connectorName("Unique among sources and sinks."),
    postgres: z
      .strictObject({
        url: postgresUrl("postgres://user:password@host:port/database; read again at every connect."),
        slot: z.string().regex(SLOT_PATTERN, "1 to 63 of a-z, 0-9 and _").optional().describe("Replication slot; default tailrace_<name>."),
        publication: z
          .string()
          .regex(PUBLICATION_PATTERN, "1 to 63 letters, digits, _ $ and -, not starting with a digit, $ or -")
          .optional()
          .describe("Publication; default tailrace_<name>."),
        create: z.boolean().default(true).describe("Make the slot and the publication when they are missing."),
        system_id: z
          .string()
          .regex(/^\d{1,20}$/, 'the system identifier in quotes, as "7423908123456789012"')
          .optional()
          .describe("The cluster that may take the place of the one before: the system identifier that ANOTHER_DATABASE prints."),
      })
      .describe("The database to capture."),
    tables: z
      .array(
        z.union([
          tablePattern(),
          z.strictObject({
            table: tablePattern(),
            as: z
              .record(z.string().min(1, "a column's name"), z.enum(readAsNames))
              .optional()
              .describe(
                "Columns whose events hold another type than their own would have, as in { total: string }. string: PostgreSQL's text; double: a number, rounded; bytes: of a uuid or MAC address.",
              ),
            schema_changes: schemaChanges().optional().describe("Of the tables that this takes."),
          }),
        ]),
      )
      .min(1, "at least one table")
      .describe("What to capture."),
    topics: z
      .strictObject({
        prefix: z
          .string()
          .regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,150}$/, "1 to 150 letters, digits, and . _ -, as Kafka has it")
          .optional()
          .describe("Topics are <prefix>.<schema>.<table>; default: the source's name."),
        partitions: count(1, 10_000, "Partitions of a topic that is made.").default(4),
        replication: z
          .int("-1 for the broker's default, or 1 to 32767")
          .refine((value) => value === -1 || (value >= 1 && value <= 32_767), "-1 for the broker's default, or 1 to 32767")
          .default(-1)
          .describe("Replicas of a topic that is made; -1 is the broker's default."),
        create: z.boolean().default(true).describe("Make topics that are missing."),
        tombstones: z.boolean().default(true).describe("Follow a delete by a tombstone."),
      })
      .prefault({})
      .describe("The topics that events go to."),
    snapshot: z
      .strictObject({
        mode: z
          .enum(["initial", "initial_only", "no_data", "when_needed", "always"])
          .default("initial")
          .describe(
            "initial, when_needed: existing rows are read at the first start, for new tables and after a gap; always: at every start; " +
              "initial_only: once, then the source ends; no_data: never, a gap stops the source.",
          ),
        parallel: count(1, 32, "Sessions that read existing rows.").default(2),
        chunk_rows: count(1, 1_000_000, "Rows of a table's first chunk; the next ones follow the time they take.").default(20_000),
        max_rows_per_second: count(1, 100_000_000, "Limit of the rows read per second; none without it.").optional(),
        // Less would be reached by the chunks' own marks.
        max_lag: size("1MiB", "WAL that the stream may be behind before no further chunk is read.").prefault("1GiB"),
        max_retained_wal: size("16MiB", "WAL that the server may keep for the slot before no further chunk is read.").prefault("10GiB"),
      })
      .prefault({})
      .describe("How existing rows are read."),
    schema_changes: schemaChanges().prefault({}).describe("What an ALTER TABLE may do."),
  })
  .describe("Reads one database through one replication slot.");

export const sinkSchema = z
  .strictObject({
    kind: z.literal("sink"),
    name: connectorName("Unique among sources and sinks."),
    source: z.string().describe("Name of the source whose events are merged."),
    warehouse: z
      .strictObject({
        duckdb: z
          .strictObject({
            path: z
              .string()
              .refine(isDuckdbPath, "the path of a file")
              .describe("The database file, relative to this file; made when missing."),
            hold: z.enum(["flush"]).default("flush").describe("flush: the file is held only while a flush runs."),
            memory: size("64MiB", "Memory that DuckDB may take; what it can put to disk then goes to a folder beside the file.").prefault(
              "2GiB",
            ),
          })
          .optional()
          .describe("A DuckDB file."),
        postgres: z
          .strictObject({ url: postgresUrl("postgres://user:password@host:port/database; read again at every connect.") })
          .optional()
          .describe("A PostgreSQL database."),
      })
      .describe("Where rows are merged: exactly one."),
    consistency: z.enum(["partition"]).describe("partition: each partition moves on by itself."),
    flush: z
      .strictObject({
        every: duration("Longest time between two flushes.").prefault("1s"),
        rows: count(1, 100_000_000, "Events that start a flush earlier.").default(100_000),
      })
      .prefault({})
      .describe("When events are merged."),
    tables: z
      .array(
        z.strictObject({
          table: tablePattern(),
          into: parsed(parseTargetTemplate)
            .prefault("{schema}.{table}")
            .describe("Target as schema.table; {schema} and {table} are the source's."),
          mode: z.enum(["upsert"]).default("upsert").describe("upsert: one row per key, the latest."),
          deletes: z.enum(["hard", "soft"]).default("hard").describe("hard: the row goes; soft: it is marked in _tailrace_deleted."),
        }),
      )
      .min(1, "at least one table")
      .optional()
      .describe("What to merge, first match wins; without it every table of the source."),
  })
  .describe("Merges a source's events into one warehouse.");

/** The schema of each kind of document. */
export const schemas = { service: serviceSchema, source: sourceSchema, sink: sinkSchema } as const;
export type Kind = keyof typeof schemas;
export const kinds = Object.keys(schemas) as readonly Kind[];

/** The schema that a path leads to, defaults and transformations taken off; null when the shape has no such key. */
export function schemaAt(root: z.core.$ZodType, path: readonly PropertyKey[]): z.core.$ZodType | null {
  let at: z.core.$ZodType = unwrapped(root);
  for (const step of path) {
    if (at instanceof z.ZodUnion) at = at.options.map(unwrapped).find((option) => option instanceof z.ZodObject) ?? at;
    const next = under(at, step);
    if (!(next instanceof z.ZodType)) return null;
    at = unwrapped(next);
  }
  return at;
}

function under(schema: z.core.$ZodType, step: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(step)];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return unwrapped(schema.unwrap());
  return schema instanceof z.ZodPipe ? unwrapped(schema.in) : schema;
}

/** A port to listen on may be 0, one to connect to may not. */
function isHostPort(value: string, leastPort: number): boolean {
  const port = HOST_PORT.exec(value)?.[1];
  return port !== undefined && Number(port) >= leastPort && Number(port) <= 65_535;
}

/** An address to listen on, or in one line why the text is none. */
export function parseListen(value: string): { readonly host: string; readonly port: number } | { readonly problem: string } {
  if (!isHostPort(value, 0)) return { problem: "host:port, as in 127.0.0.1:8080 or [::1]:8080" };
  const colon = value.lastIndexOf(":");
  return { host: value.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(value.slice(colon + 1)) };
}

function isRegistryUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}

/** A database in memory or in a cloud would lose the checkpoint, or has another way of being held. */
function isDuckdbPath(value: string): boolean {
  return value !== "" && !value.startsWith(":memory:") && !/^(?:md:|motherduck:|[a-z0-9]+:\/\/)/i.test(value);
}
