// The quickstart from start to stop: a server with a shop and a load on it, captured live. The shop's first rows are there
// before anything captures them.
import { existsSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { reasonOf, TailraceError } from "../core/errors.ts";
import { parseLsn } from "../core/lsn.ts";
import type { TableName } from "../core/table.ts";
import { files, writeShopConfig } from "./config.ts";
import { failure, LiveCopy } from "./live-copy.ts";
import { startPostgres, type PostgresServer } from "./postgres-server.ts";
import { count, type Progress } from "./progress.ts";
import { createShop, fillShop, shopTables } from "./shop.ts";
import { ShopLoad } from "./shop-load.ts";

export type ShowcaseOptions = {
  /** A folder that exists. Holds everything but, for root, the database (postgres-server.ts says where). */
  readonly dir: string;
  readonly progress: Progress;
};

const LOAD = { perSecond: 200, maxOrders: 20_000 };
/** How long the source may take to stream; making the slot waits for older transactions, of which there are none that last. */
const STREAMING_MS = 60_000;
const DRAIN_MS = 60_000;

export class Showcase implements AsyncDisposable {
  readonly copy: LiveCopy;
  readonly tables: readonly TableName[] = shopTables;
  readonly #server: PostgresServer;
  readonly #load: Load;

  private constructor(server: PostgresServer, load: Load, copy: LiveCopy) {
    this.#server = server;
    this.#load = load;
    this.copy = copy;
  }

  /** Starts server, load and service and waits until the source streams. What was started is stopped again when it throws. */
  static async start({ dir, progress }: ShowcaseOptions, signal: AbortSignal): Promise<Showcase> {
    if (existsSync(path.join(dir, files.database)))
      throw new TailraceError("USAGE", {
        problem: `${dir} holds the copy of another database: delete it, or give another folder with --dir`,
      });
    progress.note("starting PostgreSQL …");
    const server = await startPostgres({
      dataDir: path.join(dir, files.postgres),
      signal,
      make: !existsSync(path.join(dir, files.log)), // events of a database that is gone go on with no other
      onDiscard: (line) => progress.note(line),
    }).catch((cause: unknown) => {
      throw failure(reasonOf(cause));
    });
    let showcase: Showcase | null = null;
    let load: Load | null = null;
    try {
      await fill(server.url, progress);
      signal.throwIfAborted();
      const running = beginLoad(server.url, progress);
      load = running;
      const copy = await LiveCopy.start({
        dir,
        progress,
        writeConfig: async (port) => writeShopConfig(dir, server, port),
        transactions: () => running.load.transactions,
      });
      showcase = new Showcase(server, running, copy);
      await copy.untilStreaming(STREAMING_MS, signal);
      return showcase;
    } catch (cause) {
      await showcase?.stop();
      await load?.end();
      await server.stop();
      throw cause;
    }
  }

  get url(): string {
    return this.#server.url;
  }

  /** Stops the load and waits until all that it wrote is merged, as far as can be seen from outside. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#load.end();
    const end = await withClient(this.url, async (client) => {
      const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
      return parseLsn(rows[0]?.lsn ?? "0/0");
    });
    if (!(await this.copy.drain(end, DRAIN_MS, signal)))
      throw failure(`not everything was merged ${DRAIN_MS / 1_000} s after the load had stopped`);
  }

  /** Stops load and service; the database goes on. */
  async stopService(): Promise<void> {
    await Promise.all([this.#load.end(), this.copy.stop()]);
  }

  /** Stops everything. */
  async stop(): Promise<void> {
    await this.stopService();
    await this.#server.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function fill(url: string, progress: Progress): Promise<void> {
  const written = await withClient(url, async (client) => {
    await createShop(client);
    return fillShop(client);
  });
  if (written > 0) progress.note(`wrote ${count(written)} rows into the shop`);
  else progress.note("the shop is there from the last time: going on");
}

type Load = { readonly load: ShopLoad; readonly end: () => Promise<void> };

function beginLoad(url: string, progress: Progress): Load {
  const stop = new AbortController();
  const load = new ShopLoad(
    {
      ...LOAD,
      url,
      seed: Date.now(), // another day each time
      onTrouble: (reason) => progress.note(reason === null ? "the load goes on" : `the load waits: ${reason}`),
    },
    stop.signal,
  );
  const end = async (): Promise<void> => {
    stop.abort();
    await load.done;
  };
  return { load, end };
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
