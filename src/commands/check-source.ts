// What `check` looks at for one source: its database, its past in the log, its topics.
import type { SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog } from "../core/event-log.ts";
import { sentType } from "../core/read-as.ts";
import { topicName, versionedName } from "../core/naming.ts";
import { versionOf, type VersionedTable } from "../core/source-state.ts";
import { tableLabel, type ColumnKind } from "../core/table.ts";
import { sourceOptions } from "../parts.ts";
import { Session } from "../postgres/session.ts";
import { unreadableTables } from "../postgres/server.ts";
import { judgeSlot, slotError } from "../postgres/slot.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { newMemory, type SourceOptions } from "../source/parts.ts";
import { findBeginning, findObstacles, seeDatabase, type SeenDatabase } from "../source/past.ts";
import { policyFor } from "../source/table-schemas.ts";
import { dataTopicNames, namingProblems, topicProblems } from "../source/topics.ts";
import { look, problem, type Found } from "./findings.ts";

/** null: there is none yet. `unknown`: it can't be looked at now. */
export type SeenLog = EventLog | "unknown" | null;

/** The tables that the source captures; null when they can't be looked at. */
export async function checkSource(source: SourceConfig, log: SeenLog, found: Found): Promise<readonly CatalogTable[] | null> {
  const of = `source ${source.name}`;
  const options = sourceOptions(source);
  let tables: readonly CatalogTable[] | null = null;
  await look(of, found, async (signal, tell) => {
    const settings = { url: options.url(), applicationName: `tailrace check ${source.name}` };
    await using session = await Session.open(settings, signal);
    const seen = await seeDatabase(options, session);
    const { facts, slot } = seen;
    tables = seen.tables;
    noteTables(of, seen, tell);
    let hasGap = false;
    let versions: readonly VersionedTable[] = [];
    if (slot !== null && slot.activePid !== null && slot.application === `tailrace ${source.name}`) {
      const message = `the service reads its slot (PID ${slot.activePid}); what it has published is not looked at`;
      tell({ of, kind: "note", message });
    } else {
      try {
        if (log === "unknown") refuseSlot(options.slot, seen);
        else {
          const { gaps, state } = await findBeginning(options, log, null, settings, seen, newMemory(), signal);
          versions = state?.versions ?? [];
          for (const gap of gaps)
            tell({
              of,
              kind: "warning",
              message: `${gap.message} (${gap.code}): the source will begin anew behind it and read its tables again`,
            });
        }
      } catch (cause) {
        signal.throwIfAborted();
        hasGap = true;
        tell(problem(of, TailraceError.from(cause)));
      }
    }
    for (const error of await findObstacles(options, session, seen, versions)) tell(problem(of, error));
    for (const message of versionWarnings(options, seen.tables, versions)) tell({ of, kind: "warning", message });
    if (options.snapshot.mode !== "no_data") for (const error of await unreadableTables(session, seen.tables)) tell(problem(of, error));
    if (log !== "unknown" && !hasGap && namingProblems(options.topics, seen.tables, versions).length === 0)
      for (const error of await topicProblems(log, options.topics, seen.tables, versions, signal)) tell(problem(of, error));
    return `PostgreSQL ${facts.versionText} at ${session.peer.address}, ${seen.tables.length} table(s)`;
  });
  return tables;
}

/** Without the log nothing is known of what was published: the slot is judged by itself. */
function refuseSlot(name: string, { slot, facts }: SeenDatabase): void {
  const expected = { database: facts.database, recorded: null };
  const verdict = judgeSlot(slot, expected);
  const error = verdict.kind === "missing" ? null : slotError(name, verdict, expected);
  if (error !== null) throw error;
}

/** Kinds whose values PostgreSQL may keep out of line, and leave out of an UPDATE that does not change them. */
const TOASTED: ReadonlySet<ColumnKind> = new Set([
  ...([
    "text",
    "json",
    "jsonb",
    "jsonpath",
    "xml",
    "bytea",
    "numeric",
    "bit",
    "tsvector",
    "ltree",
    "hstore",
    "geometry",
    "vector",
    "path",
    "polygon",
    "range",
    "composite",
    "array",
    "other",
  ] as const),
]);

function noteTables(of: string, { tables, skipped, overlooked }: SeenDatabase, tell: Found): void {
  for (const { table, reason } of skipped) tell({ of, kind: "note", message: `table ${tableLabel(table)} is not captured: ${reason}` });
  for (const { message } of overlooked) tell({ of, kind: "warning", message });
  const unsent = tables.filter(
    ({ identity, columns }) => identity !== "full" && columns.some((column) => TOASTED.has(sentType(column).kind)),
  );
  if (unsent.length > 0) {
    const message = `${namesOf(unsent)}: an UPDATE leaves large values out that it does not change; the event names them in \`unchanged\` and holds null there. Tailrace's sinks keep the target's value; a reader that does not look at \`unchanged\` would need ALTER TABLE … REPLICA IDENTITY FULL`;
    tell({ of, kind: "warning", message });
  }
  const partitioned = tables.filter((table) => table.partitioned);
  if (partitioned.length > 0) {
    const message = `${namesOf(partitioned)}: PostgreSQL sends nothing when a single partition is truncated, detached or dropped; the targets keep the rows that went. Use DELETE, or TRUNCATE of the whole table, where the targets are to follow`;
    tell({ of, kind: "warning", message });
  }
}

function namesOf(tables: readonly CatalogTable[]): string {
  return tables.map(tableLabel).join(", ");
}

/** R-version: tables whose next version could not have its name. */
function versionWarnings(options: SourceOptions, tables: readonly CatalogTable[], versions: readonly VersionedTable[]): readonly string[] {
  const { topics } = options;
  const names = new Set(namingProblems(topics, tables, versions).length > 0 ? [] : dataTopicNames(topics, tables, versions));
  return tables.flatMap((table) => {
    const name = versionedName(topicName(topics.prefix, table), versionOf(versions, table) + 1);
    if (policyFor(options, table) !== "version" || !names.has(name)) return [];
    return [
      `a change of table ${tableLabel(table)} that is refused would stop the source: topic ${name}, of its next version, is another table's`,
    ];
  });
}
