// Apache Flink's own format `debezium-avro-confluent` on a topic: its classes and Kafka's client from Maven Central, a program of ours
// that hands one to the other (flink/DebeziumRows.java).
import { execFile } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fetched, type MavenProgram } from "./maven-cache.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export const FLINK: MavenProgram = {
  name: "flink",
  pom: fileURLToPath(new URL("./flink/pom.xml", import.meta.url)),
  goal: "copy-dependencies",
};

const SOURCE = fileURLToPath(new URL("./flink/DebeziumRows.java", import.meta.url));
const LIMIT_MS = 90_000;

export type FlinkReader = AsyncDisposable & {
  /**
   * What Flink makes of partition 0 of `topic`, a line each: `+I[…]`, `-U[…]`, `+U[…]`, `-D[…]`, or `refused` and the reason.
   * `row`: the table's columns as in Flink's SQL, `ROW<id BIGINT, …>`.
   */
  read(topic: string, row: string): Promise<readonly string[]>;
};

/** Compiles the program; a Java runtime is enough, the compiler is a jar as well. */
export async function flinkReader(servers: { readonly brokers: readonly string[]; readonly registryUrl: string }): Promise<FlinkReader> {
  const jars = await fetched(FLINK);
  const folder = await temporaryFolder("flink");
  const files = (await readdir(jars)).map((name) => path.join(jars, name));
  const compiler = files.find((file) => path.basename(file).startsWith("ecj-"));
  if (compiler === undefined) throw new Error(`no compiler in ${jars}; delete the folder to fetch it again`);
  const options = { timeout: LIMIT_MS, killSignal: "SIGKILL" } as const;
  await promisify(execFile)("java", ["-jar", compiler, "-17", "-cp", files.join(path.delimiter), "-d", folder, SOURCE], options);
  const classPath = [folder, path.join(jars, "*")].join(path.delimiter);
  const jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
  return {
    async read(topic, row) {
      const args = [...jvm, "-cp", classPath, "DebeziumRows", servers.brokers.join(","), servers.registryUrl, topic, row];
      const { stdout } = await promisify(execFile)("java", args, options);
      return stdout.split("\n").filter((line) => line !== "");
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
