// `tailrace run DIR`: the service, until it is told to stop.
import type { LoadedConfig } from "../config/config.ts";
import { Service, STOP_MS } from "../service.ts";
import { logLevelOf, openLog } from "../telemetry/log.ts";
import { exitCodes } from "./report.ts";

/** `asked`: the signal to stop. Resolves with the exit code after the stop. Throws what Service.start throws. */
export async function runRun(config: LoadedConfig, asked: Promise<NodeJS.Signals>): Promise<number> {
  const logger = openLog({ level: logLevelOf(process.env) });
  const service = await Service.start(config, { logger });
  logger.info({ http: service.httpAddress, sources: config.sources.length, sinks: config.sinks.length }, "running");
  const signal = await asked;
  logger.info({ signal }, `stopping: flush, acknowledge, release the slots; forced after ${STOP_MS / 1_000} s, or by a second signal`);
  process.once("SIGINT", () => process.exit(exitCodes.failed));
  process.once("SIGTERM", () => process.exit(exitCodes.failed));
  // The last resort, should a library hold the stop up for longer than it may.
  setTimeout(() => process.exit(exitCodes.failed), STOP_MS).unref();
  await service.stop();
  logger.info({}, "stopped");
  return exitCodes.good;
}
