// What no single key can tell: names that stand twice, references to nothing, settings that need or exclude one another.
// Works on what could be read, so that these problems are reported beside misspelt keys and wrong types.

import { keyPlaceOf, placeOf, valueAt, type Path } from "./document.ts";
import { printableAddress } from "./address.ts";
import type { ConfigIssue } from "./issue.ts";
import { nearestWord } from "./nearest.ts";
import { issue, seenOf, spelling } from "./problem.ts";
import { plainAt, textAt, type Resolved } from "./resolve.ts";
import { PUBLICATION_PATTERN, SLOT_PATTERN } from "./schema.ts";
import { parseTablePattern, parseTargetTemplate, takesAll, type TablePattern } from "./table-pattern.ts";

/** What the slot and the publication of a source are called when it does not say. */
export function defaultStreamName(source: string): string {
  return `tailrace_${source}`;
}

/**
 * Problems between keys and between documents. `complete` is false when a document could not be read: then nothing is
 * said of what it may have held.
 */
export function checkDocuments(documents: readonly Resolved[], dir: string, complete: boolean): readonly ConfigIssue[] {
  const sources = documents.filter((document) => document.kind === "source");
  const sinks = documents.filter((document) => document.kind === "sink");
  const services = documents.filter((document) => document.kind === "service");
  return [
    ...services.slice(1).map((service) => secondService(service, services[0] ?? service)),
    ...services.flatMap(checkService),
    ...duplicates(
      [...sources, ...sinks],
      (document) => own(document, ["name"]),
      "name",
      "names are shared by sources and sinks: choose another",
    ),
    ...duplicates(sources, topicSpace, "topic prefix", "set topics.prefix to another; Kafka takes . and _ for the same"),
    ...duplicates(sources, slotPlace, "slot of the same database", "give each source a slot of its own"),
    ...sources.flatMap((source) => [...checkDefaultNames(source), ...checkVersions(source)]),
    ...[...sources, ...sinks].flatMap(checkReached),
    ...sinks.flatMap((sink) => [...checkWarehouse(sink), ...checkTargets(sink)]),
    ...(complete ? [...missingSource(sources, dir), ...sinks.flatMap((sink) => checkReference(sink, sources))] : []),
  ];
}

type Named = { readonly path: Path; readonly value: string; readonly compare: string };

function own(document: Resolved, path: Path): Named | null {
  const value = textAt(document, path);
  return value === null ? null : { path, value, compare: value };
}

function topicSpace(source: Resolved): Named | null {
  const named = own(source, ["topics", "prefix"]) ?? own(source, ["name"]);
  return named === null ? null : { ...named, compare: named.value.replaceAll(".", "_") };
}

function slotPlace(source: Resolved): Named | null {
  const url = textAt(source, ["postgres", "url"]);
  const name = textAt(source, ["name"]);
  const slot =
    own(source, ["postgres", "slot"]) ?? (name === null ? null : { path: ["name"], value: defaultStreamName(name), compare: "" });
  // A slot belongs to the whole cluster: the database does not count.
  return slot === null || url === null ? null : { ...slot, compare: `${printableAddress(url).split("/")[0] ?? ""} ${slot.value}` };
}

function duplicates(
  documents: readonly Resolved[],
  nameOf: (document: Resolved) => Named | null,
  what: string,
  fix: string,
): readonly ConfigIssue[] {
  const first = new Map<string, Resolved>();
  const issues: ConfigIssue[] = [];
  for (const document of documents) {
    const named = nameOf(document);
    if (named === null) continue;
    const other = first.get(named.compare);
    if (other === undefined) {
      first.set(named.compare, document);
      continue;
    }
    // Two documents of one name share every default that is made from it: said once, at the name.
    if (what !== "name" && named.path[0] === "name") continue;
    const { file, line } = placeOf(other.root, nameOf(other)?.path ?? []);
    const seen = seenOf(document, named.path);
    const message = `${what} ${seen} is taken by the ${other.kind} at ${file}:${line}`;
    issues.push(issue("duplicate_name", placeOf(document.root, named.path), named.path, { seen, message, fix }));
  }
  return issues;
}

function secondService(service: Resolved, first: Resolved): ConfigIssue {
  const { file, line } = first.root.at;
  const message = `a second document of kind service; the first is at ${file}:${line}`;
  return issue("duplicate_service", placeOf(service.root, ["kind"]), ["kind"], { seen: "service", message, fix: "join the two documents" });
}

function checkService(service: Resolved): readonly ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const kafka = valueAt(service.root, ["log", "kafka"]);
  const embedded = valueAt(service.root, ["log", "embedded"]);
  if (kafka !== undefined && embedded !== undefined) {
    const later = kafka.keyAt.line >= embedded.keyAt.line ? kafka : embedded;
    const message = "log has both kafka and embedded";
    const allowed = ["kafka", "embedded"];
    issues.push(issue("choose_one", later.keyAt, ["log"], { seen: "both", allowed, message, fix: "keep one of them" }));
  }
  if (kafka !== undefined && valueAt(service.root, ["registry"]) === undefined) {
    const message = "log.kafka needs a schema registry, and registry is missing";
    issues.push(issue("needs_registry", kafka.keyAt, ["registry"], { seen: "nothing", message, fix: "add registry: { url: http://… }" }));
  }
  const ssl: Path = ["log", "kafka", "ssl"];
  for (const [has, lacks] of [
    ["cert", "key"],
    ["key", "cert"],
  ] as const) {
    const there = valueAt(service.root, [...ssl, has]);
    if (there === undefined || valueAt(service.root, [...ssl, lacks]) !== undefined) continue;
    const message = `log.kafka.ssl has ${has} without ${lacks}`;
    issues.push(issue("missing_key", there.keyAt, [...ssl, lacks], { seen: "nothing", message, fix: `add ${lacks}, or take ${has} out` }));
  }
  return issues;
}

function checkDefaultNames(source: Resolved): readonly ConfigIssue[] {
  const name = textAt(source, ["name"]);
  if (name === null || valueAt(source.root, ["postgres"])?.kind !== "map") return [];
  const made = defaultStreamName(name);
  const legal = made
    .toLowerCase()
    .replace(/[^a-z0-9_]/g, "_")
    .slice(0, 63);
  const illegal = (["slot", "publication"] as const).filter((key) => {
    if (valueAt(source.root, ["postgres", key]) !== undefined) return false;
    return !(key === "slot" ? SLOT_PATTERN : PUBLICATION_PATTERN).test(made);
  });
  if (illegal.length === 0) return [];
  const message = `the default ${illegal.join(" and ")} of this source, ${made}, ${illegal.length === 1 ? "is no legal name" : "are no legal names"}`;
  const fix = `set ${illegal.map((key) => `postgres.${key}: ${legal}`).join(" and ")}`;
  return [issue("invalid_value", placeOf(source.root, ["name"]), ["name"], { seen: seenOf(source, ["name"]), message, fix })];
}

/** R-version: a version's topic is made when an ALTER TABLE is refused; nobody could make it before. */
function checkVersions(source: Resolved): readonly ConfigIssue[] {
  if (plainAt(source, ["topics", "create"]) !== false) return [];
  const entries = valueAt(source.root, ["tables"]);
  const count = entries?.kind === "list" ? entries.items.length : 0;
  const last: Path = ["schema_changes", "incompatible"];
  return [last, ...Array.from({ length: count }, (_, index): Path => ["tables", index, ...last])]
    .filter((path) => textAt(source, path) === "version")
    .map((path) => {
      const message = "the source has to make the topic of a table's next version, and topics.create is false";
      const fix = "write park or stop, or set topics.create: true";
      return issue("invalid_value", placeOf(source.root, path), path, {
        seen: seenOf(source, path),
        allowed: ["park", "stop"],
        message,
        fix,
      });
    });
}

function checkWarehouse(sink: Resolved): readonly ConfigIssue[] {
  const warehouse = valueAt(sink.root, ["warehouse"]);
  if (warehouse?.kind !== "map") return [];
  const allowed = ["duckdb", "postgres"];
  const known = allowed.filter((key) => warehouse.entries.has(key));
  if (known.length === 1 || (known.length === 0 && warehouse.entries.size > 0)) return []; // an unknown one is refused by its name
  const message = known.length === 0 ? "warehouse is empty (allowed: duckdb, postgres)" : "warehouse has both duckdb and postgres";
  const fix =
    known.length === 0 ? "add duckdb: { path: … } or postgres: { url: … }" : "keep one of them, and make a second sink for the other";
  return [issue("choose_one", warehouse.keyAt, ["warehouse"], { seen: known.length === 0 ? "nothing" : "both", allowed, message, fix })];
}

/** The first entry that takes a table counts: what one behind it says of the same tables, nobody would follow. */
function checkReached(document: Resolved): readonly ConfigIssue[] {
  const tables = valueAt(document.root, ["tables"]);
  if (tables?.kind !== "list") return [];
  const issues: ConfigIssue[] = [];
  const before: { readonly index: number; readonly pattern: TablePattern }[] = [];
  for (const [index, item] of tables.items.entries()) {
    const path: Path = item.kind === "map" ? ["tables", index, "table"] : ["tables", index];
    const pattern = parseTablePattern(textAt(document, path) ?? "");
    if ("problem" in pattern) continue;
    const taker = before.find((other) => takesAll(other.pattern, pattern));
    before.push({ index, pattern });
    if (taker === undefined || item.kind !== "map") continue;
    const said = sayingsOf(document, index);
    if (said === "{}" || said === sayingsOf(document, taker.index)) continue;
    const seen = seenOf(document, path);
    const message = `tables[${index}], of ${seen}, is never come to: tables[${taker.index}], ${JSON.stringify(taker.pattern.text)}, takes all of that before it`;
    const fix = `put it before tables[${taker.index}]`;
    issues.push(issue("invalid_value", placeOf(document.root, path), path, { seen, message, fix }));
  }
  return issues;
}

/** What an entry of `tables` says beside which tables it is of, as JSON. */
function sayingsOf({ plain }: Resolved, index: number): string {
  const entry: unknown = (plain as { readonly tables: readonly unknown[] }).tables[index];
  if (typeof entry !== "object" || entry === null) return "{}";
  const isSaid = ([key, value]: readonly [string, unknown]): boolean =>
    key !== "table" && !(typeof value === "object" && value !== null && Object.keys(value).length === 0);
  return JSON.stringify(Object.fromEntries(Object.entries(entry).filter(isSaid).sort()));
}

/** Two tables merged into one target would overwrite each other's rows. */
function checkTargets(sink: Resolved): readonly ConfigIssue[] {
  const tables = valueAt(sink.root, ["tables"]);
  if (tables?.kind !== "list") return [];
  const issues: ConfigIssue[] = [];
  const taken = new Map<string, number>();
  for (const index of tables.items.keys()) {
    const path: Path = ["tables", index, "into"];
    const into = textAt(sink, path);
    const template = into === null ? null : parseTargetTemplate(into);
    if (template === null || "problem" in template) continue;
    const { schema, table } = template;
    const refuse = (message: string, fix: string): void => {
      issues.push(issue("invalid_value", placeOf(sink.root, path), path, { seen: seenOf(sink, path), message, fix }));
    };
    if (schema === "_tailrace") refuse("schema _tailrace holds the checkpoints", "name another schema");
    const pattern = parseTablePattern(textAt(sink, ["tables", index, "table"]) ?? "");
    if (!("problem" in pattern)) {
      const name = `${schema}.${table}`;
      if (pattern.table.kind === "glob" && !name.includes("{table}"))
        refuse("several tables would go into one target", "put {table} into the name");
      else if (pattern.schema.kind === "glob" && !name.includes("{schema}"))
        refuse("tables of several schemas would go into one target", "put {schema} into the name");
    }
    const key = JSON.stringify([schema, table]);
    const before = taken.get(key);
    taken.set(key, before ?? index);
    if (before === undefined || /[{]/.test(schema + table)) continue;
    const message = `target ${seenOf(sink, path)} is taken by tables[${before}]`;
    issues.push(
      issue("duplicate_name", keyPlaceOf(sink.root, path), path, { seen: seenOf(sink, path), message, fix: "name another target" }),
    );
  }
  return issues;
}

function missingSource(sources: readonly Resolved[], dir: string): readonly ConfigIssue[] {
  if (sources.length > 0) return [];
  const at = { file: dir, line: 0, column: 0 };
  return [issue("no_source", at, [], { seen: "nothing", message: "no document of kind source", fix: "add one: kind: source" })];
}

function checkReference(sink: Resolved, sources: readonly Resolved[]): readonly ConfigIssue[] {
  const name = textAt(sink, ["source"]);
  const names = sources.flatMap((source) => textAt(source, ["name"]) ?? []);
  // A source whose name can't be read has a problem of its own, and may be the one that is meant.
  if (name === null || names.includes(name) || names.length < sources.length || sources.length === 0) return [];
  const nearest = nearestWord(name, names);
  const seen = seenOf(sink, ["source"]);
  const message = `no source is called ${seen}${spelling(nearest, names)}`;
  const fix = `write the name of a source: ${nearest ?? names.join(", ")}`;
  return [issue("no_such_source", placeOf(sink.root, ["source"]), ["source"], { seen, allowed: names, nearest, message, fix })];
}
