// What the behaviour tests share: a configuration of any connectors in a folder of its own, the commands run on it as a user
// runs them, and how its connectors stand.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { vi } from "vitest";
import { freePort } from "../../src/quickstart/free-port.ts";
import type { SinkStatus, SourceStatus } from "../../src/service/status.ts";
import { build, tailrace, type Ended } from "../support/command.ts";
import { ServiceProcess, type LogLine } from "../support/service-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** A document of the configuration; written as JSON, which YAML takes. */
export type Document = Readonly<Record<string, unknown>>;

/** What a busy machine with two cores needs for a start, a recovery with backoff, or a flush behind a reader's lock, ms. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

export class Scene extends ServiceProcess {
  readonly #port: number;

  private constructor(folder: string, port: number) {
    super(folder);
    this.#port = port;
  }

  static async open(): Promise<Scene> {
    await build();
    return new Scene(await temporaryFolder("scene"), await freePort());
  }

  /** Replaces the configuration. A service document gets the scene's HTTP address; without one the log is embedded. */
  async configure(...documents: readonly Document[]): Promise<void> {
    const service = documents.find(({ kind }) => kind === "service") ?? { kind: "service" };
    const all = [{ ...service, http: { listen: `127.0.0.1:${this.#port}` } }, ...documents.filter(({ kind }) => kind !== "service")];
    await writeFile(path.join(this.folder, "tailrace.yaml"), all.map((document) => JSON.stringify(document, null, 2)).join("\n---\n"));
  }

  /** `tailrace COMMAND FOLDER …`, or `tailrace COMMAND PART FOLDER …`, to its end. */
  async command(
    command: string,
    options: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
    part?: string,
  ): Promise<Ended> {
    return tailrace([command, ...(part === undefined ? [] : [part]), this.folder, ...options], environment);
  }

  /** Starts `run`; resolves when its HTTP server listens. */
  async start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    this.launch(environment);
    await this.listening();
  }

  async source(name: string): Promise<SourceStatus> {
    return found((await this.status()).sources, name);
  }

  async sink(name: string): Promise<SinkStatus> {
    return found((await this.status()).sinks, name);
  }

  /** Waits until the connectors stand so: `running`, or `waiting CODE`, or `stopped CODE`. */
  async reaches(expected: Readonly<Record<string, string>>): Promise<void> {
    await until(async () => {
      const { sources, sinks } = await this.status();
      for (const [name, state] of Object.entries(expected)) {
        const one = found<SourceStatus | SinkStatus>([...sources, ...sinks], name);
        const seen = one.error === null ? one.state : `${one.state} ${String(one.error.code)}`;
        const why = one.error === null ? one.phase : String(one.error.message);
        if (seen !== state) throw new Error(`${name} is ${seen}, not ${state}: ${why}\n${this.tail()}`);
      }
    });
  }

  /** The error that a connector waits or is stopped for. */
  async errorOf(name: string): Promise<{ readonly code: string; readonly message: string; readonly remedy: string }> {
    const { sources, sinks } = await this.status();
    const { error } = found<SourceStatus | SinkStatus>([...sources, ...sinks], name);
    if (error === null) throw new Error(`${name} has no error`);
    return { code: String(error.code), message: String(error.message), remedy: String(error.remedy) };
  }

  /** The lines that say a connector's state. */
  statesOf(name: string): readonly LogLine[] {
    return this.lines.filter(({ connector, state }) => connector === name && state !== undefined);
  }

  /** The rows of a query on a DuckDB file of the folder, as DuckDB's JSON-like values. The file is held for that long only. */
  async duckdb(sql: string, file = "lake.duckdb"): Promise<Record<string, unknown>[]> {
    const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
    try {
      const connection = await instance.connect();
      try {
        await connection.run(`ATTACH '${path.join(this.folder, file)}' AS lake (READ_ONLY); USE lake; SET TimeZone = 'UTC'`);
        return (await connection.runAndReadAll(sql)).getRowObjectsJson();
      } finally {
        connection.closeSync();
      }
    } finally {
      instance.closeSync();
    }
  }
}

/** Tries until it throws no more (an `expect` that does not hold yet), and then gives what it gave. */
export async function until<T>(attempt: () => Promise<T>, ms = PATIENCE_MS): Promise<T> {
  return vi.waitFor(attempt, { timeout: ms, interval: POLL_MS });
}

export type SourceSpec = {
  readonly name: string;
  readonly url: string;
  readonly tables: readonly unknown[];
  readonly postgres?: Readonly<Record<string, unknown>>;
  readonly topics?: Readonly<Record<string, unknown>>;
};

export function sourceDocument({ name, url, tables, postgres = {}, topics = {} }: SourceSpec): Document {
  return { kind: "source", name, postgres: { url, ...postgres }, tables, topics, snapshot: { mode: "no_data" } };
}

export type SinkSpec = {
  readonly name: string;
  readonly source: string;
  readonly warehouse?: Document;
  readonly tables?: readonly Document[];
  readonly every?: string;
};

/** Into `lake.duckdb` of the folder, unless told otherwise; flushes often. */
export function sinkDocument({
  name,
  source,
  warehouse = { duckdb: { path: "./lake.duckdb" } },
  tables,
  every = "100ms",
}: SinkSpec): Document {
  return {
    kind: "sink",
    name,
    source,
    warehouse,
    consistency: "partition",
    flush: { every },
    ...(tables === undefined ? {} : { tables }),
  };
}

function found<C extends { readonly name: string }>(connectors: readonly C[], name: string): C {
  const connector = connectors.find((candidate) => candidate.name === name);
  if (connector === undefined) throw new Error(`no connector ${name}`);
  return connector;
}
