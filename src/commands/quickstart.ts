// `tailrace quickstart`: a sample shop in an embedded PostgreSQL, or a database of the reader's, captured live into a DuckDB
// file. Speaks on stderr; stdout is for the one line that --json asks for.
import { constants } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { isPostgresUrl } from "../config/address.ts";
import { parseDuration } from "../config/duration.ts";
import { parseTablePattern } from "../config/table-pattern.ts";
import { reasonOf } from "../core/errors.ts";
import { pause } from "../core/pause.ts";
import { tableLabel } from "../core/table.ts";
import { files, URL_VARIABLE } from "../quickstart/config.ts";
import { failure } from "../quickstart/live-copy.ts";
import { OwnDatabase } from "../quickstart/own-database.ts";
import { count, Progress } from "../quickstart/progress.ts";
import { prove, type Proof } from "../quickstart/proof.ts";
import { Showcase } from "../quickstart/showcase.ts";
import { redactText } from "../telemetry/redaction.ts";
import { exitCodes, usageError } from "./report.ts";

type Options = {
  readonly dir: string;
  /** A database of the reader's, and patterns of its tables; null: the sample shop. */
  readonly own: { readonly url: string; readonly patterns: readonly string[] } | null;
  /** How long the load runs, and as it was written; null: until a signal. */
  readonly exitAfter: { readonly ms: number; readonly text: string } | null;
  readonly json: boolean;
};

const DEFAULT_DIR = path.join(".tailrace", "quickstart");
/** Of a database of the reader's: neither copy is to be taken for the other. */
const DEFAULT_OWN_DIR = path.join(".tailrace", "quickstart-own");
const DEFAULT_PATTERN = "public.*";
/** The longest time that one timer of Node.js takes, ms: 24 days and some hours. */
const LONGEST_MS = 2 ** 31 - 1;
/** Names that are shown of many tables. */
const MAX_NAMES = 8;
/** From a signal to the end of the process, ms. */
const STOP_MS = 10_000;
const QUERY = "SELECT status, count(*) AS orders, sum(total) AS total FROM public.orders GROUP BY status ORDER BY status";

/** Resolves with the exit code. Throws USAGE, and QUICKSTART_FAILED or what else went wrong. */
export async function runQuickstart(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  await makeFolder(options.dir);
  const progress = new Progress(process.stderr, process.env);
  const asked = stopSignal(progress);
  try {
    return await run(options, progress, asked);
  } catch (cause) {
    if (!asked.aborted) throw cause;
    return stopped(options, progress);
  }
}

async function run(options: Options, progress: Progress, asked: AbortSignal): Promise<number> {
  const { dir, own, exitAfter } = options;
  await using stage: Stage =
    own === null ? await Showcase.start({ dir, progress }, asked) : await OwnDatabase.start({ dir, progress, ...own }, asked);
  introduce(options, stage, progress);
  stage.copy.show();
  await pause(exitAfter?.ms ?? LONGEST_MS, asked);
  if (asked.aborted || exitAfter === null) {
    await stage.stop();
    return stopped(options, progress);
  }
  await stage.drain(asked);
  await stage.stopService();
  progress.note("comparing every table with its copy, value by value …");
  const proof = await prove(stage.copy.config, stage.url, stage.tables, asked);
  const isDoubtful = stage instanceof OwnDatabase && (await stage.isWritten(asked));
  await stage.stop();
  if (proof.unmerged > 0 && !isDoubtful) throw failure(`${proof.unmerged} records in the log were not merged`);
  return report(options, progress, stage, proof, isDoubtful);
}

type Stage = Showcase | OwnDatabase;

function parseOptions(args: readonly string[]): Options {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        dir: { type: "string" },
        "exit-after": { type: "string" },
        json: { type: "boolean" },
        url: { type: "string" },
        tables: { type: "string", multiple: true },
      },
    });
  } catch (cause) {
    throw usageError(redactText(cause instanceof Error ? cause.message : String(cause)));
  }
  const { dir: given, "exit-after": exitAfter, json = false, url, tables } = parsed.values;
  const own = parseOwn(url, tables);
  const dir = given ?? (own === null ? DEFAULT_DIR : DEFAULT_OWN_DIR);
  if (dir === "") throw usageError("--dir names no folder");
  if (json && exitAfter === undefined)
    throw usageError("--json prints the result of a comparison: it needs --exit-after, as in --exit-after 20s");
  if (exitAfter === undefined) return { dir, own, exitAfter: null, json };
  const ms = parseDuration(exitAfter);
  if (ms === null) throw usageError(`--exit-after is a duration such as 20s or 5m, not ${exitAfter}`);
  if (ms > LONGEST_MS) throw usageError(`--exit-after is at most 24d, not ${exitAfter}`);
  return { dir, own, exitAfter: { ms, text: exitAfter }, json };
}

/** Nothing of the URL may stand in a message. */
function parseOwn(option: string | undefined, patterns: readonly string[] = []): Options["own"] {
  const variable = process.env[URL_VARIABLE];
  const url = option ?? (variable === "" ? undefined : variable);
  if (url === undefined) {
    if (patterns.length > 0) throw usageError(`--tables chooses tables of a database of yours: it needs --url or ${URL_VARIABLE}`);
    return null;
  }
  const from = option === undefined ? URL_VARIABLE : "--url";
  if (!isPostgresUrl(url))
    throw usageError(
      `${from} is no URL postgres://user:password@host:5432/database, with special characters of the password percent-encoded`,
    );
  for (const pattern of patterns) {
    const parsed = parseTablePattern(pattern);
    if ("problem" in parsed) throw usageError(`--tables ${pattern}: ${parsed.problem}`);
  }
  return { url, patterns: patterns.length === 0 ? [DEFAULT_PATTERN] : patterns };
}

/** Throws USAGE. */
async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    await access(dir, constants.W_OK);
  } catch (cause) {
    throw usageError(`--dir ${dir} is no folder that can be made and written to: ${reasonOf(cause)}`);
  }
}

/** Aborts on the first signal. A second one, or ten seconds, end the process at once; the database follows by itself. */
function stopSignal(progress: Progress): AbortSignal {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(exitCodes.failed);
    progress.note("stopping …");
    controller.abort();
    setTimeout(() => process.exit(exitCodes.failed), STOP_MS - 200).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  return controller.signal;
}

function introduce({ dir, own, exitAfter }: Options, { copy, tables }: Stage, progress: Progress): void {
  const file = path.join(dir, own === null ? files.duckdb : files.copy);
  const fileOption = dir === DEFAULT_DIR && own === null ? "" : ` --file ${file}`;
  const { httpAddress } = copy;
  const shown = tables.slice(0, MAX_NAMES).map(tableLabel).join(", ");
  const query = own === null ? QUERY : "SELECT table_schema, table_name FROM information_schema.tables";
  progress.note(
    [
      "",
      `  ${own === null ? "A shop in PostgreSQL" : "Your database"}, its changes captured live into a DuckDB file.`,
      "",
      `  copy      ${file}   (${tables.length > MAX_NAMES ? `${shown} and ${tables.length - MAX_NAMES} more tables` : `tables ${shown}`})`,
      `  ask it    npm run --silent query --${fileOption} "${query}"`,
      `  metrics   ${httpAddress}/metrics`,
      `  lag       curl -s ${httpAddress}/metrics | grep -E '^tailrace_(source_lag_bytes|sink_lag_records|end_to_end)'`,
      `  status    ${httpAddress}/api/status`,
      `  settings  ${path.join(dir, files.configuration)}`,
      `  messages  ${path.join(dir, files.messages)}`,
      "",
      exitAfter === null
        ? own === null
          ? "  Ctrl-C stops it; the same command goes on from there. Deleting the folder begins anew."
          : "  Ctrl-C stops it, and takes publication and slot away. The same command reads every table again, into the same file."
        : `  Stops by itself after ${exitAfter.text}, and compares the copy with the ${own === null ? "shop" : "tables"}.`,
      "",
    ].join("\n"),
  );
}

function stopped({ own, exitAfter }: Options, progress: Progress): number {
  if (exitAfter !== null) progress.note("stopped before the comparison");
  else progress.note(own === null ? "stopped; the same command goes on from here" : "stopped; the same command reads every table again");
  return exitAfter === null ? exitCodes.good : exitCodes.failed;
}

/** `isDoubtful`: somebody else writes, and rows that changed meanwhile count as differences. */
function report({ json }: Options, progress: Progress, { copy }: Stage, proof: Proof, isDoubtful: boolean): number {
  const { scan, comparison, merged, deadLetters } = proof;
  for (const { table, rows, differences } of comparison.tables) {
    progress.note(`  ${table.padEnd(20)} ${count(rows).padStart(8)} rows, ${count(differences)} differ`);
  }
  for (const { table, key, column, source, copy: copied } of comparison.first) {
    progress.note(`  ${table} ${key}${column === null ? "" : ` ${column}`}: ${shown(source)} at the source, ${shown(copied)} in the copy`);
  }
  if (scan.backwards > 0) progress.note(`  ${scan.backwards} sequences in the log are lower than one before them`);
  if (isDoubtful && comparison.differences > 0)
    progress.note("  somebody wrote to the database cluster meanwhile: rows that changed since the copy was stopped count as differences");
  const times = { p50: copy.endToEnd.percentile(0.5), p99: copy.endToEnd.percentile(0.99) };
  progress.note(
    `${count(scan.events)} events, ${count(merged)} rows merged, ${count(deadLetters)} dead letters, ` +
      `${count(scan.duplicates)} duplicates, ${count(comparison.differences)} differences`,
    true,
  );
  const result = {
    events: scan.events,
    merged,
    dead_letters: deadLetters,
    duplicates: scan.duplicates,
    differences: comparison.differences,
    end_to_end_ms: times,
  };
  if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
  return scan.duplicates > 0 || comparison.differences > 0 ? exitCodes.differences : exitCodes.good;
}

function shown(value: string | null): string {
  if (value === null) return "nothing";
  return value.length > 60 ? `${value.slice(0, 57)}…` : value;
}
