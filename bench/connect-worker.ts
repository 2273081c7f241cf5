// A worker of Kafka Connect with Debezium's PostgreSQL connector and Apicurio's Avro converter, from Maven Central.
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "../src/quickstart/free-port.ts";
import { javaServer } from "../test/support/java-server.ts";
import { fetched, missingFor, type MavenProgram } from "../test/support/maven-cache.ts";
import { temporaryFolder } from "../test/support/temporary-folder.ts";

const pom = (name: string): string => fileURLToPath(new URL(`./debezium/${name}.pom.xml`, import.meta.url));
const CONNECT: MavenProgram = { name: "connect", pom: pom("connect"), goal: "copy-dependencies" };
export const CONNECTOR: MavenProgram = { name: "debezium", pom: pom("connector"), goal: "unpack" };
const CONVERTER: MavenProgram = { name: "avro-converter", pom: pom("converter"), goal: "copy-dependencies" };

/** As a worker in earnest: Java chooses its collector and compilers itself. Connect's own default is 2 GiB, too. */
const JVM = ["-Xms512m", "-Xmx2g"];
/** Under load the collector of statistics, which can't be turned off whole, writes a warning an event: that would be measured. */
const LOGGING = ["defaultLogLevel=warn", "showDateTime=true", "log.io.debezium.metrics.stats.MeasurementCollector=error"].map(
  (option) => `-Dorg.slf4j.simpleLogger.${option}`,
);
const REQUEST_MS = 60_000;
const CHANGE_MS = 60_000;
const POLL_MS = 50;

/** Why there can be no worker here, and what to do about it; null when there can. */
export async function missingWorker(): Promise<string | null> {
  return (await missingFor(CONNECT)) ?? (await missingFor(CONNECTOR)) ?? (await missingFor(CONVERTER));
}

/** A connector's configuration, as Connect takes it. */
export type ConnectorConfig = Readonly<Record<string, string>>;

export class ConnectWorker implements AsyncDisposable {
  readonly #address: string;
  readonly #folder: string;
  readonly #server: ReturnType<typeof javaServer>;

  private constructor(address: string, folder: string, server: ReturnType<typeof javaServer>) {
    this.#address = address;
    this.#folder = folder;
    this.#server = server;
  }

  /** Resolves when its REST API answers. */
  static async start(brokers: readonly string[]): Promise<ConnectWorker> {
    const jars = await fetched(CONNECT);
    const connector = await fetched(CONNECTOR);
    const converter = await fetched(CONVERTER);
    const folder = await temporaryFolder("connect");
    const plugins = path.join(folder, "plugins");
    await mkdir(plugins);
    // A folder of jars below plugin.path is one plugin with a class loader of its own.
    await symlink(path.join(connector, "debezium-connector-postgres"), path.join(plugins, "debezium"));
    await symlink(converter, path.join(plugins, "converter"));
    const address = `http://127.0.0.1:${await freePort()}`;
    const properties = {
      "bootstrap.servers": brokers.join(","),
      listeners: address,
      "rest.advertised.host.name": "127.0.0.1",
      "plugin.path": plugins,
      "offset.storage.file.filename": path.join(folder, "offsets"),
      "offset.flush.interval.ms": 10_000,
      "key.converter": "org.apache.kafka.connect.json.JsonConverter",
      "value.converter": "org.apache.kafka.connect.json.JsonConverter",
      "connector.client.config.override.policy": "All",
    };
    const file = path.join(folder, "worker.properties");
    const lines = Object.entries(properties).map(([name, value]) => `${name}=${value}\n`);
    await writeFile(file, lines.join(""));
    const server = javaServer({
      name: "Kafka Connect",
      jvm: JVM,
      args: [...LOGGING, "-cp", path.join(jars, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", file],
      cwd: folder,
      logFile: path.join(folder, "connect.log"),
      ready: () =>
        fetch(`${address}/connectors`, { signal: AbortSignal.timeout(REQUEST_MS) }).then(
          (response) => response.ok,
          () => false,
        ),
    });
    await server.start();
    return new ConnectWorker(address, folder, server);
  }

  get pid(): number {
    if (this.#server.pid === null) throw new Error("Kafka Connect has ended");
    return this.#server.pid;
  }

  get isAlive(): boolean {
    return this.#server.pid !== null;
  }

  /** Makes a connector or changes it, and waits until it runs. */
  async put(name: string, config: ConnectorConfig): Promise<void> {
    await this.#ask("PUT", `/connectors/${name}/config`, config);
    await this.#until(name, "RUNNING");
  }

  /** Stops its task, which hands its offsets in; the connector stays. */
  async stop(name: string): Promise<void> {
    await this.#ask("PUT", `/connectors/${name}/stop`);
    await this.#until(name, "STOPPED");
  }

  async resume(name: string): Promise<void> {
    await this.#ask("PUT", `/connectors/${name}/resume`);
  }

  async delete(name: string): Promise<void> {
    await this.#ask("DELETE", `/connectors/${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.kill(); // nobody reads its offsets again
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #until(name: string, state: string): Promise<void> {
    for (const deadline = performance.now() + CHANGE_MS; performance.now() < deadline; await sleep(POLL_MS)) {
      const status = await this.#ask("GET", `/connectors/${name}/status`).catch(() => null); // not known yet: 404
      const { connector, tasks = [] } = (status ?? {}) as Partial<ConnectorStatus>;
      const failed = [connector, ...tasks].find((part) => part?.state === "FAILED");
      if (failed !== undefined) throw new Error(`connector ${name} failed: ${failed.trace?.slice(0, 2_000) ?? "no reason told"}`);
      const started = state !== "RUNNING" || tasks.some((task) => task.state === "RUNNING");
      if (connector?.state === state && started) return;
    }
    throw new Error(`connector ${name} is not ${state} after ${CHANGE_MS / 1_000} s`);
  }

  async #ask(method: string, where: string, body?: ConnectorConfig): Promise<unknown> {
    const response = await fetch(`${this.#address}${where}`, {
      method,
      signal: AbortSignal.timeout(REQUEST_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Kafka Connect answers ${method} ${where} with ${response.status}: ${text.slice(0, 500)}`);
    return text === "" ? null : JSON.parse(text);
  }
}

type ConnectorPart = { readonly state: string; readonly trace?: string };
type ConnectorStatus = { readonly connector: ConnectorPart; readonly tasks: readonly ConnectorPart[] };
