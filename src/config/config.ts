// What a configuration says, checked and with its defaults: the types that the rest of Tailrace works with.

import type { Compatibility } from "../core/schema-registry.ts";
import type { ReadAs } from "../core/table.ts";
import type { Secret } from "./secret.ts";
import type { TablePattern, TargetTemplate } from "./table-pattern.ts";

export type LoadedConfig = {
  /** The configuration's folder, absolute. */
  readonly dir: string;
  readonly service: ServiceConfig;
  /** At least one, in the order of files and documents, as are the sinks. */
  readonly sources: readonly SourceConfig[];
  readonly sinks: readonly SinkConfig[];
};

export type ServiceConfig = {
  readonly log: KafkaLogConfig | EmbeddedLogConfig;
  readonly registry: ConfluentRegistryConfig | { readonly kind: "embedded" };
  readonly http: { readonly listen: { readonly host: string; /** 0 takes a free one. */ readonly port: number } };
};

export type EmbeddedLogConfig = { readonly kind: "embedded"; /** Absolute. */ readonly path: string };

export type KafkaLogConfig = {
  readonly kind: "kafka";
  /** host:port each, at least one. */
  readonly brokers: readonly string[];
  /** null: no TLS. */
  readonly ssl: KafkaSslConfig | null;
  readonly sasl: KafkaSaslConfig | null;
  readonly compression: "none" | "lz4" | "zstd";
};

/** Each reveals PEM text, its file read anew. null: Node's own authorities, no client certificate. `cert` and `key` come together. */
export type KafkaSslConfig = { readonly ca: Secret | null; readonly cert: Secret | null; readonly key: Secret | null };

export type KafkaSaslConfig = {
  readonly mechanism: "plain" | "scram-sha-256" | "scram-sha-512";
  readonly username: Secret;
  readonly password: Secret;
};

export type ConfluentRegistryConfig = {
  readonly kind: "confluent";
  /** http(s) without credentials. */
  readonly url: string;
  readonly auth: { readonly username: Secret; readonly password: Secret } | null;
  /** null: nothing is written to the registry's config. */
  readonly compatibility: Compatibility | null;
};

/** What becomes of a table whose new schema the registry, or R-logical, refuses. */
export type IncompatiblePolicy = "park" | "version" | "stop";

export type SourceConfig = {
  readonly kind: "source";
  readonly name: string;
  readonly postgres: {
    readonly url: Secret;
    readonly slot: string;
    /** Quote it in SQL and in publication_names: it may hold capitals, $ and -. */
    readonly publication: string;
    /** Make slot and publication when missing. */
    readonly create: boolean;
    /** The cluster that may take the place of the one before; null: none may. */
    readonly systemId: string | null;
    /** The slot goes with its connection. No key of a file says so: it is the quickstart's. */
    readonly temporary?: boolean;
  };
  /** A table is captured when one of them takes it; the first that does says what becomes of it. At least one. */
  readonly tables: readonly SourceTableConfig[];
  readonly topics: {
    readonly prefix: string;
    readonly partitions: number;
    /** -1: the broker's default. */
    readonly replication: number;
    readonly create: boolean;
    readonly tombstones: boolean;
  };
  readonly snapshot: {
    readonly mode: "initial" | "initial_only" | "no_data" | "when_needed" | "always";
    /** Sessions that read chunks. */
    readonly parallel: number;
    /** Rows of a table's first chunk. */
    readonly chunkRows: number;
    /** null: no limit. */
    readonly maxRowsPerSecond: number | null;
    /** Bytes of WAL that the stream may be behind before no chunk is begun. */
    readonly maxLagBytes: number;
    /** Bytes of WAL that the server may keep for the slot before no chunk is begun. */
    readonly maxRetainedBytes: number;
  };
};

export type SourceTableConfig = {
  readonly pattern: TablePattern;
  /** By column; null: every column is as its type has it. */
  readonly as: Readonly<Record<string, ReadAs>> | null;
  readonly incompatible: IncompatiblePolicy;
};

export type SinkConfig = {
  readonly kind: "sink";
  readonly name: string;
  /** Name of a source in the same configuration. */
  readonly source: string;
  readonly warehouse: DuckdbWarehouseConfig | PostgresWarehouseConfig;
  readonly consistency: "partition";
  readonly flush: { readonly everyMs: number; readonly rows: number };
  /** The first whose pattern takes the table (firstMatch); a table that none takes is not merged. */
  readonly tables: readonly SinkTableConfig[];
};

/** `path` is absolute. */
export type DuckdbWarehouseConfig = {
  readonly kind: "duckdb";
  readonly path: string;
  readonly hold: "flush";
  readonly memoryBytes: number;
};
export type PostgresWarehouseConfig = { readonly kind: "postgres"; readonly url: Secret };

export type SinkTableConfig = {
  readonly pattern: TablePattern;
  readonly into: TargetTemplate;
  readonly mode: "upsert";
  readonly deletes: "hard" | "soft";
};
