// `tailrace status DIR`: asks the running service by its HTTP address.
import type { LoadedConfig } from "../config/config.ts";
import { reasonOf } from "../core/errors.ts";
import type { ServiceStatus, SinkStatus, SourceStatus } from "../service.ts";
import { exitCodes } from "./report.ts";

const ANSWER_MS = 5_000;

/** Prints what each connector of the service that runs `dir` does. Exit code 1 when it does not answer or a connector is not running. */
export async function runStatus(dir: string, config: LoadedConfig, json: boolean): Promise<number> {
  const { host, port } = config.service.http.listen;
  const address = `http://${host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host}:${port}`;
  const status = await ask(address);
  if (typeof status === "string") {
    process.stderr.write(`no service answers at ${address}: ${status}\nfix: start it with: tailrace run ${dir}\n`);
    return exitCodes.failed;
  }
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : render(status));
  return [...status.sources, ...status.sinks].every(({ state }) => state === "running") ? exitCodes.good : exitCodes.failed;
}

async function ask(address: string): Promise<ServiceStatus | string> {
  try {
    const answer = await fetch(`${address}/api/status`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return answer.ok ? ((await answer.json()) as ServiceStatus) : `HTTP ${answer.status}`;
  } catch (cause) {
    return reasonOf(cause instanceof Error && cause.cause !== undefined ? cause.cause : cause);
  }
}

function render({ version, sources, sinks }: ServiceStatus): string {
  return [`tailrace ${version}`, ...sources.flatMap(renderSource), ...sinks.flatMap(renderSink), ""].join("\n");
}

function renderSource(source: SourceStatus): readonly string[] {
  const bytes = (value: number | null): string => (value === null ? "?" : `${(value / 1024 / 1024).toFixed(1)} MiB`);
  return [
    `source ${source.name}: ${source.state} (${source.phase})`,
    `  acknowledged ${source.ackLsn} · ${source.publishedEvents} events since start · lag ${bytes(source.lagBytes)} · WAL kept ${bytes(source.retainedWalBytes)} · ${source.deadLetters} dead letters · ${source.restarts} restarts`,
    ...renderError(source.error),
  ];
}

function renderSink(sink: SinkStatus): readonly string[] {
  return [
    `sink ${sink.name} ← ${sink.source}: ${sink.state} (${sink.phase}) → ${sink.warehouse}`,
    `  ${sink.mergedEvents} events, ${sink.mergedRows} rows merged since start · ${sink.lagRecords ?? "?"} records behind · ${sink.openDeadLetters} open dead letters · ${sink.restarts} restarts`,
    ...renderError(sink.error),
  ];
}

function renderError(error: Record<string, unknown> | null): readonly string[] {
  return error === null ? [] : [`  ${String(error.code)}: ${String(error.message)}`, `  fix: ${String(error.remedy)}`];
}
