// The whole log of a test's service, read from its first record to its last.
import type { TableName } from "../../src/core/table.ts";
import { expect } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import type { EventLog } from "../../src/core/event-log.ts";
import { openLog, openRegistry, type Registry } from "../../src/parts.ts";
import { scanLog, type LogScan } from "../../src/quickstart/scan.ts";
import { openLog as openLogger } from "../../src/telemetry/log.ts";
import type { TestService } from "./service.ts";

const SCAN_MS = 120_000;

/** Opens the log and the registry that the service is configured with; an embedded log only when no process runs. */
export async function withLog<T>(
  service: Pick<TestService, "folder">,
  work: (log: EventLog, registry: Registry) => Promise<T>,
): Promise<T> {
  const { service: config } = await loadConfig(service.folder, process.env);
  await using log = await openLog(config, openLogger({ level: "silent" }));
  const registry = await openRegistry(config);
  try {
    return await work(log, registry);
  } finally {
    await registry.close();
  }
}

export async function scan(service: TestService, tables: readonly TableName[]): Promise<LogScan> {
  return withLog(service, (log, { registry }) => scanLog({ log, registry }, service.prefix, tables, AbortSignal.timeout(SCAN_MS)));
}

/** R-sequence, R-tail: each (partition, sequence) stands once, and no partition's sequence goes backwards. */
export async function expectEachOnce(service: TestService, tables: readonly TableName[]): Promise<LogScan> {
  const found = await scan(service, tables);
  const { duplicates, backwards, deadLetters } = found;
  expect({ duplicates, backwards, deadLetters }).toEqual({ duplicates: 0, backwards: 0, deadLetters: 0 });
  return found;
}
