// The connectors of a service: begun together, paused, resumed, dropped and exchanged one by one, ended together. What an
// operator asks for is done in the order in which it was asked.
import type { LoadedConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { deadline } from "../core/deadline.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog } from "../core/event-log.ts";
import type { Log } from "../core/log.ts";
import type { SchemaRegistry } from "../core/schema-registry.ts";
import { pause } from "../core/pause.ts";
import { readState } from "../core/source-state.ts";
import { tableLabel, type TableName } from "../core/table.ts";
import { version } from "../core/version.ts";
import type { SourceControl } from "../source/control.ts";
import type { FlushReport } from "../sink/parts.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { Connector } from "./connector.ts";
import { dropSink, dropSource, type Dropped } from "./drop.ts";
import { findLetter, listLetters, type Letter, type WholeLetter } from "./letters.ts";
import { findConnector, findTables } from "./names.ts";
import type { Pauses } from "./pauses.ts";
import { compareConfigs, type Changes } from "./reload.ts";
import { SinkDrive } from "./sink-drive.ts";
import { SourceDrive } from "./source-drive.ts";
import { isReady, type ServiceStatus, type SourceStatus } from "./status.ts";

export type FleetParts = {
  readonly log: EventLog;
  readonly registry: SchemaRegistry;
  readonly logger: Log;
  readonly metrics: Metrics;
  readonly pauses: Pauses;
  readonly onFlush: (sink: string, report: FlushReport) => void;
  /** Reads the configuration again. Throws ConfigError. */
  readonly reload: () => Promise<LoadedConfig>;
};

/** How long one connector's graceful end may take before it is forced, ms. */
const END_MS = 8_500;
/** How long an answer may wait for a table to be unparked, which then goes on, ms: less than a command waits for its answer. */
const UNPARK_MS = 90_000;
/** How long names of tables may be looked for, ms. */
const LOOK_MS = 5_000;
/** How long dead letters may be read, and a warehouse that others hold waited for, ms. */
const LETTERS_MS = 60_000;

type Source = {
  readonly kind: "source";
  readonly name: string;
  readonly config: SourceConfig;
  readonly connector: Connector;
  readonly drive: SourceDrive;
};
type Sink = {
  readonly kind: "sink";
  readonly name: string;
  readonly config: SinkConfig;
  readonly source: SourceConfig;
  readonly connector: Connector;
  readonly drive: SinkDrive;
};
type Member = Source | Sink;

/** What pause() and resume() have done. `note`: what follows from it. */
export type Paused = { readonly connector: string; readonly tables: readonly string[]; readonly state: string; readonly note: string };

/** What unpark() has done. */
export type Unparked = {
  readonly source: string;
  readonly tables: readonly UnparkedTable[];
  /** Labels of those that were not come to: a version that began has ended the session that was asked. */
  readonly left: readonly string[];
};
/** `records`: drained; null: none were, since the table goes on as its next version, or they are being drained, and status says when it is parked no longer. */
type UnparkedTable = { readonly table: string; readonly records: number | null; readonly versioned: boolean };

export class Fleet {
  readonly #parts: FleetParts;
  #config: LoadedConfig;
  #members: readonly Member[];
  readonly #ending = new AbortController();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(config: LoadedConfig, parts: FleetParts) {
    this.#parts = parts;
    this.#config = config;
    this.#members = membersOf(config).map((one) => this.#make(one, config));
  }

  /** Starts what is not paused. */
  begin(): void {
    for (const member of this.#members) this.#start(member);
  }

  /** Ends everything gracefully, by force after `forceAfterMs`. */
  async stop(forceAfterMs: number): Promise<void> {
    this.#ending.abort();
    // Not in the queue's order: what stands in it ends early, and finds nothing that it could start.
    await Promise.all(this.#members.map(async ({ connector }) => connector.end("stopped", forceAfterMs)));
    await this.#queue;
    await Promise.all(this.#members.map(async ({ connector }) => connector.close()));
  }

  status(): ServiceStatus {
    const sources = this.#members.flatMap((member) => (member.kind === "source" ? [member.drive.status] : []));
    const sinks = this.#members.flatMap((member) => (member.kind === "sink" ? [member.drive.status] : []));
    return { version, sources, sinks };
  }

  /** What does not do its work now, and why. */
  notReady(): { name: string; state: string; code?: string; reason?: string }[] {
    const { sources, sinks } = this.status();
    return [...sources, ...sinks]
      .filter((view) => !isReady(view))
      .map(({ name, state, error }) => {
        return { name, state, ...(error === null ? {} : { code: String(error.code), reason: String(error.message) }) };
      });
  }

  /** Asks for a snapshot of the tables that the pattern takes; durable when it resolves. Throws USAGE, SOURCE_NOT_STREAMING, and what the source throws. */
  async snapshot(
    name: string,
    pattern: string,
    where: string | null,
  ): Promise<{ readonly source: string; readonly tables: readonly string[] }> {
    const source = findConnector(this.#members, name, "source") as Source;
    if (source.config.snapshot.mode === "no_data")
      throw new TailraceError("USAGE", {
        problem: `source ${name} makes no snapshots: its snapshot.mode is no_data (initial and when_needed do)`,
      });
    const tables = await this.#tablesOf(source, pattern);
    if (where !== null && tables.length > 1)
      throw new TailraceError("USAGE", { problem: `--where is for one table, and ${pattern} takes ${tables.length}` });
    await controlOf(source).requestSnapshot(
      tables.map((table) => ({ table, where })),
      "an operator asked for it",
    );
    return { source: name, tables: tables.map(tableLabel) };
  }

  /** Unparks the parked tables that the pattern takes, one after the other; `records`: what was drained. Throws USAGE, SOURCE_NOT_STREAMING, STILL_REFUSED. */
  async unpark(name: string, pattern: string): Promise<Unparked> {
    const source = findConnector(this.#members, name, "source") as Source;
    const all = await this.#tablesOf(source, pattern);
    const labels = source.drive.status.parked.map(({ table }) => table);
    const tables = all.filter((table) => labels.includes(tableLabel(table)));
    const control = controlOf(source);
    if (tables.length === 0) throw new TailraceError("USAGE", { problem: notParked(name, pattern, source.drive.status, all) });
    const unparked: UnparkedTable[] = [];
    const answered = new AbortController();
    const late = pause(UNPARK_MS, answered.signal).then(() => null);
    for (const table of tables) {
      const drained = control.unpark(table);
      const done = await Promise.race([drained, late]).catch((cause: unknown) => {
        answered.abort();
        throw cause;
      });
      if (done === null)
        drained.catch((cause: unknown) => this.#parts.logger.warn(TailraceError.from(cause).toJSON(), "unpark was given up"));
      const versioned = done === "versioned";
      unparked.push({ table: tableLabel(table), records: versioned ? null : done, versioned });
      if (versioned) break;
    }
    answered.abort();
    return { source: name, tables: unparked, left: tables.slice(unparked.length).map(tableLabel) };
  }

  /** The whole connector, or those of its tables that the pattern takes. Durable, and done, when it resolves. Throws USAGE, PAUSES_UNREADABLE. */
  async pause(name: string, pattern: string | null): Promise<Paused> {
    return this.#inTurn(async () => {
      const member = this.#undropped(name);
      if (pattern !== null) return this.#setTables(member, pattern, true);
      await this.#parts.pauses.setWhole(name, true);
      await member.connector.end("paused", END_MS);
      const note =
        member.kind === "source"
          ? `slot ${member.config.postgres.slot} keeps WAL until it is resumed: watch the disk of the database`
          : "the log keeps what it will merge, as long as the log's retention lasts";
      return { connector: name, tables: [], state: member.connector.state, note };
    });
  }

  /** Undoes pause(); also starts a connector that stopped for an error. Throws as pause(). */
  async resume(name: string, pattern: string | null): Promise<Paused> {
    return this.#inTurn(async () => {
      const member = this.#undropped(name);
      if (pattern !== null) return this.#setTables(member, pattern, false);
      await this.#parts.pauses.setWhole(name, false);
      this.#start(member);
      return { connector: name, tables: [], state: member.connector.state, note: "it goes on where it stood" };
    });
  }

  /** Ends the connector and drops what it has outside (drop.ts). It stays as `dropped`. Throws USAGE. */
  async drop(name: string, foreignToo: boolean): Promise<Dropped> {
    return this.#inTurn(async () => {
      const member = findConnector(this.#members, name);
      await member.connector.end("dropped", END_MS);
      const { log } = this.#parts;
      const { signal } = this.#ending;
      const result =
        member.kind === "source" ? await dropSource(member.config, log, { foreignToo }, signal) : await dropSink(member.config, signal);
      await this.#parts.pauses.forget(name);
      this.#parts.logger.warn({ connector: name, ...result }, "dropped");
      return result;
    });
  }

  /** The dead letters of a connector, or the one of an id, whole. Changes nothing, and so waits for no turn. Throws USAGE, and as listLetters(). */
  async letters(name: string, id: string | null): Promise<{ readonly letters: readonly Letter[] } | WholeLetter> {
    const { config } = findConnector(this.#members, name);
    using bound = deadline(LETTERS_MS, this.#ending.signal);
    if (id !== null) return await findLetter(config, id, this.#parts, bound.signal);
    return { letters: await listLetters(config, this.#parts, bound.signal) };
  }

  /** Takes the configuration up as it is now: what is the same is not touched. Throws ConfigError, and then nothing has changed. */
  async reload(): Promise<Changes> {
    return this.#inTurn(async () => {
      const config = await this.#parts.reload();
      const changes = compareConfigs(this.#config, config);
      const { removed, changed, unchanged, serviceChanged } = changes;
      const gone = this.#members.filter(({ name }) => !unchanged.includes(name));
      await Promise.all(
        gone.map(async ({ connector }) => {
          await connector.end("stopped", END_MS);
          await connector.close();
        }),
      );
      const kept = new Map(this.#members.filter((member) => !gone.includes(member)).map((member) => [member.name, member]));
      this.#members = membersOf(config).map((one) => kept.get(one.name) ?? this.#make(one, config));
      for (const name of removed) await this.#parts.pauses.forget(name);
      for (const member of this.#members) if (!kept.has(member.name)) this.#start(member);
      // Compared with what runs: `kind: service` stays as it was at the start.
      this.#config = { ...config, service: this.#config.service };
      this.#parts.logger.info({ ...changes }, `configuration read again: ${changed.length} connector(s) changed`);
      if (serviceChanged) this.#parts.logger.warn({}, "what kind: service says has changed, and is taken up by a restart only");
      return changes;
    });
  }

  #undropped(name: string): Member {
    const member = findConnector(this.#members, name);
    if (member.connector.state !== "dropped") return member;
    throw new TailraceError("USAGE", { problem: `${name} was dropped: change its configuration and reload, or start the service again` });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(async () => {
      if (this.#ending.signal.aborted) throw new TailraceError("SERVICE_ABSENT", { dir: this.#config.dir, reason: "it is stopping" });
      return work();
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Unless it is paused, or everything is about to end. */
  #start({ name, connector }: Member): void {
    if (this.#ending.signal.aborted) return;
    if (this.#parts.pauses.isPaused(name)) void connector.end("paused", 0);
    else connector.start();
  }

  async #setTables(member: Member, pattern: string, paused: boolean): Promise<Paused> {
    const { name, connector } = member;
    const tables = (await this.#tablesOf(member, pattern)).map(tableLabel);
    await this.#parts.pauses.setTables(name, tables, paused);
    // A sink chooses its partitions when it begins.
    if (member.kind === "sink" && ["starting", "running", "waiting"].includes(connector.state)) {
      await connector.end("stopped", END_MS);
      this.#start(member);
    }
    const held = member.kind === "source" ? "their snapshots wait; their changes go on" : "their events stay in the log";
    return { connector: name, tables, state: connector.state, note: paused ? held : "they go on where they stood" };
  }

  /** The tables of the member's source that the pattern takes. Throws USAGE, LOG_UNREACHABLE. */
  async #tablesOf(member: Member, pattern: string): Promise<readonly TableName[]> {
    const source = member.kind === "source" ? member.config : member.source;
    using bound = deadline(LOOK_MS, this.#ending.signal);
    const state = await readState(this.#parts.log, source.topics.prefix, bound.signal);
    const tables = state?.topics.map(({ table }) => table) ?? [];
    return findTables(tables, pattern, source.name);
  }

  /** What a sink asks of its source, as it stands now: false when it makes no snapshots. */
  async #requestFor(name: string, tables: readonly TableName[], reason: string): Promise<boolean> {
    const source = findConnector(this.#members, name, "source") as Source;
    if (source.config.snapshot.mode === "no_data") return false;
    await controlOf(source).requestSnapshot(
      tables.map((table) => ({ table, where: null })),
      reason,
    );
    return true;
  }

  #make(config: SourceConfig | SinkConfig, { sources }: LoadedConfig): Member {
    const { name } = config;
    const { log, registry, metrics, pauses } = this.#parts;
    const logger = this.#parts.logger.child({ connector: name });
    const parts = { log, registry, metrics, logger, pausedTables: () => pauses.tables(name) };
    if (config.kind === "source") {
      const drive = new SourceDrive(config, parts);
      return { kind: "source", name, config, drive, connector: new Connector(name, logger, drive) };
    }
    const source = sources.find((candidate) => candidate.name === config.source);
    if (source === undefined) throw new TailraceError("UNEXPECTED", { reason: `sink ${name} has no source` }); // the configuration's check has refused it
    const drive = new SinkDrive(config, source, {
      ...parts,
      requestSnapshot: async (tables, reason) => this.#requestFor(source.name, tables, `sink ${name}: ${reason}`),
      onFlush: (report) => this.#parts.onFlush(name, report),
    });
    return { kind: "sink", name, config, source, drive, connector: new Connector(name, logger, drive) };
  }
}

function notParked(name: string, pattern: string, { versions }: Pick<SourceStatus, "versions">, tables: readonly TableName[]): string {
  const versioned = versions.filter(({ table }) => tables.some((each) => tableLabel(each) === table));
  const topics = versioned.map(({ table, topic }) => `the events of ${table} go to ${topic} (schema_changes.incompatible: version)`);
  return [`no table that ${pattern} takes is parked in source ${name}`, ...topics].join("; ");
}

/** Throws SOURCE_NOT_STREAMING. */
function controlOf({ name, drive, connector }: Source): SourceControl {
  if (drive.control !== null) return drive.control;
  throw new TailraceError("SOURCE_NOT_STREAMING", { source: name, state: connector.state });
}

function membersOf({ sources, sinks }: LoadedConfig): readonly (SourceConfig | SinkConfig)[] {
  return [...sources, ...sinks];
}
