// `tailrace run FOLDER` as a process of its own: its log lines, its HTTP server, and the signals that hurt it.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { ServiceStatus } from "../../src/service/status.ts";
import { MAIN } from "./command.ts";
import { eventually } from "./eventually.ts";

/** A process that loads its modules on a busy machine. */
const START_MS = 60_000;
const READY_MS = 90_000;
const ANSWER_MS = 5_000;
/** A stop is forced after 10 s and must not hang. */
const EXIT_MS = 30_000;

/** A line of the service's log. */
export type LogLine = Readonly<Record<string, unknown>> & {
  readonly level: string;
  readonly message: string;
  readonly connector?: string;
  readonly state?: string;
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string };
};

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null; /** From SIGTERM on. */ readonly ms: number };

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** The process that runs the configuration of `folder` now, if any. Disposing kills it and removes the folder. */
export class ServiceProcess implements AsyncDisposable {
  readonly folder: string;
  /** Every line of every process so far. */
  readonly lines: LogLine[] = [];
  /** What was said that is no log line: the end of a crash. */
  readonly #noise: string[] = [];
  #child: ChildProcess | null = null;
  #address: string | null = null;

  protected constructor(folder: string) {
    this.folder = folder;
  }

  /** null while no process runs. */
  get pid(): number | null {
    return this.#child !== null && isRunning(this.#child) ? (this.#child.pid ?? null) : null;
  }

  /** Everything that was said, log line or not. */
  get output(): string {
    return [...this.lines.map((line) => JSON.stringify(line)), ...this.#noise].join("\n");
  }

  /** Until the process has read its configuration and its HTTP server answers. */
  async listening(): Promise<void> {
    await eventually("the service listens", () => this.#address ?? this.#hasEnded(), START_MS);
    if (this.#address === null) throw new Error(`the service ended while starting:\n${this.tail()}`);
  }

  /** Starts the process and waits for nothing. */
  launch(environment: Readonly<Record<string, string>>): void {
    if (this.pid !== null) throw new Error("it runs already");
    const env = { ...process.env, ...environment };
    const child = spawn(process.execPath, [MAIN, "run", this.folder], { cwd: this.folder, env, stdio: ["ignore", "inherit", "pipe"] });
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.#child = child;
    this.#address = null;
    createInterface(child.stderr).on("line", (text) => this.#heard(text));
  }

  /** Until every connector works. */
  async ready(ms = READY_MS): Promise<void> {
    const isReady = async (): Promise<boolean> => (await this.get("/readyz")).ok;
    await eventually("the service is ready", async () => this.#hasEnded() ?? (await isReady()), ms).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.tail()}`);
    });
    if (this.pid === null) throw new Error(`the service ended:\n${this.tail()}`);
  }

  async status(): Promise<ServiceStatus> {
    return (await (await this.get("/api/status")).json()) as ServiceStatus;
  }

  /** The values of a metric by its labels, as in `{code="X",connector="shop"}`. */
  async metricByLabels(name: string): Promise<ReadonlyMap<string, number>> {
    const text = await (await this.get("/metrics")).text();
    const values = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return new Map(values.map((line) => [line.slice(name.length, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]));
  }

  /** The sum of a metric over all its labels. */
  async metric(name: string): Promise<number> {
    return [...(await this.metricByLabels(name)).values()].reduce((sum, value) => sum + value, 0);
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

  /** Asks the HTTP server. `body`: a JSON text. */
  async get(route: string, method = "GET", body?: string): Promise<Response> {
    if (this.#address === null) throw new Error("the service does not listen yet");
    const sent = body === undefined ? {} : { body, headers: { "content-type": "application/json" } };
    return fetch(`${this.#address}${route}`, { method, signal: AbortSignal.timeout(ANSWER_MS), ...sent });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== null) await this.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #heard(text: string): void {
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
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
