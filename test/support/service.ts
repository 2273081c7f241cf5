// The service as an operator runs it: a folder with a configuration, `node dist/main.js run FOLDER` as a process of its own,
// its log lines, its HTTP server, and the signals that hurt it.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync } from "node:fs"; // DEBUG
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Failpoint } from "../../src/core/failpoint.ts";
import type { ServiceStatus, SinkStatus, SourceStatus } from "../../src/service.ts";
import { eventually } from "./eventually.ts";
import { uniqueName } from "./servers.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = path.join(ROOT, "dist", "main.js");
const SETUP = path.join(ROOT, "scripts", "setup.mjs");
/** A process that loads its modules on a busy machine. */
const START_MS = 60_000;
const READY_MS = 90_000;
const ANSWER_MS = 5_000;
/** A stop is forced after 10 s and must not hang. */
const EXIT_MS = 30_000;

export type ServiceSpec = {
  /** Of the database that is captured. */
  readonly url: string;
  /** Names or globs. */
  readonly tables: readonly string[];
  /** Without it: the embedded log and the embedded registry. */
  readonly kafka?: { readonly brokers: readonly string[]; readonly registryUrl: string };
  /** A DuckDB file in the service's folder, or a PostgreSQL database. */
  readonly warehouse: "duckdb" | { readonly postgres: string };
  readonly partitions?: number;
  /** Default 300ms: many small flushes. */
  readonly flushEvery?: string;
};

/** A line of the service's log. */
export type LogLine = {
  readonly level: string;
  readonly message: string;
  readonly connector?: string;
  readonly state?: string;
  readonly error?: { readonly code: string; readonly message: string };
};

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null; /** From SIGTERM on. */ readonly ms: number };

export const SOURCE = "shop";
export const SINK = "copy";

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** One configuration, and the process that runs it now. Disposing kills the process and removes the folder. */
export class TestService implements AsyncDisposable {
  readonly folder: string;
  /** Of all topics. */
  readonly prefix: string;
  /** The name of slot and publication. */
  readonly slot: string;
  /** Every line of every process so far. */
  readonly lines: LogLine[] = [];
  /** What was said that is no log line: the end of a crash. */
  readonly #noise: string[] = [];
  #child: ChildProcess | null = null;
  #address: string | null = null;

  private constructor(folder: string, name: string) {
    this.folder = folder;
    this.prefix = name;
    this.slot = name;
  }

  /** Writes the configuration; nothing runs yet. */
  static async create(spec: ServiceSpec): Promise<TestService> {
    await build();
    const service = new TestService(await temporaryFolder("service"), uniqueName("e2e"));
    await writeFile(path.join(service.folder, "tailrace.yaml"), service.#configuration(spec));
    return service;
  }

  get duckdbFile(): string {
    return path.join(this.folder, "copy.duckdb");
  }

  /** null while no process runs. */
  get pid(): number | null {
    return this.#child !== null && isRunning(this.#child) ? (this.#child.pid ?? null) : null;
  }

  /** Starts the process; resolves when its HTTP server listens. `failpoint`: where it is to die by itself. */
  async start(failpoint?: `${Failpoint}${"" | `:${number}`}`): Promise<void> {
    this.spawn(failpoint);
    await this.listening();
  }

  /** Until the process has read its configuration and its HTTP server answers. */
  async listening(): Promise<void> {
    await eventually("the service listens", () => this.#address ?? this.#hasEnded(), START_MS);
    if (this.#address === null) throw new Error(`the service ended while starting:\n${this.tail()}`);
  }

  /** Starts the process and waits for nothing. */
  spawn(failpoint?: string): void {
    if (this.pid !== null) throw new Error("it runs already");
    const env = { ...process.env, ...(failpoint === undefined ? {} : { TAILRACE_FAILPOINT: failpoint }) };
    const child = spawn(process.execPath, [MAIN, "run", this.folder], { cwd: this.folder, env, stdio: ["ignore", "inherit", "pipe"] });
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.#child = child;
    this.#address = null;
    createInterface(child.stderr).on("line", (text) => this.#heard(text));
  }

  /** Until every connector works. */
  async ready(ms = READY_MS): Promise<void> {
    const isReady = async (): Promise<boolean> => (await this.#get("/readyz")).ok;
    await eventually("the service is ready", async () => this.#hasEnded() ?? (await isReady()), ms).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.tail()}`);
    });
    if (this.pid === null) throw new Error(`the service ended:\n${this.tail()}`);
  }

  /** Until both its source and its sink satisfy `condition`. */
  async until(what: string, condition: (source: SourceStatus, sink: SinkStatus) => boolean, ms = READY_MS): Promise<void> {
    await eventually(
      what,
      async () => {
        const { sources, sinks } = await this.status();
        return sources[0] !== undefined && sinks[0] !== undefined && condition(sources[0], sinks[0]);
      },
      ms,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.tail()}`);
    });
  }

  async status(): Promise<ServiceStatus> {
    return (await (await this.#get("/api/status")).json()) as ServiceStatus;
  }

  /** The sum of a metric over all its labels. */
  async metric(name: string): Promise<number> {
    const text = await (await this.#get("/metrics")).text();
    const values = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }

  /** A line said since `from` (an index of `lines`). */
  async said(what: string, is: (line: LogLine) => boolean, from = 0, ms = READY_MS): Promise<LogLine> {
    return eventually(`the service says ${what}`, () => this.lines.slice(from).find(is), ms).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.tail()}`);
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.ended();
  }

  /** SIGTERM, and how the process ended. */
  async stop(): Promise<Exit> {
    const since = performance.now();
    this.#child?.kill("SIGTERM");
    return { ...(await this.ended()), ms: performance.now() - since };
  }

  /** Waits for the process to end by itself. */
  async ended(ms = EXIT_MS): Promise<Omit<Exit, "ms">> {
    const child = this.#child;
    if (child === null) throw new Error("it was never started");
    if (isRunning(child)) {
      const timer = setTimeout(() => child.kill("SIGKILL"), ms);
      await once(child, "exit");
      clearTimeout(timer);
    }
    return { code: child.exitCode, signal: child.signalCode };
  }

  /** The last lines, for the message of a failed test. */
  tail(count = 30): string {
    const lines = this.lines.slice(-count).map(({ level, connector, message }) => `${level} ${connector ?? ""} ${message}`);
    return [...lines, ...this.#noise.slice(-count)].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== null) await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  #heard(text: string): void {
    appendFileSync(`/tmp/e2e/${this.prefix}.log`, `${new Date().toISOString().slice(11, 23)} ${this.pid} ${text}\n`); // DEBUG
    try {
      const line = JSON.parse(text) as LogLine & { readonly http?: string };
      this.lines.push(line);
      if (line.http !== undefined) this.#address = line.http;
    } catch {
      this.#noise.push(text);
    }
  }

  #hasEnded(): true | null {
    return this.pid === null ? true : null;
  }

  async #get(route: string): Promise<Response> {
    if (this.#address === null) throw new Error("the service does not listen yet");
    return fetch(`${this.#address}${route}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  }

  /** Every JSON text is YAML. */
  #configuration({ url, tables, kafka, warehouse, partitions = 4, flushEvery = "300ms" }: ServiceSpec): string {
    const log = kafka === undefined ? { log: { embedded: {} } } : { log: { kafka: { brokers: kafka.brokers } }, registry: { url: kafka.registryUrl } };
    const documents = [
      { kind: "service", ...log, http: { listen: "127.0.0.1:0" } },
      {
        kind: "source",
        name: SOURCE,
        postgres: { url, slot: this.slot, publication: this.slot },
        tables,
        topics: { prefix: this.prefix, partitions },
        snapshot: { mode: "no_data" },
      },
      {
        kind: "sink",
        name: SINK,
        source: SOURCE,
        warehouse: warehouse === "duckdb" ? { duckdb: { path: this.duckdbFile } } : { postgres: { url: warehouse.postgres } },
        consistency: "partition",
        flush: { every: flushEvery },
      },
    ];
    return documents.map((document) => JSON.stringify(document, null, 2)).join("\n---\n");
  }
}

let built: Promise<unknown> | null = null;

/** What is tested is what the sources say now. Quick when nothing has changed. */
async function build(): Promise<void> {
  built ??= promisify(execFile)(process.execPath, [SETUP, "build"], { cwd: ROOT });
  await built;
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
