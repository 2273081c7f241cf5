// One source and one sink as an operator runs them: a folder with their configuration, and the process that runs it.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Failpoint } from "../../src/core/failpoint.ts";
import type { SinkStatus, SourceStatus } from "../../src/service/status.ts";
import { build } from "./command.ts";
import { eventually } from "./eventually.ts";
import { uniqueName } from "./servers.ts";
import { ServiceProcess } from "./service-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const READY_MS = 90_000;

export type ServiceSpec = {
  /** Of the database that is captured. */
  readonly url: string;
  /** Names or globs. */
  readonly tables: readonly string[];
  /** Without it: the embedded log and the embedded registry. */
  readonly kafka?: { readonly brokers: readonly string[]; readonly registryUrl: string; readonly compression?: "lz4" | "zstd" };
  /** A DuckDB file in the service's folder, or a PostgreSQL database. */
  readonly warehouse: "duckdb" | { readonly postgres: string };
  readonly partitions?: number;
  /** Default 300ms: many small flushes. */
  readonly flushEvery?: string;
  /** Of the source; default: none are made. */
  readonly snapshot?: Readonly<Record<string, unknown>>;
  /** schema_changes.incompatible; default: what the configuration has. */
  readonly incompatible?: "park" | "version" | "stop";
};

export const SOURCE = "shop";
export const SINK = "copy";

/** One configuration, and the process that runs it now. Disposing kills the process and removes the folder. */
export class TestService extends ServiceProcess {
  /** Of all topics. */
  readonly prefix: string;
  /** The name of slot and publication. */
  readonly slot: string;

  private constructor(folder: string, name: string) {
    super(folder);
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

  /** Starts the process; resolves when its HTTP server listens. `failpoint`: where it is to die by itself. */
  async start(failpoint?: `${Failpoint}${"" | `:${number}`}`): Promise<void> {
    this.spawn(failpoint);
    await this.listening();
  }

  /** Starts the process and waits for nothing. */
  spawn(failpoint?: string): void {
    this.launch(failpoint === undefined ? {} : { TAILRACE_FAILPOINT: failpoint });
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

  /** Every JSON text is YAML. */
  #configuration({
    url,
    tables,
    kafka,
    warehouse,
    partitions = 4,
    flushEvery = "300ms",
    snapshot = { mode: "no_data" },
    incompatible,
  }: ServiceSpec): string {
    const log =
      kafka === undefined
        ? { log: { embedded: {} } }
        : { log: { kafka: { brokers: kafka.brokers, compression: kafka.compression ?? "none" } }, registry: { url: kafka.registryUrl } };
    const documents = [
      { kind: "service", ...log, http: { listen: "127.0.0.1:0" } },
      {
        kind: "source",
        name: SOURCE,
        postgres: { url, slot: this.slot, publication: this.slot },
        tables,
        topics: { prefix: this.prefix, partitions },
        snapshot,
        ...(incompatible === undefined ? {} : { schema_changes: { incompatible } }),
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
