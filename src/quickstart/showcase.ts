// The quickstart from start to stop: a server with a shop, the service over it, a load; then, when asked, the proof that
// the copy is the shop.
import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import type { LoadedConfig } from "../config/config.ts";
import { reasonOf, TailraceError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { parseLsn } from "../core/lsn.ts";
import { pause } from "../core/pause.ts";
import { Service } from "../service.ts";
import type { SinkStatus, SourceStatus } from "../service/status.ts";
import { logLevelOf, openLog } from "../telemetry/log.ts";
import { files, writeConfig } from "./config.ts";
import { EndToEnd } from "./end-to-end.ts";
import { freePort } from "./free-port.ts";
import { startPostgres, type PostgresServer } from "./postgres-server.ts";
import { count, type Figures, type Progress } from "./progress.ts";
import { createShop, fillShop } from "./shop.ts";
import { ShopLoad } from "./shop-load.ts";

export type ShowcaseOptions = {
  /** A folder that exists. Holds everything but, for root, the database (postgres-server.ts says where). */
  readonly dir: string;
  readonly progress: Progress;
};

const HTTP_PORT = 8080;
const LOAD = { perSecond: 200, maxOrders: 20_000 };
/** How long the source may take to stream; making the slot waits for older transactions, of which there are none. */
const STREAMING_MS = 60_000;
const DRAIN_MS = 60_000;
/** A sink that has nothing to merge for so long has merged all there is: longer than a flush interval and an idle poll. */
const QUIET_MS = 1_500;
const LOOK_MS = 100;
const SHOW_MS = 500;
/** Of the ten seconds that a stop may take, what the service gets; the database needs the rest. */
const STOP_SERVICE_MS = 6_000;

export class Showcase implements AsyncDisposable {
  readonly endToEnd = new EndToEnd();
  readonly server: PostgresServer;
  readonly config: LoadedConfig;
  readonly httpAddress: string;
  readonly #progress: Progress;
  readonly #service: Service;
  readonly #messages: Messages;
  readonly #stopLoad = new AbortController();
  readonly #stopShowing = new AbortController();
  #load: ShopLoad | null = null;
  #stopped: Promise<void> | null = null;
  #phase = "starting";

  private constructor(
    options: ShowcaseOptions,
    parts: { readonly server: PostgresServer; readonly config: LoadedConfig; readonly service: Service; readonly messages: Messages },
  ) {
    this.#progress = options.progress;
    this.server = parts.server;
    this.config = parts.config;
    this.httpAddress = parts.service.httpAddress;
    this.#service = parts.service;
    this.#messages = parts.messages;
  }

  /** Starts server and service and waits until the source streams. What was started is stopped again when it throws. */
  static async start(options: ShowcaseOptions, signal: AbortSignal): Promise<Showcase> {
    const { dir, progress } = options;
    progress.note("starting PostgreSQL …");
    const server = await startPostgres({
      dataDir: path.join(dir, files.postgres),
      signal,
      make: !existsSync(path.join(dir, files.log)), // events of a database that is gone go on with no other
      onDiscard: (line) => progress.note(line),
    }).catch((cause: unknown) => {
      throw failure(reasonOf(cause));
    });
    let messages: Messages | null = null;
    try {
      await withClient(server.url, createShop);
      messages = openMessages(path.join(dir, files.messages), progress);
      let showcase: Showcase | null = null;
      const { config, service } = await startService(dir, server, messages.logger, (commits) =>
        showcase?.endToEnd.add(commits.keys(), Date.now()),
      );
      showcase = new Showcase(options, { server, config, service, messages });
      try {
        await showcase.#untilStreaming(signal);
      } catch (cause) {
        await showcase.stop();
        throw cause;
      }
      return showcase;
    } catch (cause) {
      await server.stop();
      messages?.close();
      throw cause;
    }
  }

  /** Fills the shop where it is empty and begins the load. */
  async open(signal: AbortSignal): Promise<void> {
    const written = await withClient(this.server.url, fillShop);
    if (written > 0) this.#progress.note(`wrote ${count(written)} rows into the shop`);
    else this.#progress.note("the shop is there from the last time: going on");
    signal.throwIfAborted();
    this.#load = new ShopLoad(
      {
        ...LOAD,
        url: this.server.url,
        seed: Date.now(), // another day each time
        onTrouble: (reason) => this.#progress.note(reason === null ? "the load goes on" : `the load waits: ${reason}`),
      },
      this.#stopLoad.signal,
    );
    this.#phase = "running";
    void this.#show();
  }

  /** Stops the load and waits until all that it wrote is merged, as far as can be seen from outside. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#stopLoad.abort();
    await this.#load?.done;
    this.#phase = "draining";
    const end = await withClient(this.server.url, async (client) => {
      const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
      return parseLsn(rows[0]?.lsn ?? "0/0");
    });
    const deadline = performance.now() + DRAIN_MS;
    let quiet = { since: performance.now(), merged: -1 };
    while (performance.now() - quiet.since < QUIET_MS) {
      signal.throwIfAborted();
      if (performance.now() > deadline) throw failure(`not everything was merged ${DRAIN_MS / 1_000} s after the load had stopped`);
      const { source, sink } = this.#status();
      const behind =
        source === undefined ||
        sink === undefined ||
        parseLsn(source.ackLsn) < end ||
        sink.mergedEvents < source.publishedEvents ||
        (sink.lagRecords ?? 0) > 0;
      if (behind || sink.mergedEvents !== quiet.merged) quiet = { since: performance.now(), merged: sink?.mergedEvents ?? 0 };
      await pause(LOOK_MS, signal);
    }
  }

  /** Stops the load and the service, which flushes and lets slot, log and file go; the database goes on. */
  async stopService(): Promise<void> {
    this.#stopped ??= this.#stopService();
    return await this.#stopped;
  }

  async #stopService(): Promise<void> {
    this.#phase = "stopping";
    this.#stopLoad.abort();
    await Promise.all([this.#load?.done, this.#service.stop(STOP_SERVICE_MS)]);
    this.#stopShowing.abort();
    this.#phase = "stopped";
    if (this.#load === null) return;
    this.#progress.show(this.#figures(0), performance.now());
    this.#progress.keep();
  }

  /** Stops everything. */
  async stop(): Promise<void> {
    await this.stopService();
    await this.server.stop();
    this.#messages.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #untilStreaming(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + STREAMING_MS;
    for (;;) {
      signal.throwIfAborted();
      const { source } = this.#status();
      if (source?.state === "running") return;
      const { message, remedy } = (source?.error ?? {}) as { readonly message?: string; readonly remedy?: string };
      if (source?.state === "stopped") throw failure(`${message ?? "the source stopped"}; ${remedy ?? ""}`);
      if (performance.now() > deadline)
        throw failure(`the source does not stream after ${STREAMING_MS / 1_000} s: ${message ?? "no reason known"}`);
      await pause(LOOK_MS, signal);
    }
  }

  #status(): { readonly source: SourceStatus | undefined; readonly sink: SinkStatus | undefined } {
    const { sources, sinks } = this.#service.status();
    return { source: sources[0], sink: sinks[0] };
  }

  async #show(): Promise<void> {
    const { signal } = this.#stopShowing;
    let merged = this.#status().sink?.mergedEvents ?? 0;
    let perSecond = 0;
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
    return {
      phase: this.#phase,
      transactions: this.#load?.transactions ?? 0,
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

/** On port 8080, or on another one when that is taken. */
async function startService(
  dir: string,
  server: PostgresServer,
  logger: Log,
  onFlush: (commits: ReadonlyMap<bigint, number>) => void,
): Promise<{ readonly config: LoadedConfig; readonly service: Service }> {
  const start = async (port: number): Promise<{ readonly config: LoadedConfig; readonly service: Service }> => {
    const config = await writeConfig(dir, server, port);
    return { config, service: await Service.start(config, { logger, onFlush: (_sink, { commits }) => onFlush(commits) }) };
  };
  try {
    return await start(HTTP_PORT);
  } catch (cause) {
    if (!(cause instanceof TailraceError) || cause.code !== "HTTP_ADDRESS") throw cause;
    return await start(await freePort());
  }
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

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: "tailrace quickstart" });
  client.on("error", () => undefined); // the query under way fails as well
  try {
    await client.connect();
    return await work(client);
  } catch (cause) {
    throw failure(reasonOf(cause));
  } finally {
    await client.end().catch(() => undefined);
  }
}
