// `tailrace quickstart`: a sample shop in an embedded PostgreSQL, captured live into a DuckDB file. Speaks on stderr; stdout
// is for the one line that --json asks for.
import path from "node:path";
import { parseArgs } from "node:util";
import { parseDuration } from "../config/duration.ts";
import { pause } from "../core/pause.ts";
import { files } from "../quickstart/config.ts";
import { Progress } from "../quickstart/progress.ts";
import { prove, type Proof } from "../quickstart/proof.ts";
import { failure, Showcase } from "../quickstart/showcase.ts";
import { exitCodes, usageError } from "./report.ts";

type Options = {
  readonly dir: string;
  /** ms; null: until a signal. */
  readonly exitAfterMs: number | null;
  readonly json: boolean;
};

const DEFAULT_DIR = path.join(".tailrace", "quickstart");
/** From a signal to the end of the process, ms. */
const STOP_MS = 10_000;
const QUERY = "SELECT status, count(*) AS orders, sum(total) AS total FROM public.orders GROUP BY status ORDER BY status";

/** Resolves with the exit code. Throws USAGE, and QUICKSTART_FAILED or what else went wrong. */
export async function runQuickstart(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
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
  await pause(options.exitAfterMs ?? 2 ** 31 - 1, asked);
  if (asked.aborted || options.exitAfterMs === null) {
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
  const exitAfterMs = exitAfter === undefined ? null : parseDuration(exitAfter);
  if (exitAfter !== undefined && exitAfterMs === null) throw usageError(`--exit-after is a duration such as 20s or 5m, not ${exitAfter}`);
  if (json && exitAfter === undefined)
    throw usageError("--json prints the result of a comparison: it needs --exit-after, as in --exit-after 20s");
  return { dir, exitAfterMs, json };
}

/** Aborts on the first signal. A second one, or ten seconds, end the process at once; the database follows by itself. */
function stopSignal(progress: Progress): AbortSignal {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(exitCodes.failed);
    progress.note(`${signal}: stopping …`);
    controller.abort();
    setTimeout(() => process.exit(exitCodes.failed), STOP_MS - 200).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  return controller.signal;
}

function introduce({ dir, exitAfterMs }: Options, { httpAddress }: Showcase, progress: Progress): void {
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
      exitAfterMs === null
        ? "  Ctrl-C stops it; the same command goes on from there. Deleting the folder begins anew."
        : `  Stops by itself after ${exitAfterMs / 1_000} s.`,
      "",
    ].join("\n"),
  );
}

function stopped({ exitAfterMs }: Options, progress: Progress): number {
  if (exitAfterMs === null) progress.note("stopped; the same command goes on from here");
  else progress.note("stopped before the comparison");
  return exitAfterMs === null ? exitCodes.good : exitCodes.failed;
}

function report({ json }: Options, progress: Progress, { endToEnd }: Showcase, proof: Proof): number {
  const { scan, comparison, merged, deadLetters } = proof;
  for (const { table, rows, differences } of comparison.tables) {
    progress.note(`  ${table.padEnd(20)} ${rows.toLocaleString("en-US").padStart(8)} rows, ${differences} differ`);
  }
  for (const { table, key, column, source, copy } of comparison.first) {
    progress.note(`  ${table} ${key}${column === null ? "" : ` ${column}`}: ${shown(source)} in the shop, ${shown(copy)} in the copy`);
  }
  if (scan.backwards > 0) progress.note(`  ${scan.backwards} sequences in the log are lower than one before them`);
  const times = { p50: endToEnd.percentile(0.5), p99: endToEnd.percentile(0.99) };
  progress.note(
    `${scan.events} events, ${merged} rows merged, ${deadLetters} dead letters, ${scan.duplicates} duplicates, ${comparison.differences} differences`,
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
