// What `check` looks at for one sink: its warehouse, and the targets of the source's tables.
import type { SinkConfig, SourceConfig } from "../config/config.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import type { TargetSpec } from "../core/warehouse.ts";
import { openWarehouse, sinkOptions } from "../parts.ts";
import { targetSpec } from "../sink/staging.ts";
import { look, problem, type Found } from "./findings.ts";

/** `tables`: those that the source captures; null when they are not known, and then the warehouse is looked at alone. */
export async function checkSink(sink: SinkConfig, source: SourceConfig, tables: readonly Table[] | null, found: Found): Promise<void> {
  const of = `sink ${sink.name}`;
  await look(of, found, async (signal, tell) => {
    await using warehouse = openWarehouse(sink);
    const { rule } = sinkOptions(sink, source);
    const targets: TargetSpec[] = [];
    for (const table of tables ?? []) {
      const into = rule(table);
      if (into === null) continue;
      if (keyColumns(table).length > 0) targets.push(targetSpec(into.target, into.deletes, table.columns));
      else tell({ of, kind: "warning", message: `table ${tableLabel(table)} is not merged: it has no key, and upsert needs one` });
    }
    for (const error of await warehouse.inspect(targets, signal)) tell(problem(of, error));
    if (tables === null)
      tell({ of, kind: "note", message: `its targets are not looked at: the tables of source ${source.name} are not known` });
    else if (targets.length === 0) tell({ of, kind: "warning", message: `its tables match none of source ${source.name}` });
    return `${warehouse.address}${tables === null ? "" : `, ${targets.length} target(s) fit or will be made`}`;
  });
}
