// A database captured live into a DuckDB file: the service that does it, its messages in a file, its figures on the screen.
import { closeSync, openSync, writeSync } from "node:fs";
import path from "node:path";
import type { LoadedConfig } from "../config/config.ts";
import { TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import { Service } from "../service.ts";
import type { SinkStatus, SourceStatus } from "../service/status.ts";
import { logLevelOf, openLog } from "../telemetry/log.ts";
import { files } from "./config.ts";
import { EndToEnd } from "./end-to-end.ts";
import { freePort } from "./free-port.ts";
import type { Figures, Progress } from "./progress.ts";
import { Reading } from "./reading.ts";

export type LiveCopyOptions = {
  /** A folder that exists. */
  readonly dir: string;
  readonly progress: Progress;
  /** Writes the configuration, of one source and one sink, into the folder and loads it. */
  readonly writeConfig: (httpPort: number) => Promise<LoadedConfig>;
  /** Of the load so far; null: nobody counts them. */
  readonly transactions: (() => number) | null;
};

const HTTP_PORT = 8080;
/** A sink that has nothing to merge for so long has merged all there is: longer than a flush interval and an idle poll. */
const QUIET_MS = 1_500;
/** A database that stirs for so long after all was merged is one that somebody writes to. */
const STIR_MS = 10_000;
const LOOK_MS = 100;
const SHOW_MS = 500;
/** Of the ten seconds that a stop may take, what the service gets; what comes after it needs the rest. */
const STOP_SERVICE_MS = 6_000;

export class LiveCopy {
  readonly endToEnd = new EndToEnd();
  readonly config: LoadedConfig;
  readonly httpAddress: string;
  readonly #progress: Progress;
  readonly #transactions: LiveCopyOptions["transactions"];
  readonly #service: Service;
  readonly #messages: Messages;
  readonly #reading = new Reading();
  readonly #stopShowing = new AbortController();
  #shown = false;
  #stopped: Promise<void> | null = null;
  #phase = "running";

  private constructor(options: LiveCopyOptions, config: LoadedConfig, service: Service, messages: Messages) {
    this.#progress = options.progress;
    this.#transactions = options.transactions;
    this.config = config;
    this.httpAddress = service.httpAddress;
    this.#service = service;
    this.#messages = messages;
  }

  /** Starts the service on port 8080, or on another one when that is taken. Throws what Service.start throws. */
  static async start(options: LiveCopyOptions): Promise<LiveCopy> {
    const messages = openMessages(path.join(options.dir, files.messages), options.progress);
    let copy: LiveCopy | null = null;
    const start = async (port: number): Promise<LiveCopy> => {
      const config = await options.writeConfig(port);
      const service = await Service.start(config, {
        logger: messages.logger,
        onFlush: (_sink, { commits }) => copy?.endToEnd.add(commits.keys(), Date.now()),
      });
      return new LiveCopy(options, config, service, messages);
    };
    try {
      copy = await start(HTTP_PORT).catch(async (cause: unknown) => {
        if (!(cause instanceof TailraceError) || cause.code !== "HTTP_ADDRESS") throw cause;
        return start(await freePort());
      });
      return copy;
    } catch (cause) {
      messages.close();
      throw cause;
    }
  }

  /** Waits until the source streams. Throws QUICKSTART_FAILED after `ms`, or when the source has stopped. */
  async untilStreaming(ms: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + ms;
    for (;;) {
      signal.throwIfAborted();
      const { source } = this.#status();
      if (source?.state === "running") return;
      const { message, remedy } = (source?.error ?? {}) as { readonly message?: string; readonly remedy?: string };
      if (source?.state === "stopped") throw failure(`${message ?? "the source stopped"}; ${remedy ?? ""}`);
      if (performance.now() > deadline) throw failure(`the source does not stream after ${ms / 1_000} s: ${message ?? "no reason known"}`);
      await pause(LOOK_MS, signal);
    }
  }

  /** Shows the figures from now on. */
  show(): void {
    this.#shown = true;
    void this.#showing();
  }

  /**
   * Waits until all up to `end` is merged, existing rows among it, and nothing more comes. False when more does come all
   * the time, or when it takes longer than `ms`.
   */
  async drain(end: Lsn, ms: number, signal: AbortSignal): Promise<boolean> {
    this.#phase = "draining";
    const deadline = performance.now() + ms;
    let quiet = { since: performance.now(), merged: -1 };
    /** What was in the log when it held all up to `end`. */
    let asked = Infinity;
    let level = Infinity;
    while (performance.now() - quiet.since < QUIET_MS) {
      signal.throwIfAborted();
      if (performance.now() > Math.min(deadline, level + STIR_MS)) return false;
      await pause(LOOK_MS, signal);
      const { source, sink } = this.#status();
      if (source === undefined || sink === undefined) continue;
      const { mergedEvents: merged } = sink;
      if (source.snapshots.length === 0 && parseLsn(source.ackLsn) >= end) asked = Math.min(asked, source.publishedEvents);
      if (merged >= asked) level = Math.min(level, performance.now());
      const isBehind = merged < asked || merged < source.publishedEvents || (sink.lagRecords ?? 0) > 0;
      if (isBehind || merged !== quiet.merged) quiet = { since: performance.now(), merged };
    }
    return true;
  }

  /** Stops the service, which flushes and lets slot, log and file go. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#phase = "stopping";
    await this.#service.stop(STOP_SERVICE_MS);
    this.#stopShowing.abort();
    this.#phase = "stopped";
    this.#messages.close();
    if (!this.#shown) return;
    this.#progress.show(this.#figures(0), performance.now());
    this.#progress.keep();
  }

  #status(): { readonly source: SourceStatus | undefined; readonly sink: SinkStatus | undefined } {
    const { sources, sinks } = this.#service.status();
    return { source: sources[0], sink: sinks[0] };
  }

  async #showing(): Promise<void> {
    const { signal } = this.#stopShowing;
    let merged = this.#status().sink?.mergedEvents ?? 0;
    let perSecond = 0;
    this.#progress.show(this.#figures(0), performance.now());
    for (let before = performance.now(); ;) {
      await pause(SHOW_MS, signal);
      if (signal.aborted) return;
      const now = performance.now();
      const { sink } = this.#status();
      const rate = ((sink?.mergedEvents ?? 0) - merged) / ((now - before) / 1_000);
      perSecond = perSecond * 0.7 + rate * 0.3; // flushes come in steps
      merged = sink?.mergedEvents ?? 0;
      before = now;
      this.#progress.show(this.#figures(perSecond), now);
    }
  }

  #figures(perSecond: number): Figures {
    const { source, sink } = this.#status();
    const reading = this.#reading.look(source?.snapshots ?? []);
    return {
      phase: this.#phase === "running" && reading !== null ? "reading existing rows" : this.#phase,
      transactions: this.#transactions?.() ?? null,
      reading,
      events: source?.publishedEvents ?? 0,
      merged: sink?.mergedRows ?? 0,
      perSecond,
      // The sink tells its lag when it flushes; what the source has published since is not merged either.
      lag: source === undefined || sink === undefined ? null : Math.max(sink.lagRecords ?? 0, source.publishedEvents - sink.mergedEvents),
      deadLetters: (source?.deadLetters ?? 0) + (sink?.deadLetters ?? 0),
      p50Ms: this.endToEnd.percentile(0.5),
      p99Ms: this.endToEnd.percentile(0.99),
    };
  }
}

export function failure(reason: string): TailraceError {
  return new TailraceError("QUICKSTART_FAILED", { reason });
}

type Messages = { readonly logger: Log; readonly close: () => void };

/** The service's log goes to a file; what asks for attention is shown as well. */
function openMessages(file: string, progress: Progress): Messages {
  const fd = openSync(file, "a", 0o600);
  let open = true;
  const write = (line: string): void => {
    if (open) writeSync(fd, line);
    const { level, message, connector } = JSON.parse(line) as { level?: string; message?: string; connector?: string };
    if (level === "warn" || level === "error")
      progress.note(`${level}: ${connector === undefined ? "" : `${connector}: `}${message ?? ""}`);
  };
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return { logger: openLog({ level: logLevelOf(process.env), destination: { write } }), close };
}
