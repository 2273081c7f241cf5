// What the behaviour tests share: a configuration in a folder of its own, the commands run on it as a user runs them, and
// what the service says meanwhile, by its log, its status and its metrics.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { DuckDBInstance } from "@duckdb/node-api";
import { vi } from "vitest";
import type { ServiceStatus, SinkStatus, SourceStatus } from "../../src/service.ts";
import { freePort } from "../../src/quickstart/free-port.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** A document of the configuration; written as JSON, which YAML takes. */
export type Document = Readonly<Record<string, unknown>>;

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** A line of the service's log. */
export type Line = Readonly<Record<string, unknown>> & {
  readonly level: string;
  readonly message: string;
  readonly connector?: string;
  readonly state?: string;
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string };
};

const MAIN = process.env.TEST_TAILRACE_MAIN ?? fileURLToPath(new URL("../../dist/main.js", import.meta.url));
/** What a busy machine with two cores needs for a start, a recovery with backoff, or a flush behind a reader's lock, ms. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

export class Scene implements AsyncDisposable {
  readonly folder: string;
  /** Every line since the first start. */
  readonly lines: Line[] = [];
  readonly #port: number;
  #child: ChildProcess | null = null;
  #said = "";

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.#port = port;
  }

  static async open(): Promise<Scene> {
    return new Scene(await temporaryFolder("scene"), await freePort());
  }

  /** Everything that the service has written so far. */
  get said(): string {
    return this.#said;
  }

  /** Replaces the configuration. A service document gets the scene's HTTP address; without one the log is embedded. */
  async configure(...documents: readonly Document[]): Promise<void> {
    const service = documents.find(({ kind }) => kind === "service") ?? { kind: "service" };
    const all = [{ ...service, http: { listen: `127.0.0.1:${this.#port}` } }, ...documents.filter(({ kind }) => kind !== "service")];
    await writeFile(path.join(this.folder, "tailrace.yaml"), all.map((document) => JSON.stringify(document, null, 2)).join("\n---\n"));
  }

  /** `tailrace COMMAND FOLDER …`, to its end. */
  async command(command: string, ...options: readonly string[]): Promise<Ended> {
    return tailrace([command, this.folder, ...options]);
  }

  /** Starts `run`; resolves when its HTTP server answers. */
  async start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = spawn(process.execPath, [MAIN, "run", this.folder], {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    let rest = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("{")) this.lines.push(JSON.parse(line) as Line);
    });
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`run ended with ${child.exitCode}:\n${this.#said.slice(-2_000)}`);
      await this.get("/livez");
    });
  }

  /** SIGTERM, as an orchestrator stops it. Returns the exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return null;
    if (child.exitCode !== null) return child.exitCode;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = (await ended) as [number | null];
    return code;
  }

  async status(): Promise<ServiceStatus> {
    return JSON.parse(await this.get("/api/status")) as ServiceStatus;
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
        if (seen !== state) throw new Error(`${name} is ${seen}, not ${state}: ${String(one.error?.message ?? one.phase)}\n${this.#said.slice(-3_000)}`);
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
  statesOf(name: string): readonly Line[] {
    return this.lines.filter(({ connector, state }) => connector === name && state !== undefined);
  }

  /** The values of a metric by its labels, as in `tailrace_dead_letters_total{code="X",connector="shop"}`. */
  async metric(name: string): Promise<ReadonlyMap<string, number>> {
    const lines = (await this.get("/metrics")).split("\n").filter((line) => line.startsWith(name));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
  }

  async get(route: string): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${this.#port}${route}`, { signal: AbortSignal.timeout(5_000) });
    return answer.text();
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

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child?.exitCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    await writeFile(`/tmp/td/logs/${path.basename(this.folder)}.log`, this.#said); // DEBUG
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Runs the command line to its end. */
export async function tailrace(args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
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
export function sinkDocument({ name, source, warehouse = { duckdb: { path: "./lake.duckdb" } }, tables, every = "100ms" }: SinkSpec): Document {
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
