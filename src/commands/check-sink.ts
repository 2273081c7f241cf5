// What `check` looks at for one sink: its warehouse, and the targets of the source's tables.
import type { ServiceConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { topicName } from "../core/naming.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import type { TargetSpec } from "../core/warehouse.ts";
import { openWarehouse, sinkOptions } from "../parts.ts";
import { look, problem, type Found } from "./findings.ts";
import { openTrial, presentVersion, versionSpec } from "./present-versions.ts";

/** `tables`: those that the source captures; null when they are not known, and then the warehouse is looked at alone. */
export async function checkSink(
  sink: SinkConfig,
  source: SourceConfig,
  tables: readonly Table[] | null,
  service: ServiceConfig,
  found: Found,
): Promise<void> {
  const of = `sink ${sink.name}`;
  await look(of, found, async (signal, tell) => {
    await using warehouse = openWarehouse(sink);
    const { rule } = sinkOptions(sink, source);
    const targets: TargetSpec[] = [];
    const versionOf = await presentVersions(service, source, tables ?? [], signal);
    for (const table of tables ?? []) {
      const into = rule(table);
      if (into === null) continue;
      if (keyColumns(table).length > 0) targets.push(versionSpec(into, table, versionOf(table)));
      else tell({ of, kind: "warning", message: `table ${tableLabel(table)} is not merged: it has no key, and upsert needs one` });
    }
    for (const error of await warehouse.inspect(targets, signal)) tell(problem(of, error));
    if (tables === null)
      tell({ of, kind: "note", message: `its targets are not looked at: the tables of source ${source.name} are not known` });
    else if (targets.length === 0) tell({ of, kind: "warning", message: `its tables match none of source ${source.name}` });
    return `${warehouse.address}${tables === null ? "" : `, ${targets.length} target(s) fit or will be made`}`;
  });
}

/** A registry that can't be asked is found by others: then each table counts as of its first version. */
async function presentVersions(
  service: ServiceConfig,
  source: SourceConfig,
  tables: readonly Table[],
  signal: AbortSignal,
): Promise<(table: Table) => number> {
  const versions = new Map<Table, number>();
  const { registry, close } = await openTrial(service);
  try {
    const { prefix } = source.topics;
    const topics = tables.map((table) => topicName(prefix, table));
    if (registry !== null) for (const table of tables) versions.set(table, await presentVersion(prefix, table, topics, registry, signal));
  } catch (cause) {
    if (!(cause instanceof TailraceError) || signal.aborted) throw cause;
  } finally {
    await close();
  }
  return (table) => versions.get(table) ?? 1;
}
