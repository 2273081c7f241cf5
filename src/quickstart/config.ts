// The quickstart's configuration: a file like any other, that a reader can copy and change.
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { LoadedConfig } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";

/** Names in the quickstart's folder. */
export const files = {
  configuration: "tailrace.yaml",
  log: "log",
  messages: "tailrace.log",
  // of the sample shop
  /** The database's address with its password; it moves when its port is taken. */
  url: "shop.url",
  duckdb: "shop.duckdb",
  postgres: "postgres",
  // of a database of the reader's
  copy: "copy.duckdb",
  /** Which database the folder is a copy of, and what was made there. */
  database: "database.json",
} as const;

/** Topics are `shop.public.<table>`. */
export const PREFIX = "shop";
export const SINK = "lake";
/** The source, and the prefix of its topics, of a database of the reader's. */
export const OWN = "own";
/** Where its URL is read from, when it is not given as an option. */
export const URL_VARIABLE = "QUICKSTART_URL";

type Parts = {
  readonly httpPort: number;
  readonly source: string;
  /** Lines below the source's postgres, and its tables, as YAML. */
  readonly postgres: readonly string[];
  readonly tables: readonly string[];
  readonly duckdb: string;
};

function yaml({ httpPort, source, postgres, tables, duckdb }: Parts): string {
  return `# The quickstart's configuration, written anew at each of its starts: copy it to change it.
#
#   tailrace run DIR      runs a folder with such files
#   tailrace check DIR    says what is missing first
kind: service
log:
  embedded: { path: ./${files.log} } # or kafka: { brokers: [...] } and a registry: see connectors/kafka-duckdb
http: { listen: "127.0.0.1:${httpPort}" } # /metrics, /livez, /readyz, /api/status, /registry
---
kind: source
name: ${source}
postgres:
${postgres.map((line) => `  ${line}\n`).join("")}tables:
${tables.map((table) => `  - ${table}\n`).join("")}topics: { prefix: ${source} }
---
kind: sink
name: ${SINK}
source: ${source}
warehouse:
  duckdb: { path: ./${duckdb} } # or postgres: { url: ... }
consistency: partition
flush: { every: 500ms }
`;
}

/** Writes the sample shop's configuration into `dir`, which is made when missing, and loads it as `tailrace run` would. */
export async function writeShopConfig(dir: string, database: { readonly url: string }, httpPort: number): Promise<LoadedConfig> {
  await mkdir(dir, { recursive: true });
  const secret = path.join(dir, files.url);
  await writeFile(secret, database.url, { mode: 0o600 });
  await chmod(secret, 0o600); // the mode above is for a new file only
  const parts = {
    httpPort,
    source: PREFIX,
    postgres: [`url: "\${file:${files.url}}" # a reference, as "\${SHOP_URL}" would be; read again at every connect`],
    tables: ['"public.*"'],
    duckdb: files.duckdb,
  };
  await replace(path.join(dir, files.configuration), yaml(parts));
  return loadConfig(dir, process.env);
}

export type OwnConfig = {
  readonly url: string;
  /** Patterns or quoted names. */
  readonly tables: readonly string[];
  /** The name of slot and publication. */
  readonly name: string;
  readonly httpPort: number;
};

/** The same for a database of the reader's. The URL stays out of the file, and the slot is a temporary one. */
export async function writeOwnConfig(dir: string, { url, tables, name, httpPort }: OwnConfig): Promise<LoadedConfig> {
  const parts = {
    httpPort,
    source: OWN,
    postgres: [
      `url: "\${${URL_VARIABLE}}" # a reference; read again at every connect`,
      `# of the quickstart's own, gone when it ends; without them both are called tailrace_${OWN}, and stay`,
      `slot: ${name}`,
      `publication: ${name}`,
    ],
    // Every JSON text is YAML, and a dollar begins a reference.
    tables: tables.map((table) => JSON.stringify(table).replaceAll("$", () => "$$")),
    duckdb: files.copy,
  };
  await replace(path.join(dir, files.configuration), yaml(parts));
  const config = await loadConfig(dir, { ...process.env, [URL_VARIABLE]: url });
  return { ...config, sources: config.sources.map((source) => ({ ...source, postgres: { ...source.postgres, temporary: true } })) };
}

async function replace(file: string, text: string): Promise<void> {
  const before = await readFile(file, "utf8").catch(() => null);
  if (before !== text) await writeFile(file, text);
}
