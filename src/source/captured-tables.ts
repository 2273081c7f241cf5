// The tables of a session with their encoders: registered and compiled at its start, and again when a RELATION message
// shows another shape.
import { TableEncoder } from "../avro/encoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { Registered, SchemaRegistry } from "../core/schema-registry.ts";
import { keyColumns, tableLabel, type Table } from "../core/table.ts";
import { version } from "../core/version.ts";
import { describeTable, describeTypes, relationExists } from "../postgres/catalog.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import { needsText } from "../postgres/types.ts";
import { countedOps, inShapeOf, inWiderTypes, keylessPartition, sameShape, type CapturedTable } from "./captured-table.ts";
import type { Prepared, SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import type { PartitionBuffer } from "./publisher.ts";
import { registerSchemas, schemaRefused, SchemasRefused } from "./table-schemas.ts";
import type { Tail } from "./tails.ts";
import type { DataTopic } from "./topics.ts";

export class CapturedTables {
  readonly #options: SourceOptions;
  readonly #registry: SchemaRegistry;
  readonly #logger: SourceParts["logger"];
  readonly #memory: SourceMemory;
  readonly #prepared: Prepared;
  readonly #signal: AbortSignal;
  readonly #tables: CapturedTable[] = [];

  constructor(options: SourceOptions, parts: SourceParts, memory: SourceMemory, prepared: Prepared, signal: AbortSignal) {
    this.#options = options;
    this.#registry = parts.registry;
    this.#logger = parts.logger;
    this.#memory = memory;
    this.#prepared = prepared;
    this.#signal = signal;
  }

  get all(): readonly CapturedTable[] {
    return this.#tables;
  }

  /** Registers the table's schemas and compiles its encoder: before the first event that uses them. */
  async add(table: Table, topic: DataTopic, buffers: readonly PartitionBuffer[], tails: readonly Tail[]): Promise<void> {
    this.#tables.push({
      ...(await this.#compile(table, topic.topic.name)),
      buffers,
      watermarks: tails.map(({ watermark }) => watermark),
      keylessPartition: keylessPartition(table, topic.topic.partitions),
      counter: this.#tables.length * countedOps.length,
      reading: { watched: false, passedBelow: 0n },
    });
  }

  /** By its label; null when it is not captured. */
  find(label: string): CapturedTable | null {
    return this.#tables.find((captured) => captured.label === label) ?? null;
  }

  /**
   * A captured table in the shape that a chunk of it has, which the stream may not have come to yet. Throws SCHEMA_CHANGED
   * when its key is another.
   */
  async inShape(table: Table): Promise<CapturedTable> {
    const captured = this.find(tableLabel(table));
    if (captured === null) throw new TailraceError("TABLE_MISSING", { table: tableLabel(table) });
    if (JSON.stringify(captured.table.columns) === JSON.stringify(table.columns)) return captured;
    if (keyNames(table) !== keyNames(captured.table))
      throw new TailraceError("SCHEMA_CHANGED", {
        table: captured.label,
        difference: `its key was (${keyNames(captured.table)}) and is (${keyNames(table)})`,
      });
    return { ...captured, ...(await this.#compile(table, captured.buffers[0]?.topic ?? "")) };
  }

  /** The table of a RELATION message; null when it is not captured. */
  resolve(relation: Relation): CapturedTable | null | Promise<CapturedTable | null> {
    const captured = this.#tables.find(({ table }) => table.schema === relation.schema && table.name === relation.name);
    if (captured === undefined) return this.#passOver(relation);
    return sameShape(captured.table, relation) ? captured : this.#reshape(captured, relation);
  }

  /** Rows of a published table that is not captured. One that was selected is named once: it was dropped, or made after the start. */
  #passOver(relation: Relation): null | Promise<null> {
    const { matches, named } = this.#options.selection;
    const label = tableLabel(relation);
    const isSelected = matches(relation.schema, relation.name) || named.some((table) => tableLabel(table) === label);
    if (!isSelected || this.#memory.said.has(label)) return null;
    this.#memory.said.add(label);
    return this.#namePassedOver(relation);
  }

  async #namePassedOver(relation: Relation): Promise<null> {
    const exists = await relationExists(this.#prepared.session, relation.oid);
    const why = exists
      ? "the table was not there when the source started: its rows are passed over until a new session captures it"
      : "the table was dropped: its rows that were not read before are passed over, and are not in the log";
    this.#logger.warn({ table: tableLabel(relation) }, why);
    return null;
  }

  /** `now`: as the catalog has it; its schema may be registered already, and one of narrower types would then be refused. */
  async #compile(
    table: Table,
    topic: string,
    now = table,
    what: Registered = "present",
  ): Promise<Pick<CapturedTable, "table" | "label" | "encoder" | "keyIndexes" | "transaction">> {
    const registered = registerSchemas(this.#registry, inWiderTypes(table, now), topic, { what }, this.#signal);
    const ids = await registered.catch((cause: unknown) => {
      throw cause instanceof SchemasRefused ? schemaRefused(this.#options.name, table, cause) : cause;
    });
    const constants = { version, connector: this.#options.name, database: this.#prepared.facts.database };
    const encoder = new TableEncoder({ table, keySchemaId: ids.key, valueSchemaId: ids.value, constants });
    const keyIndexes = keyColumns(table).map((column) => table.columns.indexOf(column));
    return { table, label: tableLabel(table), encoder, keyIndexes, transaction: -1n };
  }

  /**
   * The table under another shape than the one known so far. After a restart it may be an older one: the stream delivers
   * rows of before an ALTER TABLE whose outcome is all that the catalog shows.
   */
  async #reshape(captured: CapturedTable, relation: Relation): Promise<CapturedTable> {
    const now = await describeTable(this.#prepared.session, relation.oid, this.#options.publication);
    const types = await describeTypes(this.#prepared.session, relation.columns);
    const table = now === null ? null : inShapeOf(relation, now, types);
    if (now === null || table === null || keyNames(table) !== keyNames(captured.table)) {
      const unknown = relation.columns.find((_, index) => types[index] === null);
      const why = unknown === undefined ? difference(relation, captured.table, now) : `the type of its column ${unknown.name} was dropped`;
      throw new TailraceError("SCHEMA_CHANGED", { table: captured.label, difference: why });
    }
    const column = [...table.columns, ...now.columns].find((each) => needsText([each]));
    if (this.#prepared.binary && column !== undefined) {
      this.#memory.text = true;
      const reason = `column ${captured.label}.${column.name} has a type that is read as text: the stream starts anew`;
      throw new TailraceError("STREAM_LOST", { reason });
    }
    const what = sameShape(now, relation) ? "present" : "past";
    const reshaped: CapturedTable = { ...captured, ...(await this.#compile(table, captured.buffers[0]?.topic ?? "", now, what)) };
    this.#tables[this.#tables.indexOf(captured)] = reshaped;
    const columns = table.columns.map(({ name }) => name);
    this.#logger.warn({ table: captured.label, columns }, "the table's columns changed");
    return reshaped;
  }
}

function keyNames(table: Table): string {
  return keyColumns(table)
    .map(({ name }) => name)
    .join(", ");
}

function difference(relation: Relation, known: Table, now: Table | null): string {
  if (now !== null && keyNames(now) !== keyNames(known)) return `its key was (${keyNames(known)}) and is (${keyNames(now)})`;
  const has = relation.columns.map(({ name }) => name).join(", ");
  return `its rows have columns ${has}, the catalog says ${now === null ? "that it is gone or can't be captured any more" : now.columns.map(({ name }) => name).join(", ")}`;
}
