// The quickstart's configuration: a file like any other, that a reader can copy and change.
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { LoadedConfig } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";

/** Names in the quickstart's folder. */
export const files = {
  configuration: "tailrace.yaml",
  /** The database's address with its password; it moves when its port is taken. */
  url: "shop.url",
  duckdb: "shop.duckdb",
  log: "log",
  postgres: "postgres",
  messages: "tailrace.log",
} as const;

/** Topics are `shop.public.<table>`. */
export const PREFIX = "shop";
export const SINK = "lake";

function yaml(httpPort: number): string {
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
name: shop
postgres:
  url: "\${file:${files.url}}" # a reference, as "\${SHOP_URL}" would be; read again at every connect
tables:
  - "public.*"
topics: { prefix: ${PREFIX} }
snapshot: { mode: no_data } # existing rows are not read: the shop is filled after the slot was made
---
kind: sink
name: ${SINK}
source: shop
warehouse:
  duckdb: { path: ./${files.duckdb} } # or postgres: { url: ... }
consistency: partition
flush: { every: 500ms }
`;
}

/** Writes the configuration into `dir`, which is made when missing, and loads it as `tailrace run` would. */
export async function writeConfig(dir: string, database: { readonly url: string }, httpPort: number): Promise<LoadedConfig> {
  await mkdir(dir, { recursive: true });
  const secret = path.join(dir, files.url);
  await writeFile(secret, database.url, { mode: 0o600 });
  await chmod(secret, 0o600); // the mode above is for a new file only
  await replace(path.join(dir, files.configuration), yaml(httpPort));
  return loadConfig(dir, process.env);
}

async function replace(file: string, text: string): Promise<void> {
  const before = await readFile(file, "utf8").catch(() => null);
  if (before !== text) await writeFile(file, text);
}
