// `tailrace check DIR`: everything that `run` will need, looked at without writing, each finding with its fix.
import { existsSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import type { LoadedConfig, ServiceConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { barrierTopic, lastBarrier } from "../core/barrier.ts";
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { EventLog } from "../core/event-log.ts";
import { readState } from "../core/source-state.ts";
import { tableLabel, type ColumnKind } from "../core/table.ts";
import { openLog, openRegistry, openWarehouse, sourceOptions, tableSelection } from "../parts.ts";
import { resolveTables } from "../postgres/catalog.ts";
import { readPublication } from "../postgres/publication.ts";
import { missingPrivileges, readServer, readTimelineHistory, serverProblems, type ServerFacts } from "../postgres/server.ts";
import { Session, type ConnectionSettings } from "../postgres/session.ts";
import { judgeSlot, readSlot, slotError, type Slot } from "../postgres/slot.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import type { SourceOptions } from "../source/parts.ts";
import { judgeBefore } from "../source/source.ts";
import { judgeStart } from "../source/start.ts";
import { dataTopicNames } from "../source/topics.ts";
import { openLog as openLogger } from "../telemetry/log.ts";
import { exitCodes, takesColours } from "./report.ts";

type Finding = {
  readonly of: string;
  /** `note`: good to know. */
  readonly kind: "ok" | "note" | "problem";
  readonly message: string;
  readonly code?: string;
  readonly fix?: string;
  /** It does not answer, rather than answer something wrong. */
  readonly silent?: boolean;
};

/** One look at one thing may take this, ms. */
const LOOK_MS = 15_000;
/** The codes of what does not answer. */
const SILENT = /_(UNREACHABLE|LOGIN|LOCKED)$/;

/** Prints a line a finding. Exit code 0 when all is well, 1 when something does not answer, 3 when something has to be mended. */
export async function runCheck(dir: string, json: boolean): Promise<number> {
  const config = await loadConfig(dir, process.env);
  const findings: Finding[] = [];
  const found = (finding: Finding): void => {
    findings.push(finding);
    if (!json) process.stdout.write(render(finding));
  };
  await checkAll(config, found);
  if (json) process.stdout.write(`${JSON.stringify({ findings })}\n`);
  const problems = findings.filter(({ kind }) => kind === "problem");
  if (problems.length === 0) return exitCodes.good;
  return problems.some(({ silent }) => silent === true) ? exitCodes.failed : exitCodes.differences;
}

type Found = (finding: Finding) => void;

async function checkAll(config: LoadedConfig, found: Found): Promise<void> {
  const log = await checkLog(config.service, found);
  for (const source of config.sources) await checkSource(source, log, found);
  for (const sink of config.sinks) await checkSink(sink, found);
  if (typeof log !== "string") await log[Symbol.asyncDispose]();
}

/** `empty`: nothing was published yet. `unknown`: it can't be looked at now. */
type SeenLog = EventLog | "empty" | "unknown";

async function checkLog(service: ServiceConfig, found: Found): Promise<SeenLog> {
  if (service.log.kind === "embedded") {
    if (!existsSync(service.log.path)) {
      found({ of: "log", kind: "note", message: `embedded; ${service.log.path} will be made` });
      return "empty";
    }
    try {
      const log = await openLog(service, openLogger({ level: "silent" }));
      found({ of: "log", kind: "ok", message: `embedded in ${service.log.path}` });
      return log;
    } catch (cause) {
      const error = TailraceError.from(cause);
      // The running service itself: what is in the log can't be looked at, and need not be.
      found(error.code === "LOG_LOCKED" ? { of: "log", kind: "note", message: error.message } : problem("log", error));
      return "unknown";
    }
  }
  const log = await openLog(service, openLogger({ level: "silent" }));
  await look("log", found, async (signal) => {
    await log.topics(["tailrace"], signal);
    return `Kafka at ${log.address} answers`;
  });
  const { registry } = openRegistry(service);
  await look("registry", found, async (signal) => {
    await registry.schema(1, signal).catch((cause: unknown) => {
      if (!(cause instanceof TailraceError) || cause.code !== "SCHEMA_UNKNOWN") throw cause;
    });
    return `${registry.address} answers`;
  });
  return log;
}

async function checkSource(source: SourceConfig, log: SeenLog, found: Found): Promise<void> {
  const of = `source ${source.name}`;
  const options = sourceOptions(source);
  await look(of, found, async (signal) => {
    const settings = { url: options.url(), applicationName: `tailrace check ${source.name}` };
    await using session = await Session.open(settings, signal);
    const facts = await readServer(session);
    const slot = await readSlot(session, options.slot);
    for (const error of serverProblems(facts, session.peer, slot === null && options.create)) found(problem(of, error));
    const { tables, skipped, problems } = await resolveTables(session, tableSelection(source), options.publication);
    for (const error of problems) found(problem(of, error));
    for (const { table, reason } of skipped) found({ of, kind: "note", message: `table ${tableLabel(table)} is not captured: ${reason}` });
    dataTopicNames(options.topics, tables);
    const publication = await readPublication(session, options.publication, tables);
    for (const error of await missingPrivileges(session, facts, tables, options.create && publication === null)) found(problem(of, error));
    if (publication === null && !options.create) {
      const list = tables.map(({ schema, name }) => `"${schema}"."${name}"`).join(", ");
      const sql = `CREATE PUBLICATION "${options.publication}" FOR TABLE ${list} WITH (publish_via_partition_root = true);`;
      found(problem(of, new TailraceError("PUBLICATION_NOT_MADE", { publication: options.publication, reason: "it does not exist", sql })));
    }
    noteUnsent(of, tables, found);
    if (typeof log !== "string") await checkTables(of, options, tables, log, found, signal);
    const isOurs = slot !== null && slot.activePid !== null && slot.application === `tailrace ${source.name}`;
    if (isOurs)
      found({ of, kind: "note", message: `the service reads its slot (PID ${slot.activePid}); what it has published is not looked at` });
    else await checkHistory(source, { session, settings, facts, slot, tables }, log, signal);
    return `PostgreSQL ${facts.versionText} at ${session.peer.address}, ${tables.length} table(s)`;
  });
}

/** Whether the source may go on where it was, or begin. Throws the named error of a gap, or of a slot that is not for it. */
async function checkHistory(
  source: SourceConfig,
  seen: {
    readonly session: Session;
    readonly settings: ConnectionSettings;
    readonly facts: ServerFacts;
    readonly slot: Slot | null;
    readonly tables: readonly CatalogTable[];
  },
  log: SeenLog,
  signal: AbortSignal,
): Promise<void> {
  const { session, settings, facts, slot, tables } = seen;
  const options = sourceOptions(source);
  const { prefix } = options.topics;
  const database = (await session.query("SELECT current_database() AS name"))[0]?.name ?? "";
  if (log === "unknown") {
    const expected = { database, recorded: null };
    const verdict = judgeSlot(slot, expected);
    const error = verdict.kind === "missing" ? null : slotError(options.slot, verdict, expected);
    if (error !== null) throw error;
    return;
  }
  const state = log === "empty" ? null : await readState(log, prefix, signal);
  const [barriers] = log === "empty" ? [] : await log.topics([barrierTopic(prefix)], signal);
  const barrier = log === "empty" || barriers === undefined ? null : await lastBarrier(log, prefix, signal);
  const history = state !== null && state.timeline !== facts.timeline ? await readTimelineHistory(settings, facts.timeline, signal) : [];
  const cluster = { ...facts, history };
  const start = judgeStart({ prefix, slotName: options.slot, create: options.create, database, state, slot, cluster, barrier });
  if (log === "empty" || start.kind !== "resume" || state === null) return;
  if (barriers === undefined) throw new TailraceError("TOPIC_LOST", { topic: barrierTopic(prefix), reason: "it does not exist" });
  await judgeBefore(options, log, state, barrier, session, tables, start.from, signal);
}

/** R-compact, and where a reader that does not know `unchanged` would take its null for the column's value. */
async function checkTables(
  of: string,
  options: SourceOptions,
  tables: readonly CatalogTable[],
  log: EventLog,
  found: Found,
  signal: AbortSignal,
): Promise<void> {
  const topics = await log.topics(dataTopicNames(options.topics, tables), signal);
  for (const { name } of topics) {
    const { "cleanup.policy": policy = "delete" } = await log.topicConfigs(name, ["cleanup.policy"], signal);
    if (policy.includes("compact")) found(problem(of, new TailraceError("TOPIC_COMPACTED", { topic: name, policy })));
  }
}

/** Kinds whose values PostgreSQL may keep out of line, and leave out of an UPDATE that does not change them. */
const TOASTED: ReadonlySet<ColumnKind> = new Set(["text", "json", "jsonb", "xml", "bytea", "other", "numeric"]);

function noteUnsent(of: string, tables: readonly CatalogTable[], found: Found): void {
  const unsent = tables.filter(({ identity, columns }) => identity !== "full" && columns.some(({ type }) => TOASTED.has(type.kind)));
  if (unsent.length === 0) return;
  const names = unsent.map(tableLabel).join(", ");
  const message = `${names}: an UPDATE leaves large values out that it does not change; the event names them in \`unchanged\` and holds null there. Tailrace's sinks keep the target's value; a reader that does not look at \`unchanged\` would need ALTER TABLE … REPLICA IDENTITY FULL`;
  found({ of, kind: "note", message });
}

async function checkSink(sink: SinkConfig, found: Found): Promise<void> {
  if (sink.warehouse.kind === "duckdb" && !existsSync(sink.warehouse.path)) {
    found({ of: `sink ${sink.name}`, kind: "note", message: `${sink.warehouse.path} will be made` });
    return;
  }
  await using warehouse = openWarehouse(sink);
  await look(`sink ${sink.name}`, found, async (signal) => {
    await using _session = await warehouse.open(signal);
    return `${warehouse.address} opens`;
  });
}

/** Runs a look with its bound; what it throws becomes a problem, what it returns is said as good. */
async function look(of: string, found: Found, run: (signal: AbortSignal) => Promise<string>): Promise<void> {
  const signal = AbortSignal.timeout(LOOK_MS);
  try {
    found({ of, kind: "ok", message: await run(signal) });
  } catch (cause) {
    const late = new TailraceError("UNEXPECTED", { reason: `no answer within ${LOOK_MS / 1_000} s (${reasonOf(cause)})` });
    found(signal.aborted ? { ...problem(of, late), silent: true } : problem(of, TailraceError.from(cause)));
  }
}

function problem(of: string, error: TailraceError): Finding {
  return { of, kind: "problem", message: error.message, code: error.code, fix: error.remedy, silent: SILENT.test(error.code) };
}

function render({ of, kind, message, code, fix }: Finding): string {
  const mark = kind === "problem" ? paint("FAIL", 31) : kind === "ok" ? paint("ok  ", 32) : "note";
  return `${mark} ${of}: ${message}${code === undefined ? "" : ` [${code}]`}\n${fix === undefined ? "" : `     fix: ${fix}\n`}`;
}

function paint(text: string, colour: number): string {
  return takesColours(process.stdout) ? `\x1b[${colour}m${text}\x1b[0m` : text;
}
