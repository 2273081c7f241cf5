// `tailrace status DIR`: asks the running service by its control socket, and by its HTTP address where there is none.
import type { LoadedConfig } from "../config/config.ts";
import { TailraceError, reasonOf } from "../core/errors.ts";
import { pause } from "../core/pause.ts";
import type { ServiceStatus } from "../service/status.ts";
import { exitCodes, usageError } from "./report.ts";
import { askService, LOOK_MS } from "./service-client.ts";
import { statusLines } from "./status-text.ts";

export type StatusOptions = { readonly json: boolean; /** Again every second, until a signal. */ readonly watch: boolean };

const WATCH_MS = 1_000;

/**
 * Prints what each connector of the service that runs `dir` does. Exit code 1 when it does not answer or a connector is not
 * running. `load`: reads the configuration, which only the HTTP address is needed of. Throws USAGE, and what `load` throws.
 */
export async function runStatus(dir: string, load: () => Promise<LoadedConfig>, { json, watch }: StatusOptions): Promise<number> {
  if (watch && (json || !process.stdout.isTTY)) throw usageError("--watch draws on a terminal, and has no --json");
  if (watch) return watchStatus(dir, load);
  const status = await ask(dir, load);
  if (typeof status === "string") {
    process.stderr.write(status);
    return exitCodes.failed;
  }
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : `${statusLines(status).join("\n")}\n`);
  return [...status.sources, ...status.sinks].every(({ state }) => state === "running") ? exitCodes.good : exitCodes.failed;
}

/** The status, or what to tell a person who gets none. */
async function ask(dir: string, load: () => Promise<LoadedConfig>): Promise<ServiceStatus | string> {
  try {
    const answer = await askService<ServiceStatus>(dir, "/status", null);
    return "value" in answer ? answer.value : `${answer.refusal.message}\n`;
  } catch (cause) {
    if (!(cause instanceof TailraceError) || cause.code !== "SERVICE_ABSENT") throw cause;
    const { host, port } = (await load()).service.http.listen;
    const address = `http://${host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host}:${port}`;
    const status = await askHttp(address);
    if (typeof status !== "string") return status;
    return `no service answers at ${address}: ${status}\nfix: start it with: tailrace run ${dir}\n`;
  }
}

async function askHttp(address: string): Promise<ServiceStatus | string> {
  try {
    const answer = await fetch(`${address}/api/status`, { signal: AbortSignal.timeout(LOOK_MS) });
    return answer.ok ? ((await answer.json()) as ServiceStatus) : `HTTP ${answer.status}`;
  } catch (cause) {
    return reasonOf(cause instanceof Error && cause.cause !== undefined ? cause.cause : cause);
  }
}

/** Draws the status in place until SIGINT or SIGTERM; a service that does not answer is asked again. */
async function watchStatus(dir: string, load: () => Promise<LoadedConfig>): Promise<number> {
  const over = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => over.abort());
  let drawn = 0;
  while (!over.signal.aborted) {
    const status = await ask(dir, load);
    const lines = typeof status === "string" ? status.trimEnd().split("\n") : statusLines(status);
    const { columns, rows } = process.stdout;
    // A line that wraps, or one that scrolls away, would make the block another height than was counted.
    const block = lines.slice(0, rows > 1 ? rows - 1 : lines.length).map((line) => (columns > 1 ? line.slice(0, columns - 1) : line));
    // ECMA-48: cursor up to where the last block began, then erase to the end of the screen.
    process.stdout.write(`${drawn > 0 ? `\r\x1b[${drawn}A\x1b[0J` : ""}${block.join("\n")}\n`);
    drawn = block.length;
    await pause(WATCH_MS, over.signal);
  }
  return exitCodes.good;
}
