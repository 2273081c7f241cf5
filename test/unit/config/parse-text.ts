// Checks one text as the file shop.yaml of the folder /etc/tailrace, with an environment and files that exist only here.

import { parseConfig } from "../../../src/config/load.ts";
import type { LoadedConfig } from "../../../src/config/config.ts";
import { ConfigError, type ConfigIssue } from "../../../src/config/issue.ts";

export type World = { readonly env?: Record<string, string | undefined>; readonly files?: Record<string, string> };

export function parseText(text: string, { env = {}, files = {} }: World = {}): LoadedConfig {
  const readFile = (path: string): string => {
    const found = files[path];
    if (found === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    return found;
  };
  return parseConfig([{ name: "shop.yaml", text }], { dir: "/etc/tailrace", env, readFile });
}

/** The error that the text ends in; fails when it is accepted. */
export function refusal(text: string, world: World = {}): ConfigError {
  try {
    parseText(text, world);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown;
    throw thrown;
  }
  throw new Error("the configuration was accepted");
}

/** The only issue of a text. */
export function onlyIssue(text: string, world: World = {}): ConfigIssue {
  const { issues } = refusal(text, world);
  const [first] = issues;
  if (first === undefined || issues.length > 1) throw new Error(`expected one issue: ${JSON.stringify(issues, null, 2)}`);
  return first;
}

export const source = (more = ""): string => `kind: source
name: shop
postgres:
  url: postgres://cdc:hunter2@db:5432/shop
tables: [public.orders]
snapshot: { mode: no_data }
${more}`;

export const sink = (more = ""): string => `---
kind: sink
name: lake
source: shop
warehouse: { duckdb: { path: ./lake.duckdb } }
consistency: partition
${more}`;

export const service = (more: string): string => `---
kind: service
${more}`;

/** Where an issue points: `14:5 unknown_key tables[0].mode`. */
export function brief(issue: ConfigIssue): string {
  return `${issue.at.line}:${issue.at.column} ${issue.code} ${issue.path}`;
}
