// `tailrace plan DIR`: what the next start would register and do to each target, and with --assume what it would after an ALTER TABLE.
// Nothing is written: not in the database, the registry, the log or a warehouse.
import type { LoadedConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import type { TargetSpec } from "../core/warehouse.ts";
import { openWarehouse, sinkOptions, sourceOptions, type Registry } from "../parts.ts";
import { assumeAlter, TRIAL_SETTINGS } from "../postgres/assumed-table.ts";
import { resolveTables } from "../postgres/catalog.ts";
import { Session } from "../postgres/session.ts";
import { findConnector } from "../service/names.ts";
import { dataTopicNames } from "../source/topics.ts";
import { columnChanges, planTable, type PlannedTable, type PlannedTarget, type Refusal } from "./plan-table.ts";
import { openTrial, versionSpec } from "./present-versions.ts";
import { exitCodes, usageError } from "./report.ts";

/** Bound of all looks at one source with its sinks, ms. */
const PLAN_MS = 60_000;

export type PlanOptions = {
  /** An ALTER TABLE; null: what stands. */
  readonly assume: string | null;
  /** The source that it is about; null: the only one. */
  readonly source: string | null;
  readonly json: boolean;
};

/** Exit code 0, or 3 when something would be refused. Throws USAGE, and what keeps database, registry or warehouse from being asked. */
export async function runPlan(config: LoadedConfig, { assume, source: name, json }: PlanOptions): Promise<number> {
  const sources = name === null ? config.sources : [findConnector(config.sources, name, "source")];
  if (assume !== null && sources.length !== 1) throw usageError("--assume is about one source: name it with --source NAME");
  const { registry, close } = await openTrial(config.service);
  const tables: PlannedTable[] = [];
  try {
    for (const source of sources) {
      const sinks = config.sinks.filter((sink) => sink.source === source.name);
      const planned = await planSource(source, sinks, registry, assume, AbortSignal.timeout(PLAN_MS));
      tables.push(...planned);
      if (!json) process.stdout.write(planned.flatMap((table) => tableLines(table, assume !== null)).join(""));
    }
  } finally {
    await close();
  }
  if (json) process.stdout.write(`${JSON.stringify({ tables })}\n`);
  return tables.some(isRefused) ? exitCodes.differences : exitCodes.good;
}

async function planSource(
  source: SourceConfig,
  sinks: readonly SinkConfig[],
  registry: Registry["registry"] | null,
  assume: string | null,
  signal: AbortSignal,
): Promise<readonly PlannedTable[]> {
  const options = sourceOptions(source);
  const settings = { url: options.url(), applicationName: `tailrace plan ${source.name}` };
  await using session = await Session.open(settings, signal, "sql", {
    statementMs: TRIAL_SETTINGS.statement_timeout,
    startup: { lock_timeout: TRIAL_SETTINGS.lock_timeout },
  });
  const { tables, problems, wronglyAsked } = await resolveTables(session, options.selection, options.publication);
  const [problem] = [...problems, ...wronglyAsked.map(({ error }) => error)];
  if (problem !== undefined) throw problem;
  const judging = { options, topics: dataTopicNames(options.topics, tables, []), registry };
  const plan = async (
    table: Table,
    judged: Partial<Pick<PlannedTable, "columns" | "refused">> = {},
    before = table,
  ): Promise<PlannedTable> => planTable(judging, table, signal, judged, before);
  if (assume === null) {
    const planned: PlannedTable[] = [];
    for (const table of tables) planned.push(await plan(table));
    return await withTargets(planned, tables, source, sinks, signal);
  }
  const { before, after } = await assumeAlter(session, assume, tables, options.publication, options.selection.asked);
  if (typeof after === "string")
    return [await plan(before, { columns: [], refused: `the table could not be captured any more: ${after}` })];
  const planned = await plan(after, { columns: columnChanges(before, after) }, before);
  return await withTargets([planned], [after], source, sinks, signal);
}

/** Each sink's warehouse is asked once. `tables`: of `planned`, in their order. */
async function withTargets(
  planned: readonly PlannedTable[],
  tables: readonly Table[],
  source: SourceConfig,
  sinks: readonly SinkConfig[],
  signal: AbortSignal,
): Promise<readonly PlannedTable[]> {
  const targets = planned.map((): PlannedTarget[] => []);
  for (const sink of sinks) {
    const { rule } = sinkOptions(sink, source);
    const specs: { readonly at: number; readonly spec: TargetSpec }[] = [];
    for (const [at, table] of tables.entries()) {
      const into = rule(table);
      if (into === null || keyColumns(table).length === 0) continue;
      const { refusal, version } = planned[at]!;
      specs.push({ at, spec: versionSpec(into, table, refusal?.version ?? version) });
    }
    await using warehouse = openWarehouse(sink);
    const ddl = await warehouse.plan(
      specs.map(({ spec }) => spec),
      signal,
    );
    for (const [index, { at, spec }] of specs.entries()) {
      const found = ddl[index]!;
      const target = tableLabel(spec.target);
      targets[at]!.push(
        found instanceof TailraceError
          ? { sink: sink.name, target, ddl: [], refused: `${found.code}: ${found.message}; ${found.remedy}` }
          : { sink: sink.name, target, ddl: found, refused: null },
      );
    }
  }
  return planned.map((table, at) => ({ ...table, targets: targets[at]! }));
}

function isRefused({ refused, refusal, subjects, targets }: PlannedTable): boolean {
  return (
    refused !== null ||
    refusal !== null ||
    subjects.some(({ verdict }) => verdict === "refused") ||
    targets.some((target) => target.refused !== null)
  );
}

const verdicts = {
  known: "registered already",
  first: "would be registered, its first",
  fits: "would be registered as its next version",
} as const;

function tableLines(
  { source, table, topic, subjects, columns, refused, refusal, targets }: PlannedTable,
  assumed: boolean,
): readonly string[] {
  const lines = [`source ${source}: ${table} → topic ${topic}`];
  if (refused !== null) lines.push(`  REFUSED ${refused}`);
  lines.push(...(assumed && columns.length === 0 ? ["  no column of its events changes"] : columns.map((column) => `  ${column}`)));
  for (const subject of subjects)
    lines.push(
      subject.verdict === "refused"
        ? `  REFUSED ${subject.subject}: ${subject.reason}`
        : `  ${subject.subject}: ${verdicts[subject.verdict]}`,
    );
  if (refusal !== null)
    lines.push(
      `  ${refusalWords(refusal, subjects.length === 1)}; ${refusal.then === "versioned" ? "" : "to let it pass: "}${refusal.fix}`,
    );
  if (assumed)
    for (const { subject, verdict, schema } of subjects) if (verdict !== "known") lines.push(`  schema of ${subject}: ${schema}`);
  for (const { sink, target, ddl, refused: why } of targets) {
    if (why !== null) lines.push(`  REFUSED sink ${sink}: ${why}`);
    else if (ddl.length === 0) lines.push(`  sink ${sink}: ${target} fits`);
    else lines.push(`  sink ${sink}: ${target}`, ...ddl.flatMap((sql) => `${sql};`.split("\n").map((line) => `    ${line}`)));
  }
  return lines.map((line) => `${line}\n`);
}

function refusalWords({ parkedTopic, version, topic }: Refusal, isKeyless: boolean): string {
  if (version !== null)
    return `VERSIONED: the table's events go to topic ${topic}, into which it is read, and to the targets below (schema_changes.incompatible)`;
  if (parkedTopic === null) return "STOPS the source before the first event of this schema (schema_changes.incompatible)";
  return `PARKED: the table's events go to ${parkedTopic} and wait there, the other tables go on (schema_changes.incompatible${isKeyless ? "; without a key it has no versions" : ""})`;
}
