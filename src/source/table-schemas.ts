// A table's schemas in the registry: registered before the first event that uses them. What is refused is said with what
// changed, the registry's words, and the commands that let it pass.
import { KEY_STAYS, keyRules } from "../avro/key-rule.ts";
import { tableSchemas, type TableSchemas } from "../avro/schema.ts";
import { readValueSchema } from "../avro/shape.ts";
import { TailraceError } from "../core/errors.ts";
import type { FollowRule, Registered, SchemaRegistry } from "../core/schema-registry.ts";
import { keyColumns, tableLabel, type Column, type ColumnType, type Table } from "../core/table.ts";

/** `key` is null for a table without one. */
export type SchemaIds = { readonly key: number | null; readonly value: number };

type Policy = "park" | "version" | "stop";

/** Why the registry does not take a table's schemas. */
export class SchemasRefused extends Error {
  /** What changed, by columns. */
  readonly difference: string;
  /** The registry's words, each with its subject. */
  readonly words: string;
  /** What lets them pass, in one line: acceptCommands(). */
  readonly commands: string;
  /** R-version: a subject without a schema refuses too, as that of another version would. */
  readonly isForAll: boolean;

  constructor(difference: string, words: string, commands: string, isForAll: boolean) {
    super(words);
    this.difference = difference;
    this.words = words;
    this.commands = commands;
    this.isForAll = isForAll;
  }
}

/** What becomes of a table whose schema is refused. R-version: one without a key has no versions, since rows that come again could not be told apart in its snapshot. */
export function policyFor({ incompatible }: { readonly incompatible: (table: Table) => Policy }, table: Table): Policy {
  const policy = incompatible(table);
  return policy === "version" && keyColumns(table).length === 0 ? "park" : policy;
}

/** Throws SchemasRefused, REGISTRY_UNREACHABLE, REGISTRY_LOGIN. `subjects`: of which topic; default the table's own. */
export async function registerSchemas(
  registry: SchemaRegistry,
  table: Table,
  topic: string,
  { what, subjects = topic }: { readonly what: Registered; readonly subjects?: string },
  signal: AbortSignal,
): Promise<SchemaIds> {
  return registerTexts(registry, tableSchemas(table, topic), subjects, what, signal);
}

/** Registers what has these ids in the subjects of `topic` too, as a shape of the past. Throws as registerSchemas(), SCHEMA_UNKNOWN. */
export async function registerIds(registry: SchemaRegistry, ids: SchemaIds, topic: string, signal: AbortSignal): Promise<SchemaIds> {
  const key = ids.key === null ? null : await registry.schema(ids.key, signal);
  return registerTexts(registry, { key, value: await registry.schema(ids.value, signal) }, topic, "past", signal);
}

async function registerTexts(
  registry: SchemaRegistry,
  schemas: TableSchemas,
  subjects: string,
  what: Registered,
  signal: AbortSignal,
): Promise<SchemaIds> {
  const refused: { readonly subject: string; readonly words: string }[] = [];
  const rules = keyRules(schemas);
  const register = async (subject: string, schema: string, rule: FollowRule): Promise<number> => {
    try {
      return await registry.register(subject, schema, signal, what, rule);
    } catch (cause) {
      if (!(cause instanceof TailraceError) || cause.code !== "REGISTRY_REFUSED") throw cause;
      refused.push({ subject, words: cause.message });
      return -1;
    }
  };
  const key = schemas.key === null ? null : await register(`${subjects}-key`, schemas.key, rules.key);
  const value = await register(`${subjects}-value`, schemas.value, rules.value);
  if (refused.length === 0) return { key, value };
  const latest = await registry.latest(`${subjects}-value`, signal);
  let isForAll = false;
  for (const { subject } of refused) isForAll ||= (await registry.latest(subject, signal)) === null;
  throw new SchemasRefused(
    latest === null ? "nothing to compare with" : differenceFrom(latest, schemas.value),
    refused.map(({ words }) => words).join("; "),
    acceptCommands(registry.url, refused),
    isForAll,
  );
}

/**
 * What lets pass what is refused of these subjects, in one line: shell commands that delete their versions, softly. Of another key, what gives
 * the table a version: in one topic a row would stand under two keys, in partitions between which no order is kept.
 */
export function acceptCommands(url: string, refused: readonly { readonly subject: string; readonly words: string }[]): string {
  if (refused.some(({ words }) => words.includes(KEY_STAYS)))
    return "say schema_changes.incompatible: version of the table, which has to have a key, in the configuration, and tailrace reload DIR";
  return refused.map(({ subject }) => `curl -X DELETE ${url}/subjects/${encodeURIComponent(subject)}`).join(" && ");
}

/** `stop`: the source ends by it, and begins again when an operator resumes it. */
export function schemaRefused(source: string, table: Table, { difference, words, commands }: SchemasRefused): TailraceError {
  return new TailraceError("SCHEMA_REFUSED", { source, table: tableLabel(table), difference, words, commands });
}

function differenceFrom(latest: string, now: string): string {
  try {
    return describeDifference(readValueSchema(latest), readValueSchema(now));
  } catch {
    return "the subject holds a schema that is not Tailrace's";
  }
}

type Columns = { readonly columns: readonly Pick<Column, "name" | "type" | "keyPosition">[] };

/** What a table's columns have become, as in `total: decimal(10,2) → decimal(10,4); note: added`. */
export function describeDifference(before: Columns, now: Columns): string {
  const said: string[] = [];
  for (const { name, type } of now.columns) {
    const known = before.columns.find((column) => column.name === name);
    if (known === undefined) said.push(`${name}: added as ${describeType(type)}`);
    else if (describeType(known.type) !== describeType(type)) said.push(`${name}: ${describeType(known.type)} → ${describeType(type)}`);
  }
  for (const { name } of before.columns) if (!now.columns.some((column) => column.name === name)) said.push(`${name}: dropped`);
  const [was, is] = [before, now].map((table) =>
    keyColumns(table)
      .map(({ name }) => name)
      .join(", "),
  );
  if (was !== is) said.push(`key: (${was}) → (${is})`);
  return said.length === 0 ? "no column differs" : said.join("; ");
}

function describeType(type: ColumnType): string {
  if (type.kind === "decimal") return `numeric(${type.precision},${type.scale})`;
  if (type.kind === "array") return `${describeType(type.element)}[]`;
  if (type.kind !== "composite") return type.kind === "other" ? type.typeName : type.kind;
  return `${type.schema}.${type.name}(${type.attributes.map((attribute) => `${attribute.name} ${describeType(attribute.type)}`).join(", ")})`;
}
