// What `check` looks at for a source's tables in the registry: whether the schemas that they have now would be taken.
import type { ServiceConfig, SourceConfig } from "../config/config.ts";
import { dataTopicNames, namingProblems } from "../source/topics.ts";
import { sourceOptions } from "../parts.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { look, type Found } from "./findings.ts";
import { planTable } from "./plan-table.ts";
import { openTrial } from "./present-versions.ts";

/** A few requests a table; of thousands not all are tried, ms. */
const TRIED_MS = 10_000;

/** `tables`: that the source captures; null when they are not known. A registry that does not answer is found by others. */
export async function checkSchemas(
  source: SourceConfig,
  tables: readonly CatalogTable[] | null,
  service: ServiceConfig,
  found: Found,
): Promise<void> {
  const options = sourceOptions(source);
  if (tables === null || tables.length === 0 || namingProblems(options.topics, tables, []).length > 0) return;
  const opened = await openTrial(service).catch(() => null);
  if (opened === null) return;
  const { registry, close } = opened;
  const of = `schemas of source ${source.name}`;
  if (registry !== null)
    await look(of, found, async (signal, tell) => {
      const judging = { options, topics: dataTopicNames(options.topics, tables, []), registry };
      const begun = performance.now();
      let tried = 0;
      for (const table of tables) {
        if (performance.now() - begun > TRIED_MS) break;
        const { subjects, refusal, table: label, refused } = await planTable(judging, table, signal);
        tried += 1;
        if (refused !== null) tell({ of, kind: "warning", message: `table ${label}: ${refused}` });
        if (refusal === null) continue;
        const reasons = subjects.flatMap((subject) => (subject.verdict === "refused" ? [`${subject.subject}: ${subject.reason}`] : []));
        const then = {
          parked: "it is parked, or will be",
          versioned: `it will begin version ${refusal.version}`,
          stopped: "the source stops",
        }[refusal.then];
        const message = `table ${label} has a schema that is refused, ${then}: ${reasons.join("; ")}`;
        const code = refusal.then === "stopped" ? { code: "SCHEMA_REFUSED" } : {};
        tell({ of, kind: refusal.then === "stopped" ? "problem" : "warning", message, fix: refusal.fix, ...code });
      }
      return `${tried === tables.length ? tried : `${tried} of ${tables.length}`} table(s) tried in the registry`;
    });
  await close();
}
