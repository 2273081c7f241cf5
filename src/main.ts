#!/usr/bin/env node
// The command line: parses, calls, exits. 0 good, 1 failed, 2 configuration or usage, 3 differences found.
// A command and its libraries are loaded when they are needed: --help and bad input answer without them.
import { parseArguments } from "./commands/arguments.ts";
import { exitCodes, reportFailure, usageError } from "./commands/report.ts";
import { armFailpoint } from "./core/failpoint.ts";
import { version } from "./core/version.ts";
import type { Signals } from "./commands/run.ts";
import type { LoadedConfig } from "./config/config.ts";

const USAGE = `tailrace ${version}: PostgreSQL changes to Kafka (or an embedded log), merged into warehouse tables

usage: tailrace <command> [options]

  run DIR                run the connectors of the YAML files in DIR until SIGTERM or SIGINT; SIGHUP reads the files again
  check DIR [--json]     look at every database, broker, registry and warehouse without writing; each finding with its fix
  plan DIR [--source NAME] [--assume SQL] [--json]
                         what the next start would register and do to each target, or would after an ALTER TABLE; writes nothing
  status DIR [--watch] [--json]
                         what the service that runs DIR is doing; --watch draws it again every second

of a service that runs DIR:
  snapshot DIR SOURCE TABLE [--where SQL] [--json]
                         read the rows that the table has now, while the source streams; TABLE may be a pattern
  pause DIR CONNECTOR [TABLE] [--json]
  resume DIR CONNECTOR [TABLE] [--json]
                         hold a connector, or one table of it, until it is resumed; a restart resumes nothing
  unpark DIR SOURCE TABLE [--json]
                         put the events of a parked table back into its topic, and go on there
  reload DIR [--json]    read the YAML files again; connectors that are the same are not touched

  dlq list DIR CONNECTOR [--json]
  dlq show DIR CONNECTOR LETTER [--json]
                         the dead letters of a source or sink, and one whole; needs no running service
  drop DIR CONNECTOR [--yes] [--json]
                         drop a source's slot, publication and state, or a sink's checkpoints; asks first
  quickstart [--dir DIR] [--exit-after 20s] [--json]
                         a sample shop in an embedded PostgreSQL, captured live into a DuckDB file
  quickstart --url URL [--tables PATTERN]… [--dir DIR] [--exit-after 20s] [--json]
                         a database of yours instead, by a temporary slot; nothing stays in it

  --help, --version

exit codes: 0 good · 1 failed · 2 configuration or usage · 3 check, plan or a comparison found differences
`;

/** Runs one command and gives its exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case "run": {
      // From the first moment on: as PID 1 of a container the process would not even notice a signal that nobody listens for.
      const signals = listen();
      const [dir = ""] = parseArguments("run DIR", rest, {}).places;
      const config = await load(dir);
      const { runRun } = await import("./commands/run.ts");
      return runRun(dir, config, signals);
    }
    case "check": {
      const { places, options } = parseArguments("check DIR [--json]", rest, { json: "boolean" });
      const config = await load(places[0] ?? "");
      const { runCheck } = await import("./commands/check.ts");
      return runCheck(config, options.json);
    }
    case "plan": {
      const usage = "plan DIR [--source NAME] [--assume SQL] [--json]";
      const { places, options } = parseArguments(usage, rest, { source: "string", assume: "string", json: "boolean" });
      const config = await load(places[0] ?? "");
      const { runPlan } = await import("./commands/plan.ts");
      return runPlan(config, options);
    }
    case "status": {
      const { places, options } = parseArguments("status DIR [--watch] [--json]", rest, { watch: "boolean", json: "boolean" });
      const [dir = ""] = places;
      const { runStatus } = await import("./commands/status.ts");
      return runStatus(dir, async () => load(dir), options);
    }
    case "snapshot": {
      const usage = "snapshot DIR SOURCE TABLE [--where SQL] [--json]";
      const { places, options } = parseArguments(usage, rest, { where: "string", json: "boolean" });
      const [dir = "", source = "", table = ""] = places;
      const { runSnapshot } = await import("./commands/operate.ts");
      return runSnapshot({ dir, source, table, where: options.where }, options.json);
    }
    case "pause":
    case "resume": {
      const { places, options } = parseArguments(`${command} DIR CONNECTOR [TABLE] [--json]`, rest, { json: "boolean" });
      const [dir = "", connector = "", table = ""] = places;
      const { runPauseOrResume } = await import("./commands/operate.ts");
      return runPauseOrResume(command, { dir, connector, table }, options.json);
    }
    case "unpark": {
      const { places, options } = parseArguments("unpark DIR SOURCE TABLE [--json]", rest, { json: "boolean" });
      const [dir = "", source = "", table = ""] = places;
      const { runUnpark } = await import("./commands/operate.ts");
      return runUnpark({ dir, source, table }, options.json);
    }
    case "reload": {
      const { places, options } = parseArguments("reload DIR [--json]", rest, { json: "boolean" });
      const { runReload } = await import("./commands/operate.ts");
      return runReload(places[0] ?? "", options.json);
    }
    case "dlq": {
      const [which = "", ...words] = rest;
      if (which !== "list" && which !== "show") throw usageError(`dlq ${which}: there is dlq list and dlq show`);
      const usage = which === "list" ? "dlq list DIR CONNECTOR [--json]" : "dlq show DIR CONNECTOR LETTER [--json]";
      const { places, options } = parseArguments(usage, words, { json: "boolean" });
      const [dir = "", connector = "", id = ""] = places;
      const config = await load(dir);
      const { runDlqList, runDlqShow } = await import("./commands/dlq.ts");
      return which === "list"
        ? runDlqList({ dir, connector }, config, options.json)
        : runDlqShow({ dir, connector, id }, config, options.json);
    }
    case "drop": {
      const { places, options } = parseArguments("drop DIR CONNECTOR [--yes] [--json]", rest, { yes: "boolean", json: "boolean" });
      const [dir = "", connector = ""] = places;
      const config = await load(dir);
      const { runDrop } = await import("./commands/drop.ts");
      return runDrop({ dir, connector, ...options }, config);
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
      throw usageError(
        `unknown command ${command} (run, check, plan, status, snapshot, pause, resume, unpark, reload, dlq, drop, quickstart)`,
      );
  }
}

function listen(): Signals {
  const stop = new Promise<NodeJS.Signals>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  let early = false;
  let act = (): void => void (early = true);
  process.on("SIGHUP", () => act());
  return {
    stop,
    onHangup: (given) => {
      act = given;
      if (early) act();
    },
  };
}

/** Throws ConfigError. */
async function load(dir: string): Promise<LoadedConfig> {
  const { loadConfig } = await import("./config/load.ts");
  return loadConfig(dir, process.env);
}

const { TAILRACE_FAILPOINT: failpoint } = process.env;

try {
  if (failpoint !== undefined) armFailpoint(failpoint);
  process.exitCode = await main(process.argv.slice(2));
} catch (cause) {
  process.exitCode = reportFailure(cause);
}
