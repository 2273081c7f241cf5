// R-version, for commands beside a running service: which version each table has, by the registry's subjects. The log, which knows
// it, may be open in that service alone.
import { existsSync } from "node:fs";
import path from "node:path";
import type { ServiceConfig } from "../config/config.ts";
import { topicName, versionedName } from "../core/naming.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import type { Table, TableName } from "../core/table.ts";
import type { TargetSpec } from "../core/warehouse.ts";
import { openRegistry, type Registry } from "../parts.ts";
import type { TableRule } from "../sink/routes.ts";
import { targetSpec } from "../sink/staging.ts";
import { latestView } from "../sink/version-views.ts";

/** The registry, for questions alone; null: an embedded one that was not made yet, which has no schemas, and opening it would make it. */
export async function openTrial(
  service: ServiceConfig,
): Promise<{ readonly registry: Registry["registry"] | null; readonly close: () => Promise<void> }> {
  const isMade =
    service.log.kind !== "embedded" || service.registry.kind === "confluent" || existsSync(path.join(service.log.path, "registry"));
  return isMade ? openRegistry(service) : { registry: null, close: async () => undefined };
}

/** Throws as SchemaRegistry.latest(). `topics`: those of all captured tables in their first version, of which one may be called like a later one of this. */
export async function presentVersion(
  prefix: string,
  table: TableName,
  topics: readonly string[],
  registry: Pick<SchemaRegistry, "latest">,
  signal: AbortSignal,
): Promise<number> {
  for (let version = 1; ; version++) {
    const topic = versionedName(topicName(prefix, table), version + 1);
    if (topics.includes(topic) || (await registry.latest(`${topic}-value`, signal)) === null) return version;
  }
}

/** The target that a table is merged into under a version. */
export function versionSpec({ target, deletes }: NonNullable<ReturnType<TableRule>>, table: Table, version: number): TargetSpec {
  const spec = targetSpec({ ...target, name: versionedName(target.name, version) }, deletes, table.columns);
  return version === 1 ? spec : { ...spec, view: latestView(target) };
}
