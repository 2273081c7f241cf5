// A Kafka broker for tests: one node that is broker and controller (KRaft), on 127.0.0.1, in a temporary folder. More brokers may join it.
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../../src/quickstart/free-port.ts";
import { javaServer } from "./java-server.ts";
import { fetched, type MavenProgram } from "./maven-cache.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export const KAFKA: MavenProgram = {
  name: "kafka",
  pom: fileURLToPath(new URL("./kafka/pom.xml", import.meta.url)),
  goal: "copy-dependencies",
};

export type KafkaOptions = {
  /** Broker settings beyond the ones below, which they override. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Of the broker; default as of every javaServer. */
  readonly jvm?: readonly string[];
  /** A second listener with TLS and SCRAM-SHA-512, for this user. */
  readonly secure?: { readonly username: string; readonly password: string };
  /** The one whose cluster this one joins, as a broker alone; without it, it is the controller of a cluster of its own. */
  readonly joins?: KafkaServer;
};

export type KafkaServer = AsyncDisposable & {
  /** host:port of the listener without login. */
  readonly brokers: readonly string[];
  /** The listener with TLS and login, when asked for. `ca` is a PEM text. */
  readonly secure: {
    readonly brokers: readonly string[];
    readonly ca: string;
    readonly username: string;
    readonly password: string;
  } | null;
  /** host:port of the cluster's controller. */
  readonly controller: string;
  readonly pid: number | null;
  /** Orderly, as an operator would. */
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  /** Same ports, same data; after `stop` if it still runs. */
  restart(): Promise<void>;
};

const CONTROLLER_ID = 1;
const STORE_PASSWORD = "only-for-tests";

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const jars = await fetched(KAFKA);
  const folder = await temporaryFolder("kafka");
  const [port, controllerPort, securePort] = [await freePort(), await freePort(), await freePort()];
  const controller = options.joins?.controller ?? `127.0.0.1:${controllerPort}`;
  const secure =
    options.secure === undefined ? null : { ...options.secure, brokers: [`127.0.0.1:${securePort}`], ca: await makeKeys(folder) };

  const settings: Record<string, string | number | boolean> = {
    "process.roles": options.joins === undefined ? "broker,controller" : "broker",
    "node.id": options.joins === undefined ? CONTROLLER_ID : port,
    "controller.quorum.voters": `${CONTROLLER_ID}@${controller}`,
    "controller.listener.names": "CONTROLLER",
    listeners: `PLAINTEXT://127.0.0.1:${port}${options.joins === undefined ? `,CONTROLLER://${controller}` : ""}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}`,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
    "inter.broker.listener.name": "PLAINTEXT",
    "log.dirs": path.join(folder, "data"),
    "auto.create.topics.enable": false,
    // One node can't hold the three replicas that internal topics have by default.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "num.network.threads": 2,
    "num.io.threads": 4,
  };
  if (secure !== null) {
    settings.listeners = `${String(settings.listeners)},SECURE://127.0.0.1:${securePort}`;
    settings["advertised.listeners"] = `${String(settings["advertised.listeners"])},SECURE://127.0.0.1:${securePort}`;
    settings["listener.name.secure.ssl.keystore.type"] = "PKCS12";
    settings["listener.name.secure.ssl.keystore.location"] = path.join(folder, "keys.p12");
    settings["listener.name.secure.ssl.keystore.password"] = STORE_PASSWORD;
    settings["listener.name.secure.sasl.enabled.mechanisms"] = "SCRAM-SHA-512";
    settings["listener.name.secure.scram-sha-512.sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
  }
  const properties = path.join(folder, "server.properties");
  await writeFile(properties, toProperties({ ...settings, ...options.settings }));
  const classPath = path.join(jars, "*");
  await format(classPath, properties, options.secure);

  const server = javaServer({
    name: "Kafka",
    ...(options.jvm === undefined ? {} : { jvm: options.jvm }),
    args: [...LOGGING, "-cp", classPath, "kafka.Kafka", properties],
    cwd: folder,
    logFile: path.join(folder, "kafka.log"),
    ready: (log) => log.includes("Kafka Server started"),
  });
  await server.start();
  return {
    brokers: [`127.0.0.1:${port}`],
    secure,
    controller,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
    restart: async () => {
      await server.stop();
      await server.start();
    },
    [Symbol.asyncDispose]: async () => {
      await server.kill(); // nobody reads the data again
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Warnings only, and the line by which we know that it is up. */
const LOGGING = ["defaultLogLevel=warn", "log.kafka.server=info", "showDateTime=true"].map(
  (option) => `-Dorg.slf4j.simpleLogger.${option}`,
);

async function format(classPath: string, properties: string, login: KafkaOptions["secure"]): Promise<void> {
  const args = ["format", "-t", "dGFpbHJhY2UtdGVzdHMtMQ", "-c", properties];
  if (login !== undefined) args.push("--add-scram", `SCRAM-SHA-512=[name=${login.username},password=${login.password}]`);
  await promisify(execFile)("java", ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classPath, "kafka.tools.StorageTool", ...args]);
}

/** A key pair for 127.0.0.1 in keys.p12; returns its self-signed certificate. keytool comes with every Java runtime. */
async function makeKeys(folder: string): Promise<string> {
  const store = ["-keystore", path.join(folder, "keys.p12"), "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-alias", "broker"];
  const keytool = promisify(execFile);
  const names = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1,dns:localhost"];
  await keytool("keytool", ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "30", ...names, ...store]);
  await keytool("keytool", ["-exportcert", "-rfc", "-file", path.join(folder, "ca.pem"), ...store]);
  return await readFile(path.join(folder, "ca.pem"), "utf8");
}

function toProperties(settings: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${String(value)}\n`)
    .join("");
}
