// `tailrace run DIR`: the service, until it is told to stop. SIGHUP has it read its configuration again.
import type { LoadedConfig } from "../config/config.ts";
import { dataFolder } from "../config/data-folder.ts";
import { loadConfig } from "../config/load.ts";
import { TailraceError } from "../core/errors.ts";
import { Service, STOP_MS } from "../service.ts";
import { logLevelOf, openLog } from "../telemetry/log.ts";
import { exitCodes } from "./report.ts";

/** What the process was told by signals, from its first moment on. */
export type Signals = {
  /** The signal to stop. */
  readonly stop: Promise<NodeJS.Signals>;
  /** Calls `act` at each SIGHUP, and at once when one has come already. */
  readonly onHangup: (act: () => void) => void;
};

/** Resolves with the exit code after the stop. Throws what Service.start throws. */
export async function runRun(dir: string, config: LoadedConfig, signals: Signals): Promise<number> {
  const logger = openLog({ level: logLevelOf(process.env) });
  const control = { dataFolder: dataFolder({ dir: config.dir, env: process.env }), reload: async () => loadConfig(dir, process.env) };
  const service = await Service.start(config, { logger, control });
  logger.info({ http: service.httpAddress, sources: config.sources.length, sinks: config.sinks.length }, "running");
  signals.onHangup(() => {
    service.reload().catch((cause: unknown) => {
      const error = TailraceError.from(cause);
      logger.error({ error }, `the configuration is not taken up: ${error.message}`);
    });
  });
  const signal = await signals.stop;
  logger.info({ signal }, `stopping: flush, acknowledge, release the slots; forced after ${STOP_MS / 1_000} s, or by a second signal`);
  process.once("SIGINT", () => process.exit(exitCodes.failed));
  process.once("SIGTERM", () => process.exit(exitCodes.failed));
  // The last resort, should a library hold the stop up for longer than it may.
  setTimeout(() => process.exit(exitCodes.failed), STOP_MS).unref();
  await service.stop();
  logger.info({}, "stopped");
  return exitCodes.good;
}
