// `tailrace quickstart`: a sample shop in an embedded PostgreSQL, captured live into a DuckDB file. Speaks on stderr; stdout
// is for the one line that --json asks for.
import { constants } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { parseDuration } from "../config/duration.ts";
import { reasonOf } from "../core/errors.ts";
import { pause } from "../core/pause.ts";
import { files } from "../quickstart/config.ts";
import { count, Progress } from "../quickstart/progress.ts";
import { prove, type Proof } from "../quickstart/proof.ts";
import { failure, Showcase } from "../quickstart/showcase.ts";
import { exitCodes, usageError } from "./report.ts";

type Options = {
  readonly dir: string;
  /** How long the load runs, and as it was written; null: until a signal. */
  readonly exitAfter: { readonly ms: number; readonly text: string } | null;
  readonly json: boolean;
};

const DEFAULT_DIR = path.join(".tailrace", "quickstart");
/** The longest time that one timer of Node.js takes, ms: 24 days and some hours. */
const LONGEST_MS = 2 ** 31 - 1;
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
  await using showcase = await Showcase.start({ dir: options.dir, progress }, asked);
  introduce(options, showcase, progress);
  await showcase.open(asked);
  await pause(options.exitAfter?.ms ?? LONGEST_MS, asked);
  if (asked.aborted || options.exitAfter === null) {
    await showcase.stop();
    return stopped(options, progress);
  }
  await showcase.drain(asked);
  await showcase.stopService();
  progress.note("comparing every table with its copy, value by value …");
  const proof = await prove(showcase.config, showcase.server.url, asked);
  await showcase.stop();
  if (proof.unmerged > 0) throw failure(`${proof.unmerged} records in the log were not merged`);
  return report(options, progress, showcase, proof);
}

function parseOptions(args: readonly string[]): Options {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: { dir: { type: "string" }, "exit-after": { type: "string" }, json: { type: "boolean" }, url: { type: "string" } },
    });
  } catch (cause) {
    throw usageError(cause instanceof Error ? cause.message : String(cause));
  }
  const { dir = DEFAULT_DIR, "exit-after": exitAfter, json = false, url } = parsed.values;
  if (url !== undefined) throw usageError("--url is not in this version: the quickstart brings a database of its own");
  if (dir === "") throw usageError("--dir names no folder");
  if (json && exitAfter === undefined)
    throw usageError("--json prints the result of a comparison: it needs --exit-after, as in --exit-after 20s");
  if (exitAfter === undefined) return { dir, exitAfter: null, json };
  const ms = parseDuration(exitAfter);
  if (ms === null) throw usageError(`--exit-after is a duration such as 20s or 5m, not ${exitAfter}`);
  if (ms > LONGEST_MS) throw usageError(`--exit-after is at most 24d, not ${exitAfter}`);
  return { dir, exitAfter: { ms, text: exitAfter }, json };
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

function introduce({ dir, exitAfter }: Options, { httpAddress }: Showcase, progress: Progress): void {
  const file = path.join(dir, files.duckdb);
  const fileOption = dir === DEFAULT_DIR ? "" : ` --file ${file}`;
  progress.note(
    [
      "",
      "  A shop in PostgreSQL, its changes captured live into a DuckDB file.",
      "",
      `  copy      ${file}   (tables public.customers, products, orders, order_items, payments)`,
      `  ask it    npm run --silent query --${fileOption} "${QUERY}"`,
      `  metrics   ${httpAddress}/metrics`,
      `  lag       curl -s ${httpAddress}/metrics | grep -E '^tailrace_(source_lag_bytes|sink_lag_records|end_to_end)'`,
      `  status    ${httpAddress}/api/status`,
      `  settings  ${path.join(dir, files.configuration)}`,
      `  messages  ${path.join(dir, files.messages)}`,
      "",
      exitAfter === null
        ? "  Ctrl-C stops it; the same command goes on from there. Deleting the folder begins anew."
        : `  Stops by itself after ${exitAfter.text}, and compares the copy with the shop.`,
      "",
    ].join("\n"),
  );
}

function stopped({ exitAfter }: Options, progress: Progress): number {
  if (exitAfter === null) progress.note("stopped; the same command goes on from here");
  else progress.note("stopped before the comparison");
  return exitAfter === null ? exitCodes.good : exitCodes.failed;
}

function report({ json }: Options, progress: Progress, { endToEnd }: Showcase, proof: Proof): number {
  const { scan, comparison, merged, deadLetters } = proof;
  for (const { table, rows, differences } of comparison.tables) {
    progress.note(`  ${table.padEnd(20)} ${count(rows).padStart(8)} rows, ${count(differences)} differ`);
  }
  for (const { table, key, column, source, copy } of comparison.first) {
    progress.note(`  ${table} ${key}${column === null ? "" : ` ${column}`}: ${shown(source)} in the shop, ${shown(copy)} in the copy`);
  }
  if (scan.backwards > 0) progress.note(`  ${scan.backwards} sequences in the log are lower than one before them`);
  const times = { p50: endToEnd.percentile(0.5), p99: endToEnd.percentile(0.99) };
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
