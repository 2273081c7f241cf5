// `tailrace dlq list` and `dlq show`: the dead letters of a source or sink, asked of the service that runs the folder, or read
// from the log and the warehouse themselves when none does.
import { existsSync } from "node:fs";
import type { LoadedConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import { openLog, openRegistry } from "../parts.ts";
import { findLetter, listLetters, LISTED_LETTERS, type Letter, type LetterParts, type WholeLetter } from "../service/letters.ts";
import { findConnector } from "../service/names.ts";
import { openLog as openLogger } from "../telemetry/log.ts";
import { askService, printAnswer, type Answer } from "./service-client.ts";

/** Bound of reading them without a service, ms. */
const READ_MS = 60_000;

type Asked = { readonly dir: string; readonly connector: string };

/** Throws USAGE, and what keeps log or warehouse from being read. */
export async function runDlqList({ dir, connector: name }: Asked, config: LoadedConfig, json: boolean): Promise<number> {
  const connector = findConnector<SourceConfig | SinkConfig>([...config.sources, ...config.sinks], name);
  const answer = await there<{ readonly letters: readonly Letter[] }>(dir, { connector: name }).catch(async (cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    return { value: { letters: await here(config, async (parts, signal) => listLetters(connector, parts, signal)) } };
  });
  return printAnswer(answer, json, ({ letters }) => listLines(connector, letters));
}

/** `id`: as the list gives it. Throws as runDlqList(). */
export async function runDlqShow(
  { dir, connector: name, id }: Asked & { readonly id: string },
  config: LoadedConfig,
  json: boolean,
): Promise<number> {
  const connector = findConnector<SourceConfig | SinkConfig>([...config.sources, ...config.sinks], name);
  const answer = await there<WholeLetter>(dir, { connector: name, id }).catch(async (cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    return { value: await here(config, async (parts, signal) => findLetter(connector, id, parts, signal)) };
  });
  return printAnswer(answer, json, letterLines);
}

async function there<T>(dir: string, body: object): Promise<Answer<T>> {
  return askService<T>(dir, "/letters", body);
}

function isAbsent(cause: unknown): boolean {
  return cause instanceof TailraceError && cause.code === "SERVICE_ABSENT";
}

/** No service runs it. */
async function here<T>({ service }: LoadedConfig, read: (parts: LetterParts, signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(READ_MS);
  const isMade = service.log.kind !== "embedded" || existsSync(service.log.path);
  const log = isMade ? await openLog(service, openLogger({ level: "silent" })) : null;
  try {
    if (log === null) return await read({ log, registry: NO_REGISTRY }, signal);
    const { registry, close } = await openRegistry(service);
    return await read({ log, registry }, signal).finally(close);
  } finally {
    await log?.[Symbol.asyncDispose]();
  }
}

/** Of an embedded log that was never made: opening its registry would make it. */
const NO_REGISTRY: LetterParts["registry"] = {
  schema: async (id) => Promise.reject(new TailraceError("SCHEMA_UNKNOWN", { id, address: "the log", reason: "there is no log yet" })),
};

function listLines({ kind, name }: SourceConfig | SinkConfig, letters: readonly Letter[]): readonly string[] {
  if (letters.length === 0) return [`${name} has no ${kind === "sink" ? "open " : ""}dead letters`];
  const last = letters.length < LISTED_LETTERS ? [] : [`the last ${LISTED_LETTERS}; there may be more`];
  return [...letters.flatMap((letter) => [headLine(letter), `  ${letter.reason}`]), ...last];
}

function headLine({ id, of, key, lsn, sequence, code, time, state }: Letter): string {
  const closed = state === null || state === "open" ? "" : ` · ${state}`;
  return `${id} · ${of} ${key === null ? "(key not readable)" : JSON.stringify(key)} · ${code} · ${time} · LSN ${lsn} · sequence ${sequence}${closed}`;
}

function letterLines(letter: WholeLetter): readonly string[] {
  const { reason, op, before, after, unchanged, unreadable, bytes } = letter;
  const row = (name: string, values: WholeLetter["after"]): readonly string[] =>
    values === null ? [] : [`${name}:`, ...Object.entries(values).map(([column, value]) => `  ${column} = ${JSON.stringify(value)}`)];
  return [
    headLine(letter),
    `  ${reason}`,
    `op: ${op ?? "?"}`,
    ...row("before", before),
    ...row("after", after),
    ...(unchanged.length === 0 ? [] : [`not sent: ${unchanged.join(", ")}`]),
    ...(unreadable === null ? [] : [`values: ${unreadable}`, `bytes (base64): ${bytes}`]),
  ];
}
