// What one captured table comes to: its schemas, what the registry says of them, and what each sink would do to its target.
import { keyRules } from "../avro/key-rule.ts";
import { tableSchemas, type AvroField, type AvroRecord, type AvroType } from "../avro/schema.ts";
import { TailraceError } from "../core/errors.ts";
import { topicName } from "../core/naming.ts";
import type { SchemaTrial, TrialVerdict } from "../core/schema-registry.ts";
import { keyColumns, tableLabel, type Table, type TableName } from "../core/table.ts";
import type { Registry } from "../parts.ts";
import type { SourceOptions } from "../source/parts.ts";
import { acceptCommands, policyFor } from "../source/table-schemas.ts";
import { mayHaveParkedTopic, parkedTopicName } from "../source/topics.ts";
import { presentVersion } from "./present-versions.ts";

export type PlannedSubject = { readonly subject: string; readonly schema: string } & TrialVerdict;

export type PlannedTarget = {
  readonly sink: string;
  /** `schema.name` */
  readonly target: string;
  /** In the order in which it would run; empty: the target fits. */
  readonly ddl: readonly string[];
  /** Why the sink would stop; null: it would not. */
  readonly refused: string | null;
};

/** What the source does with a table whose schema the registry, or R-logical, refuses (`schema_changes.incompatible`). */
export type Refusal = {
  /** `parked`: this table alone is set aside. `versioned`: it goes on as its next version. `stopped`: the source stops before the first event of the schema. */
  readonly then: "parked" | "versioned" | "stopped";
  /** Where the table's events would wait; null: they would not. */
  readonly parkedTopic: string | null;
  /** The next version, and the topic of its events; null: there is none. */
  readonly version: number | null;
  readonly topic: string | null;
  /** The commands that let the schema pass, and the source or the table go on; of a version what its readers have to do. */
  readonly fix: string;
};

export type PlannedTable = {
  readonly source: string;
  readonly table: string;
  readonly topic: string;
  /** R-version: the present one, which is 1 for a table that never had another. */
  readonly version: number;
  readonly subjects: readonly PlannedSubject[];
  /** The columns of its events as `name: type`; of an assumed change those that differ, marked `+`, `-` or `~`. */
  readonly columns: readonly string[];
  /** Why the source would stop, or leave the table out, whatever the registry says; null: it would not. */
  readonly refused: string | null;
  /** null: the registry refuses nothing, or the source stops whatever it says. */
  readonly refusal: Refusal | null;
  readonly targets: readonly PlannedTarget[];
};

type Judged = Omit<PlannedTable, "refusal" | "targets">;

/** The registry's part. `trial` null: there is no registry yet, so that every schema is its subject's first. */
async function planSubjects(
  topic: string,
  table: Table,
  trial: SchemaTrial | null,
  signal: AbortSignal,
): Promise<readonly PlannedSubject[]> {
  const schemas = tableSchemas(table, topic);
  const rules = keyRules(schemas);
  const subjects: PlannedSubject[] = [];
  for (const part of ["key", "value"] as const) {
    const [subject, schema] = [`${topic}-${part}`, schemas[part]];
    if (schema === null) continue;
    const verdict: TrialVerdict = trial === null ? { verdict: "first" } : await trial.tryOut(subject, schema, signal, rules[part]);
    subjects.push({ subject, schema, ...verdict });
  }
  return subjects;
}

/** `mayPark`: by its policy and its name. `registryUrl`: where an operator reaches the registry. */
function refusalOf({ source, table, topic, subjects, refused }: Judged, mayPark: boolean, registryUrl: string): Refusal | null {
  const refusing = subjects.flatMap((one) => (one.verdict === "refused" ? [{ subject: one.subject, words: one.reason }] : []));
  if (refused !== null || refusing.length === 0) return null;
  const commands = acceptCommands(registryUrl, refusing);
  const none = { parkedTopic: null, version: null, topic: null };
  if (!mayPark) return { ...none, then: "stopped", fix: `${commands}; then tailrace resume DIR ${source}` };
  const parkedTopic = parkedTopicName(topic);
  return { ...none, then: "parked", parkedTopic, fix: `${commands}; then tailrace unpark DIR ${source} ${table}` };
}

/** R-version: what a refused schema makes of the table. `topics`: as presentVersion() has them. */
function versioned(judged: Judged, name: TableName, prefix: string, topics: readonly string[]): PlannedTable {
  if (!judged.subjects.some(({ verdict }) => verdict === "refused")) return { ...judged, refusal: null, targets: [] };
  const version = judged.version + 1;
  const topic = topicName(prefix, name, version);
  if (topics.some((other) => other.replaceAll(".", "_") === topic.replaceAll(".", "_"))) {
    const error = new TailraceError("NAME_COLLISION", {
      first: `table ${judged.table} as version ${version}`,
      second: "another table",
      name: `topic ${topic}`,
    });
    return { ...judged, refused: `${error.code}: ${error.message}; ${error.remedy}`, refusal: null, targets: [] };
  }
  const fix = `who reads topic ${judged.topic}, or its targets, has to go on with those: they stay as they are, and get no more events`;
  return { ...judged, refusal: { then: "versioned", parkedTopic: null, version, topic, fix }, targets: [] };
}

/** `topics`: as presentVersion() has them. `registry` null: there is none yet. */
export type Judging = {
  readonly options: Pick<SourceOptions, "name" | "topics" | "incompatible">;
  readonly topics: readonly string[];
  readonly registry: Registry["registry"] | null;
};

/** What the table comes to, without its targets. `judged`: what an assumed change makes of it; `before`: as it was before that. */
export async function planTable(
  { options, topics, registry }: Judging,
  table: Table,
  signal: AbortSignal,
  judged: Partial<Pick<PlannedTable, "columns" | "refused">> = {},
  before = table,
): Promise<PlannedTable> {
  const { prefix } = options.topics;
  const version = registry === null ? 1 : await presentVersion(prefix, table, topics, registry, signal);
  const topic = topicName(prefix, table, version);
  const subjects = await planSubjects(topic, table, registry, signal);
  const names = { source: options.name, table: tableLabel(table), topic, version };
  const planned = { ...names, subjects, columns: columnLines(table), refused: null, ...judged };
  const policy = policyFor(options, keyColumns(before).length === 0 ? before : table);
  if (policy === "version" && registry !== null) return versioned(planned, table, prefix, topics);
  const mayPark = policy === "park" && mayHaveParkedTopic(topic, topics);
  return { ...planned, refusal: registry === null ? null : refusalOf(planned, mayPark, registry.url), targets: [] };
}

export function columnLines(table: Table): readonly string[] {
  return [...fieldsOf(table)].map(([name, type]) => `${name}: ${type}`);
}

/** In the order of the table after it; what is gone stands last. */
export function columnChanges(before: Table, after: Table): readonly string[] {
  const [was, is] = [fieldsOf(before), fieldsOf(after)];
  const lines: string[] = [];
  for (const [name, type] of is) {
    const former = was.get(name);
    if (former === undefined) lines.push(`+ ${name}: ${type}`);
    else if (former !== type) lines.push(`~ ${name}: ${former} → ${type}`);
  }
  for (const [name, type] of was) if (!is.has(name)) lines.push(`- ${name}: ${type}`);
  return lines;
}

/** Field name → its Avro type in a few words; `?`: may be null. */
function fieldsOf(table: Table): ReadonlyMap<string, string> {
  const envelope = JSON.parse(tableSchemas(table, "t").value) as AvroRecord;
  const before = envelope.fields.find(({ name }) => name === "before")?.type as readonly [
    string,
    { readonly fields: readonly AvroField[] },
  ];
  return new Map(before[1].fields.map(({ name, type }) => [name, words(type)]));
}

function words(type: AvroType): string {
  if (typeof type === "string") return type.slice(type.lastIndexOf(".") + 1);
  if (Array.isArray(type)) return `${words(type[1] as AvroType)}?`;
  const { type: base, logicalType, precision, scale, ...rest } = type as { readonly type: AvroType; readonly [name: string]: unknown };
  if (typeof rest.name === "string") return rest.name;
  if (logicalType === "decimal") return `decimal(${String(precision)},${String(scale)})`;
  return typeof logicalType === "string" ? `${words(base)} ${logicalType}` : words(base);
}
