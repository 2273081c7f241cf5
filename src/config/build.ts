// From documents that passed every check to the typed configuration: defaults that depend on other keys, absolute
// paths, and a Secret for every credential.

import { join, resolve } from "node:path";

import type * as z from "zod";

import { TailraceError } from "../core/errors.ts";
import { defaultStreamName } from "./check.ts";
import type { KafkaLogConfig, LoadedConfig, ServiceConfig, SinkConfig, SourceConfig } from "./config.ts";
import { dataFolder } from "./data-folder.ts";
import type { Path } from "./document.ts";
import type { Surroundings } from "./reference.ts";
import { credential, type Resolved } from "./resolve.ts";
import { parseListen, serviceSchema, type sinkSchema, type sourceSchema } from "./schema.ts";
import type { Secret } from "./secret.ts";
import type { TablePattern, TargetTemplate } from "./table-pattern.ts";

/** A document with what zod made of it. */
export type Checked =
  | { readonly kind: "service"; readonly document: Resolved; readonly value: z.output<typeof serviceSchema> }
  | { readonly kind: "source"; readonly document: Resolved; readonly value: z.output<typeof sourceSchema> }
  | { readonly kind: "sink"; readonly document: Resolved; readonly value: z.output<typeof sinkSchema> };

type SecretAt = (...path: Path) => Secret;

/** The configuration; the documents are at most one service, at least one source, and any sinks. */
export function buildConfig(documents: readonly Checked[], surroundings: Surroundings): LoadedConfig {
  const secretsOf =
    (owner: string, document: Resolved): SecretAt =>
    (...path) =>
      credential(document, path, owner, surroundings);
  const service = documents.find((document) => document.kind === "service");
  return {
    dir: surroundings.dir,
    service: buildService(
      service?.value ?? serviceSchema.parse({ kind: "service" }),
      service === undefined ? null : secretsOf("the service", service.document),
      surroundings,
    ),
    sources: documents.flatMap((one) =>
      one.kind === "source" ? buildSource(one.value, secretsOf(`source ${one.value.name}`, one.document)) : [],
    ),
    sinks: documents.flatMap((one) =>
      one.kind === "sink" ? buildSink(one.value, secretsOf(`sink ${one.value.name}`, one.document), surroundings.dir) : [],
    ),
  };
}

/** What the image sets: inside a container the loopback address would reach nobody. */
export const LISTEN_VARIABLE = "TAILRACE_HTTP_LISTEN";

function defaultListen(env: Surroundings["env"]): ServiceConfig["http"]["listen"] {
  const text = env[LISTEN_VARIABLE] ?? "127.0.0.1:8080";
  const listen = parseListen(text);
  if ("problem" in listen) throw new TailraceError("USAGE", { problem: `${LISTEN_VARIABLE} is ${text}, not ${listen.problem}` });
  return listen;
}

function buildService(
  value: z.output<typeof serviceSchema>,
  secret: SecretAt | null,
  surroundings: Pick<Surroundings, "dir" | "env">,
): ServiceConfig {
  const { kafka, embedded } = value.log ?? {};
  const registry = value.registry;
  return {
    log:
      kafka !== undefined && secret !== null
        ? buildKafka(kafka, secret)
        : { kind: "embedded", path: embeddedLogPath(embedded?.path, surroundings) },
    registry:
      registry === undefined || secret === null
        ? { kind: "embedded" }
        : {
            kind: "confluent",
            url: registry.url,
            auth:
              registry.auth === undefined
                ? null
                : { username: secret("registry", "auth", "username"), password: secret("registry", "auth", "password") },
            compatibility: registry.compatibility ?? null,
          },
    http: { listen: value.http?.listen ?? defaultListen(surroundings.env) },
  };
}

function embeddedLogPath(written: string | undefined, surroundings: Pick<Surroundings, "dir" | "env">): string {
  return written === undefined ? join(dataFolder(surroundings), "log") : resolve(surroundings.dir, written);
}

type KafkaValue = NonNullable<NonNullable<z.output<typeof serviceSchema>["log"]>["kafka"]>;

function buildKafka({ brokers, ssl, sasl, compression }: KafkaValue, secret: SecretAt): KafkaLogConfig {
  const files = typeof ssl === "boolean" ? {} : ssl;
  const pem = (name: "ca" | "cert" | "key"): Secret | null => (files[name] === undefined ? null : secret("log", "kafka", "ssl", name));
  return {
    kind: "kafka",
    brokers: brokers.flatMap((broker) => broker.split(",").map((one) => one.trim())),
    ssl: ssl === false ? null : { ca: pem("ca"), cert: pem("cert"), key: pem("key") },
    sasl:
      sasl === undefined
        ? null
        : {
            mechanism: sasl.mechanism,
            username: secret("log", "kafka", "sasl", "username"),
            password: secret("log", "kafka", "sasl", "password"),
          },
    compression,
  };
}

function buildSource(value: z.output<typeof sourceSchema>, secret: SecretAt): SourceConfig {
  const { name, postgres, tables, topics, snapshot, schema_changes: changes } = value;
  const incompatible = changes.incompatible ?? "park";
  return {
    kind: "source",
    name,
    postgres: {
      url: secret("postgres", "url"),
      slot: postgres.slot ?? defaultStreamName(name),
      publication: postgres.publication ?? defaultStreamName(name),
      create: postgres.create,
      systemId: postgres.system_id ?? null,
    },
    tables: tables.map((entry) =>
      isPattern(entry)
        ? { pattern: entry, as: null, incompatible }
        : {
            pattern: entry.table,
            as: entry.as ?? null,
            incompatible: entry.schema_changes?.incompatible ?? incompatible,
          },
    ),
    topics: { ...topics, prefix: topics.prefix ?? name },
    snapshot: {
      mode: snapshot.mode,
      parallel: snapshot.parallel,
      chunkRows: snapshot.chunk_rows,
      maxRowsPerSecond: snapshot.max_rows_per_second ?? null,
      maxLagBytes: snapshot.max_lag,
      maxRetainedBytes: snapshot.max_retained_wal,
    },
  };
}

function isPattern(entry: z.output<typeof sourceSchema>["tables"][number]): entry is TablePattern {
  return "text" in entry;
}

function buildSink(value: z.output<typeof sinkSchema>, secret: SecretAt, dir: string): SinkConfig {
  const { name, source, warehouse, consistency, flush, tables } = value;
  return {
    kind: "sink",
    name,
    source,
    warehouse:
      warehouse.duckdb === undefined
        ? { kind: "postgres", url: secret("warehouse", "postgres", "url") }
        : {
            kind: "duckdb",
            path: resolve(dir, warehouse.duckdb.path),
            hold: warehouse.duckdb.hold,
            memoryBytes: warehouse.duckdb.memory,
          },
    consistency,
    flush: { everyMs: flush.every, rows: flush.rows },
    tables:
      tables === undefined
        ? [{ pattern: EVERY_TABLE, into: SAME_NAME, mode: "upsert", deletes: "hard" }]
        : tables.map(({ table, into, mode, deletes }) => ({ pattern: table, into, mode, deletes })),
  };
}

const EVERY_TABLE: TablePattern = { text: "*.*", schema: { kind: "glob", text: "*" }, table: { kind: "glob", text: "*" } };
const SAME_NAME: TargetTemplate = { text: "{schema}.{table}", schema: "{schema}", table: "{table}" };
