#!/usr/bin/env node
// The command line: parses, calls, exits. 0 good, 1 failed, 2 configuration or usage, 3 differences found.
// A command and its libraries are loaded when they are needed: --help and bad input answer without them.
import { parseArgs } from "node:util";
import { exitCodes, reportFailure, usageError } from "./commands/report.ts";
import { armFailpoint } from "./core/failpoint.ts";
import { version } from "./core/version.ts";
import type { LoadedConfig } from "./config/config.ts";

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
    case "run": {
      // From the first moment on: as PID 1 of a container the process would not even notice a signal that nobody listens for.
      const asked = stopSignal();
      const config = await load(directory(rest, {}).directory);
      const { runRun } = await import("./commands/run.ts");
      return runRun(config, asked);
    }
    case "check": {
      const { directory: dir, json } = directory(rest, { json: { type: "boolean" } });
      const config = await load(dir);
      const { runCheck } = await import("./commands/check.ts");
      return runCheck(config, json);
    }
    case "status": {
      const { directory: dir, json } = directory(rest, { json: { type: "boolean" } });
      const config = await load(dir);
      const { runStatus } = await import("./commands/status.ts");
      return runStatus(dir, config, json);
    }
    case "quickstart": {
      const { runQuickstart } = await import("./commands/quickstart.ts");
      return runQuickstart(rest);
    }
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

async function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
}

/** Throws ConfigError. */
async function load(dir: string): Promise<LoadedConfig> {
  const { loadConfig } = await import("./config/load.ts");
  return loadConfig(dir, process.env);
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
