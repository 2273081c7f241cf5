#!/usr/bin/env node
// The command line: parses, calls, exits. 0 good, 1 failed, 2 configuration or usage, 3 differences found.
import { parseArgs } from "node:util";
import { runCheck } from "./commands/check.ts";
import { runQuickstart } from "./commands/quickstart.ts";
import { runRun } from "./commands/run.ts";
import { runStatus } from "./commands/status.ts";
import { exitCodes, reportFailure, usageError } from "./commands/report.ts";
import { armFailpoint } from "./core/failpoint.ts";
import { version } from "./core/version.ts";

const USAGE = `tailrace ${version}: PostgreSQL changes to Kafka (or an embedded log), merged into warehouse tables

usage: tailrace <command> [options]

  run DIR                run the connectors of the YAML files in DIR until SIGTERM or SIGINT
  check DIR [--json]     look at every database, broker, registry and warehouse without writing; each finding with its fix
  status DIR [--json]    what the service that runs DIR is doing
  quickstart [--dir DIR] [--exit-after 20s] [--json]
                         a sample shop in an embedded PostgreSQL, captured live into a DuckDB file

  --help, --version

exit codes: 0 good · 1 failed · 2 configuration or usage · 3 check or a comparison found differences
`;

/** Runs one command and gives its exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case "run":
      return runRun(directory(rest, {}).directory);
    case "check": {
      const { directory: dir, json } = directory(rest, { json: { type: "boolean" } });
      return runCheck(dir, json);
    }
    case "status": {
      const { directory: dir, json } = directory(rest, { json: { type: "boolean" } });
      return runStatus(dir, json);
    }
    case "quickstart":
      return runQuickstart(rest);
    case "--version":
    case "-v":
      process.stdout.write(`${version}\n`);
      return exitCodes.good;
    case "--help":
    case "-h":
    case "help":
      process.stdout.write(USAGE);
      return exitCodes.good;
    case undefined:
      process.stderr.write(USAGE);
      return exitCodes.config;
    default:
      throw usageError(`unknown command ${command} (run, check, status, quickstart)`);
  }
}

function directory(
  args: readonly string[],
  options: { readonly json?: { readonly type: "boolean" } },
): { directory: string; json: boolean } {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (cause) {
    throw usageError(cause instanceof Error ? cause.message : String(cause));
  }
  const [dir, ...more] = parsed.positionals;
  if (dir === undefined) throw usageError("which folder? Name the one with the YAML files, as in: tailrace run connectors/embedded-duckdb");
  if (more.length > 0) throw usageError(`one folder at a time, not also ${more.join(" ")}`);
  return { directory: dir, json: parsed.values.json === true };
}

const { TAILRACE_FAILPOINT: failpoint } = process.env;

try {
  if (failpoint !== undefined) armFailpoint(failpoint);
  process.exitCode = await main(process.argv.slice(2));
} catch (cause) {
  process.exitCode = reportFailure(cause);
}
