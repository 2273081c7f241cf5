// `tailrace check DIR`: everything that `run` will need, looked at without writing, each finding with its fix.
import { existsSync } from "node:fs";
import type { LoadedConfig, ServiceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { openLog, openRegistry } from "../parts.ts";
import type { CatalogTable } from "../postgres/table-judgement.ts";
import { openLog as openLogger } from "../telemetry/log.ts";
import { checkSink } from "./check-sink.ts";
import { checkSchemas } from "./check-schemas.ts";
import { checkSource, type SeenLog } from "./check-source.ts";
import { look, problem, render, type Finding, type Found } from "./findings.ts";
import { exitCodes } from "./report.ts";

/** Prints a line a finding. Exit code 0 when all is well, 1 when something does not answer, 3 when something has to be mended. */
export async function runCheck(config: LoadedConfig, json: boolean): Promise<number> {
  const findings: Finding[] = [];
  await checkAll(config, (finding) => {
    findings.push(finding);
    if (!json) process.stdout.write(render(finding));
  });
  if (json) process.stdout.write(`${JSON.stringify({ findings })}\n`);
  const problems = findings.filter(({ kind }) => kind === "problem");
  if (problems.length === 0) return exitCodes.good;
  return problems.some(({ silent }) => silent === true) ? exitCodes.failed : exitCodes.differences;
}

async function checkAll(config: LoadedConfig, found: Found): Promise<void> {
  const log = await checkLog(config.service, found);
  const tables = new Map<string, readonly CatalogTable[] | null>();
  for (const source of config.sources) {
    const seen = await checkSource(source, log, found);
    tables.set(source.name, seen);
    await checkSchemas(source, seen, config.service, found);
  }
  for (const sink of config.sinks) {
    const source = config.sources.find(({ name }) => name === sink.source);
    if (source !== undefined) await checkSink(sink, source, tables.get(source.name) ?? null, config.service, found);
  }
  if (log !== null && log !== "unknown") await log[Symbol.asyncDispose]();
}

async function checkLog(service: ServiceConfig, found: Found): Promise<SeenLog> {
  if (service.log.kind === "embedded") {
    if (!existsSync(service.log.path)) {
      found({ of: "log", kind: "note", message: `embedded; ${service.log.path} will be made` });
      return null;
    }
    try {
      const log = await openLog(service, openLogger({ level: "silent" }));
      found({ of: "log", kind: "ok", message: `embedded in ${service.log.path}` });
      return log;
    } catch (cause) {
      const error = TailraceError.from(cause);
      // The running service itself: what is in the log can't be looked at, and need not be.
      found(error.code === "LOG_LOCKED" ? { of: "log", kind: "note", message: error.message } : problem("log", error));
      return "unknown";
    }
  }
  const log = await openLog(service, openLogger({ level: "silent" }));
  await look("log", found, async (signal) => {
    await log.topics([], signal); // the name of none: who may see some topics only is refused those that nobody has
    return `Kafka at ${log.address} answers`;
  });
  const { registry } = await openRegistry(service);
  await look("registry", found, async (signal) => {
    await registry.schema(1, signal).catch((cause: unknown) => {
      if (!(cause instanceof TailraceError) || cause.code !== "SCHEMA_UNKNOWN") throw cause;
    });
    return `${registry.address} answers`;
  });
  return log;
}
