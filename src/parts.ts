// From a checked configuration to the parts that it names: log, registry, warehouses. Logs bring large libraries along, of which a
// process loads the one that it needs: the Kafka client's takes 0.15 s.
import path from "node:path";
import { firstMatch, matchesTable, namesOneTable, targetOf } from "./config/table-pattern.ts";
import type { KafkaLogConfig, ServiceConfig, SinkConfig, SourceConfig } from "./config/config.ts";
import { TailraceError } from "./core/errors.ts";
import type { EventLog } from "./core/event-log.ts";
import type { Log } from "./core/log.ts";
import type { SchemaRegistry, SchemaTrial } from "./core/schema-registry.ts";
import type { TableName } from "./core/table.ts";
import type { Warehouse } from "./core/warehouse.ts";
import type { OverlookedColumn, TableSelection } from "./postgres/catalog.ts";
import { openConfluentRegistry, type RegistryMetrics } from "./registry/confluent.ts";
import type { EmbeddedRegistry } from "./registry/embedded.ts";
import type { SinkOptions } from "./sink/parts.ts";
import type { SourceOptions } from "./source/parts.ts";
import { openDuckdb } from "./warehouses/duckdb/warehouse.ts";
import { openPostgresWarehouse } from "./warehouses/postgres/warehouse.ts";

export type Registry = {
  readonly registry: SchemaRegistry & SchemaTrial;
  readonly embedded: EmbeddedRegistry | null;
  readonly close: () => Promise<void>;
};

/** Throws LOG_LOCKED or LOG_UNREACHABLE for an embedded log that can't be opened; Kafka is not asked yet. */
export async function openLog(config: ServiceConfig, logger: Log): Promise<EventLog> {
  if (config.log.kind === "embedded") {
    const { openEmbeddedLog } = await import("./log/embedded/embedded-log.ts");
    return openEmbeddedLog({ path: config.log.path });
  }
  const { brokers, ssl, sasl, compression } = config.log;
  const { openKafkaLog } = await import("./log/kafka/kafka-log.ts");
  return openKafkaLog({
    brokers,
    clientId: "tailrace",
    log: logger,
    ssl: ssl === null ? null : () => tlsFiles(ssl),
    sasl: sasl === null ? null : credentials(sasl),
    compression,
  });
}

function tlsFiles(ssl: NonNullable<KafkaLogConfig["ssl"]>): { ca?: string; cert?: string; key?: string } {
  return {
    ...(ssl.ca === null ? {} : { ca: ssl.ca.reveal() }),
    ...(ssl.cert === null ? {} : { cert: ssl.cert.reveal() }),
    ...(ssl.key === null ? {} : { key: ssl.key.reveal() }),
  };
}

function credentials({ mechanism, username, password }: NonNullable<KafkaLogConfig["sasl"]>) {
  return { mechanism, credentials: () => ({ username: username.reveal(), password: password.reveal() }) };
}

export async function openRegistry(config: ServiceConfig, metrics?: RegistryMetrics): Promise<Registry> {
  if (config.registry.kind === "confluent") {
    const { url, auth, compatibility } = config.registry;
    const registry = openConfluentRegistry({
      url: () => url,
      auth: auth === null ? undefined : () => ({ username: auth.username.reveal(), password: auth.password.reveal() }),
      compatibility: compatibility ?? undefined,
      ...(metrics === undefined ? {} : { metrics }),
    });
    return { registry, embedded: null, close: async () => undefined };
  }
  if (config.log.kind !== "embedded") throw new TailraceError("UNEXPECTED", { reason: "an embedded registry beside Kafka" });
  const folder = path.join(config.log.path, "registry");
  const [{ EmbeddedRegistry }, { openRegistryStore }] = await Promise.all([
    import("./registry/embedded.ts"),
    import("./registry/store.ts"),
  ]);
  const store = openRegistryStore(folder);
  const { host, port } = config.http.listen;
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/registry`;
  const embedded = new EmbeddedRegistry({ store, address: folder, url });
  return { registry: embedded, embedded, close: async () => store[Symbol.asyncDispose]() };
}

export function openWarehouse(sink: SinkConfig): Warehouse {
  const { warehouse } = sink;
  if (warehouse.kind === "duckdb") return openDuckdb({ path: warehouse.path, memoryBytes: warehouse.memoryBytes });
  return openPostgresWarehouse({ url: () => warehouse.url.reveal() });
}

export function sourceOptions(source: SourceConfig): SourceOptions {
  const { url, slot, publication, create, systemId, temporary = false } = source.postgres;
  return {
    name: source.name,
    url: () => url.reveal(),
    slot,
    publication,
    systemId,
    create,
    temporary,
    selection: tableSelection(source),
    topics: source.topics,
    snapshot: source.snapshot,
    incompatible: (table) => firstMatch(source.tables, table)?.incompatible ?? "park",
  };
}

/** R-harmless: a table that is named must be captured, a glob takes what it can. */
export function tableSelection(source: SourceConfig): TableSelection {
  const patterns = source.tables.map(({ pattern }) => pattern);
  const asked = source.tables.map(({ pattern, as }) => ({ pattern, as: as === null ? null : new Map(Object.entries(as)) }));
  return {
    matches: (schema, name) => patterns.some((pattern) => matchesTable(pattern, { schema, name })),
    named: patterns.filter(namesOneTable).map((pattern) => ({ schema: pattern.schema.text, name: pattern.table.text })),
    asked: (table) => firstMatch(asked, table)?.as ?? null,
    overlooked: (table) => overlooked(source.tables, table),
  };
}

function overlooked(entries: SourceConfig["tables"], table: TableName): readonly OverlookedColumn[] {
  const [first, ...later] = entries.filter(({ pattern }) => matchesTable(pattern, table));
  const found = new Map<string, OverlookedColumn>();
  for (const { pattern, as } of later)
    for (const [column, type] of Object.entries(as ?? {}))
      if (first !== undefined && first.as?.[column] === undefined && !found.has(column))
        found.set(column, { column, as: type, first: first.pattern.text, later: pattern.text });
  return [...found.values()];
}

export function sinkOptions(sink: SinkConfig, source: SourceConfig): SinkOptions {
  return {
    name: sink.name,
    prefix: source.topics.prefix,
    flush: sink.flush,
    rule: (table) => {
      const entry = firstMatch(sink.tables, table);
      return entry === null ? null : { target: targetOf(entry.into, table), deletes: entry.deletes };
    },
  };
}
