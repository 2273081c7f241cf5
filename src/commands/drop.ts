// `tailrace drop DIR CONNECTOR`: what a connector has outside of the service goes, after a question.
import { existsSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import type { LoadedConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { openLog } from "../parts.ts";
import { dropSink, dropSource, type Dropped } from "../service/drop.ts";
import { findConnector } from "../service/names.ts";
import { openLog as openLogger } from "../telemetry/log.ts";
import { exitCodes, usageError } from "./report.ts";
import { askService, printAnswer, type Answer } from "./service-client.ts";

/** `yes`: no question, and a slot that is not ours to make (create: false) goes too. Throws USAGE and what keeps the log from being opened. */
export async function runDrop(
  { dir, connector: name, yes, json }: { readonly dir: string; readonly connector: string; readonly yes: boolean; readonly json: boolean },
  config: LoadedConfig,
): Promise<number> {
  const connector = findConnector<SourceConfig | SinkConfig>([...config.sources, ...config.sinks], name);
  if (!yes && !(await isMeant(connector))) {
    process.stderr.write("nothing was dropped\n");
    return exitCodes.failed;
  }
  const answer = await dropThere(dir, name, yes).catch(async (cause: unknown): Promise<Answer<Dropped>> => {
    if (!(cause instanceof TailraceError) || cause.code !== "SERVICE_ABSENT") throw cause;
    return { value: await dropHere(connector, config, yes) };
  });
  const code = printAnswer(answer, json, ({ dropped, kept, left }) => [
    ...(dropped.length === 0 ? ["nothing was there to drop"] : dropped.map((what) => `dropped ${what}`)),
    ...kept.map((what) => `kept ${what}`),
    ...left.map((what) => `NOT dropped: ${what}`),
  ]);
  return "value" in answer && answer.value.left.length > 0 ? exitCodes.failed : code;
}

async function dropThere(dir: string, connector: string, foreignToo: boolean): Promise<Answer<Dropped>> {
  return askService<Dropped>(dir, "/drop", { connector, foreignToo });
}

/** No service runs it. */
async function dropHere(connector: SourceConfig | SinkConfig, { service }: LoadedConfig, foreignToo: boolean): Promise<Dropped> {
  const { signal } = new AbortController(); // each part has its bound
  if (connector.kind === "sink") return dropSink(connector, signal);
  if (service.log.kind === "embedded" && !existsSync(service.log.path)) return dropSource(connector, null, { foreignToo }, signal);
  await using log = await openLog(service, openLogger({ level: "silent" }));
  return await dropSource(connector, log, { foreignToo }, signal);
}

/** Whether the person at the terminal types the name. Throws USAGE where nobody can be asked. */
async function isMeant(connector: SourceConfig | SinkConfig): Promise<boolean> {
  const { name } = connector;
  if (!process.stdin.isTTY) throw usageError(`drop asks for the name of ${name} on a terminal; to drop it without a question say --yes`);
  process.stderr.write(`${describe(connector)}\n`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(`type ${name} to drop it: `)).trim() === name;
  } catch {
    return false; // Ctrl-D
  } finally {
    terminal.close();
  }
}

function describe(connector: SourceConfig | SinkConfig): string {
  if (connector.kind === "sink") return `sink ${connector.name}: its checkpoints and open dead letters go; its targets stay`;
  const { slot, publication, create } = connector.postgres;
  const { prefix } = connector.topics;
  const server = create
    ? `slot ${slot} and publication ${publication} go`
    : `slot ${slot} and publication ${publication} stay (create: false)`;
  return `source ${connector.name}: ${server}, topics ${prefix}.state and ${prefix}.barriers go; topics with events stay`;
}
