// The tables of a session with their encoders: registered and compiled at its start, and again when a RELATION message
// shows another shape.
import { TableEncoder } from "../avro/encoder.ts";
import { TailraceError } from "../core/errors.ts";
import type { Registered, SchemaRegistry } from "../core/schema-registry.ts";
import { compareSequence, type Sequence } from "../core/sequence.ts";
import { compositesOf, keyColumns, tableLabel, type Table } from "../core/table.ts";
import { version } from "../core/version.ts";
import { alteredComposite, shapesOf } from "../postgres/composites.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import { needsText } from "../postgres/types.ts";
import { countedOps, inWiderTypes, keylessPartition, sameShape, type CapturedTable, type Resolved } from "./captured-table.ts";
import type { Prepared, SourceMemory, SourceOptions, SourceParts } from "./parts.ts";
import type { Parking } from "./parking.ts";
import type { PartitionBuffer } from "./partition-buffers.ts";
import type { Interruptible, Refusals, VersionSnapshots } from "./refusals.ts";
import { RelationCatalog } from "./relation-catalog.ts";
import { ShapeLooks } from "./shape-looks.ts";
import { registerSchemas, schemaRefused, SchemasRefused, type SchemaIds } from "./table-schemas.ts";
import { higherTails, type Tail } from "./tails.ts";
import type { DataTopic } from "./topics.ts";
import type { Versioning } from "./versioning.ts";

type Refusal = { readonly difference: string; readonly words: string };

export class CapturedTables implements AsyncDisposable {
  readonly #options: SourceOptions;
  readonly #registry: SchemaRegistry;
  readonly #logger: SourceParts["logger"];
  readonly #memory: SourceMemory;
  readonly #prepared: Prepared;
  readonly #parking: Parking;
  readonly #versioning: Versioning;
  readonly #snapshots: VersionSnapshots | null;
  readonly #signal: AbortSignal;
  readonly #looks: ShapeLooks;
  readonly #catalog: RelationCatalog;
  readonly #tables: CapturedTable[] = [];
  /** By topic, what is being registered; never rejects. */
  readonly #registering = new Map<string, Promise<unknown>>();
  /** null: it has not begun. */
  #stream: Interruptible | null = null;

  /** `snapshots` null: none are made. */
  constructor(
    options: SourceOptions,
    parts: SourceParts,
    memory: SourceMemory,
    prepared: Prepared,
    { parking, versioning, snapshots }: Refusals,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#parking = parking;
    this.#versioning = versioning;
    this.#snapshots = snapshots;
    this.#registry = parts.registry;
    this.#logger = parts.logger;
    this.#memory = memory;
    this.#prepared = prepared;
    this.#signal = signal;
    this.#looks = new ShapeLooks(prepared.settings, parts.logger, signal);
    const { registry, logger } = parts;
    this.#catalog = new RelationCatalog({ options, session: prepared.session, registry, logger, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#looks[Symbol.asyncDispose]();
  }

  get all(): readonly CapturedTable[] {
    return this.#tables;
  }

  /** The stream's: from now on it can be made to wait. */
  interruptBy(stream: Interruptible): void {
    this.#stream = stream;
  }

  /**
   * Registers the table's schemas and compiles its encoder: before the first event that uses them. `parked`: the tails of its parked topic;
   * `letters`: the keys of its dead letters.
   */
  async add(
    table: Table,
    topic: DataTopic,
    own: readonly PartitionBuffer[],
    tails: readonly Tail[],
    parked: readonly Tail[] | null,
    letters: Set<string> | null,
  ): Promise<void> {
    const after = this.#versioning.after(table);
    const captured = {
      topic: topic.topic.name,
      own,
      buffers: own,
      moves: 0,
      watermarks: higherTails(tails, parked ?? []).map((watermark) => higher(watermark, after)),
      counter: this.#tables.length * countedOps.length,
      reading: {
        watched: false,
        passedBelow: 0n,
        shapesSeen: 0n,
        shapesUntold: this.#prepared.untold.get(table.oid) ?? 0n,
        letters,
        moves: 0,
      },
    };
    if (parked === null) {
      // R-version: rows of a former shape, for the topic of before, may be in the stream still.
      const isVersioned = this.#versioning.isFor(table);
      this.#tables.push(await (isVersioned ? this.#whereItMayBe(captured, table) : this.#shaped(captured, table, "present")));
    } else {
      const ends = parked.map(({ end }) => end);
      const ids = await this.#parking.register(table, captured.topic);
      const buffers = await this.#parking.open(captured, own, ends);
      this.#tables.push(this.#compiled({ ...captured, buffers }, table, ids));
    }
  }

  /** By its label; null when it is not captured. */
  find(label: string): CapturedTable | null {
    return this.#tables.find((captured) => captured.label === label) ?? null;
  }

  /** A captured table in the shape that a chunk of it has, which the stream may not have come to yet. Throws SCHEMA_REFUSED, TABLE_VERSIONED. */
  async inShape(table: Table, signal: AbortSignal): Promise<CapturedTable> {
    const captured = this.find(tableLabel(table));
    if (captured === null) throw new TailraceError("TABLE_MISSING", { table: tableLabel(table) });
    const { unregistered } = captured;
    if (unregistered === null && JSON.stringify(captured.table.columns) === JSON.stringify(table.columns)) return captured;
    if (this.#parking.find(table) !== null) return this.#shaped(captured, table, "present");
    try {
      const ids = await this.#register(table, captured.topic, "present");
      return this.#compiled(captured, table, ids);
    } catch (cause) {
      if (!(cause instanceof SchemasRefused)) throw cause;
      if (this.#isVersioned(table)) return this.#versionedByChunk(table, cause, signal);
      if (!this.#parking.isFor(table, captured.topic)) throw schemaRefused(this.#options.name, table, cause);
      await this.whileIdle(async () => {
        const now = this.find(captured.label);
        if (now !== null && this.#parking.find(table) === null) this.#replace(now, await this.#park(now, now.table, cause));
      });
      return this.#shaped(this.find(captured.label) ?? captured, table, "present");
    }
  }

  /** Does `work` while nothing of the stream is taken, between two of its transactions. What `work` throws ends the stream. */
  async whileIdle(work: () => Promise<void>): Promise<void> {
    this.#signal.throwIfAborted();
    const stream = this.#stream;
    if (stream === null) throw new TailraceError("UNEXPECTED", { reason: "there is no stream to interrupt" });
    await new Promise<void>((resolve, reject) => {
      stream.interrupt(async () => {
        try {
          await work();
          resolve();
        } catch (cause) {
          reject(TailraceError.from(cause));
          throw cause;
        }
      });
    });
  }

  /** R-park: from now on the table's events go to its own topic, as `ids` has them. */
  unparked(captured: CapturedTable, ids: SchemaIds): void {
    captured.reading.moves += 1;
    this.#replace(captured, this.#compiled({ ...captured, buffers: captured.own, moves: captured.reading.moves }, captured.table, ids));
  }

  /**
   * The table of a RELATION message; null when it is not captured, or its rows are passed over. `place`: of the first of them, in
   * transaction `xid` (32 bits).
   */
  resolve(relation: Relation, place: Sequence, xid: number): Resolved | Promise<Resolved> {
    const captured = this.#tables.find(({ table }) => table.schema === relation.schema && table.name === relation.name);
    if (captured === undefined) return this.#passOver(relation, xid);
    if (captured.unregistered !== null || !sameShape(captured.table, relation)) return this.#reshape(captured, relation, place, xid);
    if (relation.identity === "f" && (captured.keyIndexes.length > 0 || this.#parking.find(captured.table) !== null))
      return this.#keyed(captured, relation, place, xid);
    return this.#asBefore(captured, place);
  }

  #asBefore(captured: CapturedTable, place: Sequence): CapturedTable {
    if (this.#versioning.before(captured.table, place) === null) this.#versioning.reached(captured.table);
    return captured;
  }

  /** Under REPLICA IDENTITY FULL a RELATION calls every column part of the key: which are, only the catalog says. It comes again when they change. */
  async #keyed(captured: CapturedTable, relation: Relation, place: Sequence, xid: number): Promise<Resolved> {
    await this.#catalog.seen(xid, captured.label);
    const now = await this.#catalog.table(relation);
    const isSame = now === null || keyNames(now) === keyNames(captured.table);
    return isSame ? this.#asBefore(captured, place) : this.#reshape(captured, relation, place, xid);
  }

  /** R-version: whether a parked table may go on as its next version, for `refusal`. */
  mayVersion(table: Table, refusal: SchemasRefused): boolean {
    return this.#versioning.isFor(table) && this.#snapshots !== null && !refusal.isForAll;
  }

  /**
   * Ends the table's parking by its next version, once the stream has come to what is committed by now: rows of a former shape would come behind
   * its beginning else. Throws TABLE_VERSIONED, which ends the stream; and what Versioning.next() throws, which does not.
   */
  async beginVersion(captured: CapturedTable, refusal: SchemasRefused, signal: AbortSignal): Promise<void> {
    await this.#versioning.next(captured.table);
    await this.#snapshots?.passed(signal);
    await this.whileIdle(async () => {
      const now = this.find(captured.label);
      if (now !== null) await this.#versioning.begin(now, refusal, this.#place, { parked: this.#parking.without(now.table) });
    });
  }

  /** R-version: parked before, it stays so until it is unparked. */
  #isVersioned(table: Table): boolean {
    return this.#versioning.isFor(table) && this.#parking.find(table) === null;
  }

  /**
   * R-version: a chunk has a shape that is refused. An ALTER TABLE waits for all who have written rows of the former one: a mark that is
   * written after it has been seen has them before it. Throws TABLE_VERSIONED.
   */
  async #versionedByChunk(table: Table, refusal: Refusal, signal: AbortSignal): Promise<CapturedTable> {
    const [snapshots, label] = [this.#snapshots, tableLabel(table)];
    if (snapshots === null) throw new TailraceError("UNEXPECTED", { reason: "this source makes no snapshots" });
    await snapshots.passed(signal);
    await this.whileIdle(async () => {
      const now = this.find(label);
      if (now !== null) await this.#versioning.begin(now, refusal, this.#place);
    });
    throw new TailraceError("TABLE_MISSING", { table: label });
  }

  get #place(): Sequence {
    if (this.#stream === null) throw new TailraceError("UNEXPECTED", { reason: "there is no stream yet" });
    return this.#stream.place;
  }

  /**
   * As #shaped(), of the shape that the table has as the session begins. What is refused is said when rows come that have it; and the first
   * schema of a version is that of its first row or chunk: the catalog may be further, and would have those in between refused.
   */
  async #whereItMayBe(captured: Uncompiled, table: Table): Promise<CapturedTable> {
    const isFirst = async (): Promise<boolean> => (await this.#registry.latest(`${captured.topic}-value`, this.#signal)) === null;
    if (this.#versioning.find(table) !== null && (await isFirst()))
      return { ...this.#compiled(captured, table, NO_IDS), unregistered: "later" };
    try {
      const ids = await this.#register(table, captured.topic, "present");
      return this.#compiled(captured, table, ids);
    } catch (cause) {
      if (!(cause instanceof SchemasRefused)) throw cause;
      return { ...this.#compiled(captured, table, NO_IDS), unregistered: cause };
    }
  }

  /** R-version: rows that its topic can't have, for `cause`: what they came to is in a snapshot of the version. */
  #before(captured: CapturedTable, cause: TailraceError): null {
    this.#snapshots?.request(captured.table, "rows of before its version came again");
    this.#logger.warn(
      { table: captured.label, reason: cause.message },
      "rows of before the table's version are passed over: it is read again",
    );
    return null;
  }

  /**
   * Holds the composites of all tables against the catalogs, at the first row behind the last look. Throws STREAM_LOST when one was
   * altered: the next session begins with its new shape.
   */
  async lookAtShapes(): Promise<void> {
    const tables = this.#tables.filter(({ composites }) => composites.length > 0);
    const known = tables.map(({ table }) => shapesOf(table));
    const look = await this.#looks.look([...new Set(known.flat().map(([oid]) => oid))]);
    for (const [index, { label, reading }] of tables.entries()) {
      // Of one that is gone no row can be written any more; those of before have the shape that it had.
      const altered = alteredComposite(known[index]!, look.shapes);
      if (altered !== null) throw shapeLost(label, altered);
      reading.shapesSeen = look.lsn;
    }
  }

  /** Rows of a published table that is not captured. One that was selected is named once: it was dropped, or made after the start. */
  #passOver(relation: Relation, xid: number): null | Promise<null> {
    const { matches, named } = this.#options.selection;
    const label = tableLabel(relation);
    const isSelected = matches(relation.schema, relation.name) || named.some((table) => tableLabel(table) === label);
    if (!isSelected || this.#memory.said.has(label)) return null;
    this.#memory.said.add(label);
    return this.#namePassedOver(relation, xid);
  }

  async #namePassedOver(relation: Relation, xid: number): Promise<null> {
    await this.#catalog.seen(xid, tableLabel(relation));
    const exists = await this.#catalog.exists(relation);
    const why = exists
      ? "the table was not there when the source started: its rows are passed over until a new session captures it"
      : "the table was dropped: its rows that were not read before are passed over, and are not in the log";
    this.#logger.warn({ table: tableLabel(relation) }, why);
    return null;
  }

  /** The table in another shape, its schemas registered; parked when they are refused. Nothing of the stream may be taken meanwhile. */
  async #shaped(captured: Uncompiled, table: Table, what: Registered, now = table): Promise<CapturedTable> {
    // As the catalog has it: its schema may be registered already, and one of narrower types would then be refused.
    const wide = inWiderTypes(table, now);
    if (this.#parking.find(table) !== null) {
      const ids = await this.#parking.register(wide, captured.topic);
      return this.#compiled(captured, table, ids);
    }
    try {
      const ids = await this.#register(wide, captured.topic, what);
      return this.#compiled(captured, table, ids);
    } catch (cause) {
      if (!(cause instanceof SchemasRefused) || this.#isVersioned(table)) throw cause;
      if (!this.#parking.isFor(table, captured.topic)) throw schemaRefused(this.#options.name, table, cause);
      return this.#park(captured, table, cause, wide);
    }
  }

  async #park(captured: Uncompiled, table: Table, refusal: SchemasRefused, wide = table): Promise<CapturedTable> {
    const { buffers, ids } = await this.#parking.park(captured, wide, refusal);
    captured.reading.moves += 1;
    return this.#compiled({ ...captured, buffers, moves: captured.reading.moves }, table, ids);
  }

  /** One after the other: a registry that is given a subject's first schema twice at a time refuses one of them (seen with Apicurio). */
  async #register(table: Table, topic: string, what: Registered): Promise<SchemaIds> {
    const before = this.#registering.get(topic) ?? Promise.resolve();
    const ids = before.then(async () => registerSchemas(this.#registry, table, topic, { what }, this.#signal));
    this.#registering.set(
      topic,
      ids.catch(() => undefined),
    );
    return ids;
  }

  #replace(captured: CapturedTable, by: CapturedTable): void {
    this.#tables[this.#tables.indexOf(captured)] = by;
  }

  #compiled(captured: Uncompiled, table: Table, ids: SchemaIds): CapturedTable {
    const constants = { version, connector: this.#options.name, database: this.#prepared.facts.database };
    return {
      ...captured,
      table,
      label: tableLabel(table),
      encoder: new TableEncoder({ table, keySchemaId: ids.key, valueSchemaId: ids.value, constants }),
      keyIndexes: keyColumns(table).map((column) => table.columns.indexOf(column)),
      keylessPartition: keylessPartition(table, captured.own.length),
      composites: table.columns.flatMap(({ type }, index) => (compositesOf(type).length > 0 ? [index] : [])),
      transaction: -1n,
      unregistered: null,
    };
  }

  /**
   * The table under another shape than the one known so far. After a restart it may be an older one: the stream delivers
   * rows of before an ALTER TABLE whose outcome is all that the catalog shows.
   */
  async #reshape(captured: CapturedTable, relation: Relation, place: Sequence, xid: number): Promise<Resolved> {
    const upTo = this.#versioning.before(captured.table, place);
    if (upTo !== null) return { upTo };
    await this.#catalog.seen(xid, captured.label);
    const now = await this.#catalog.table(relation);
    // R-publication: of the table that had the name before. The one of now is read from its beginning.
    if (now === null && relation.oid !== captured.table.oid && !(await this.#catalog.exists(relation)))
      return this.#namePassedOver(relation, xid);
    const types = await this.#catalog.types(relation);
    const table = now === null ? null : await this.#catalog.shape(relation, now, types, captured.topic, !this.#isVersioned(now));
    if (now === null || table === null) {
      const unknown = relation.columns.find((_, index) => types[index] === null);
      const why = unknown === undefined ? difference(relation, captured.table, now) : `the type of its column ${unknown.name} was dropped`;
      const error = new TailraceError("SCHEMA_CHANGED", { table: captured.label, difference: why });
      if (!this.#isVersioned(captured.table) || now === null || !this.#isVersioned(now) || this.#snapshots === null) throw error;
      if (this.#versioning.isOfBefore(captured.table)) return this.#before(captured, error);
      return this.#versioning.begin(captured, { difference: why, words: "its rows can't be written as the topic has them" }, place);
    }
    const column = [...table.columns, ...now.columns].find((each) => needsText([each]));
    if (this.#prepared.binary && column !== undefined) {
      this.#memory.text = true;
      const reason = `column ${captured.label}.${column.name} has a type that is read as text: the stream starts anew`;
      throw new TailraceError("STREAM_LOST", { reason });
    }
    const altered = alteredComposite(shapesOf(captured.table), shapesOf(table));
    if (altered !== null) throw shapeLost(captured.label, altered);
    captured.reading.shapesSeen = 0n; // of a composite that it did not have before
    const what = sameShape(now, relation) ? "present" : "past";
    // It would be the version's first schema, and refuse the one of now.
    if (keyNames(table) !== keyNames(now) && this.#snapshots !== null && this.#versioning.isOfBefore(table))
      return this.#before(
        captured,
        new TailraceError("SCHEMA_CHANGED", { table: captured.label, difference: difference(relation, table, now) }),
      );
    const reshaped = await this.#shaped(captured, table, what, now).catch((cause: unknown) => {
      if (cause instanceof SchemasRefused) return cause;
      throw cause;
    });
    if (reshaped instanceof SchemasRefused) {
      if (what === "past" && this.#snapshots !== null && this.#versioning.isOfBefore(table))
        return this.#before(captured, schemaRefused(this.#options.name, table, reshaped));
      return this.#versioning.begin(captured, reshaped, place);
    }
    this.#versioning.reached(table);
    this.#replace(captured, reshaped);
    const columns = table.columns.map(({ name }) => name);
    this.#logger.warn({ table: captured.label, columns }, "the table's columns changed");
    return reshaped;
  }
}

/** What is compiled of a table's shape. */
type Compiled = Pick<
  CapturedTable,
  "table" | "label" | "encoder" | "keyIndexes" | "keylessPartition" | "composites" | "transaction" | "unregistered"
>;
type Uncompiled = Omit<CapturedTable, keyof Compiled>;

/** Of a table whose schema is refused: nothing is written with them. */
const NO_IDS: SchemaIds = { key: -1, value: -1 };

function higher(a: Sequence | null, b: Sequence | null): Sequence | null {
  if (a === null || b === null) return a ?? b;
  return compareSequence(a, b) >= 0 ? a : b;
}

function shapeLost(table: string, type: string): TailraceError {
  return new TailraceError("STREAM_LOST", { reason: `composite type ${type} of table ${table} was altered: the stream starts anew` });
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
