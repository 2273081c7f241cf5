// DuckDB as a warehouse. Its library takes 0.15 s to load, which comes with the first session and not with the service's start.
import type { Warehouse } from "../../core/warehouse.ts";
import { everyNth, RUNS_BETWEEN_PRUNINGS } from "../state-rows.ts";
import type { DuckdbOptions, Engine } from "./file.ts";

/**
 * A DuckDB file as a warehouse. Nothing is held until open(); a session holds the file alone, against other processes
 * and other sinks of this one, until it is disposed of.
 */
export function openDuckdb(options: DuckdbOptions): Warehouse {
  const address = `duckdb ${options.path}`;
  let engine: Engine | null = null;
  const isPruning = everyNth(RUNS_BETWEEN_PRUNINGS);
  return {
    address,
    open: async (signal) => {
      const [{ DuckdbSession }, { Engine, openFile }] = await Promise.all([import("./session.ts"), import("./file.ts")]);
      engine ??= new Engine(options);
      return new DuckdbSession(await openFile(options, signal, engine), address, isPruning);
    },
    inspect: async (targets, signal) => (await import("./inspection.ts")).inspectFile(options, targets, signal),
    plan: async (targets, signal) => (await import("./inspection.ts")).planFile(options, targets, signal),
    [Symbol.asyncDispose]: async () => engine?.close(),
  };
}
