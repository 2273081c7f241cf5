// Apicurio Registry for tests: in memory, on 127.0.0.1, asked through its Confluent-compatible API.
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../src/quickstart/free-port.ts";
import { javaServer } from "./java-server.ts";
import { fetched, type MavenProgram } from "./maven-cache.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export const REGISTRY: MavenProgram = {
  name: "registry",
  pom: fileURLToPath(new URL("./registry/pom.xml", import.meta.url)),
  goal: "unpack",
};

export type RegistryServer = AsyncDisposable & {
  /** What `registry.url` takes. */
  readonly url: string;
  readonly pid: number | null;
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  /** On the same port, and empty: its schemas were in memory. */
  restart(): Promise<void>;
};

export async function startRegistry(): Promise<RegistryServer> {
  const program = await fetched(REGISTRY);
  const jar = (await readdir(program)).find((name) => name.endsWith("-runner.jar"));
  if (jar === undefined) throw new Error(`no runner jar in ${program}; delete the folder to fetch it again`);
  const folder = await temporaryFolder("registry");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const options = { "http.host": "127.0.0.1", "http.port": port, "http.access-log.enabled": false, "log.level": "WARN" };
  const server = javaServer({
    name: "Apicurio",
    args: [...Object.entries(options).map(([name, value]) => `-Dquarkus.${name}=${String(value)}`), "-jar", path.join(program, jar)],
    cwd: folder,
    logFile: path.join(folder, "registry.log"),
    ready: () =>
      fetch(`${url}/subjects`).then(
        (response) => response.ok,
        () => false,
      ),
  });
  await server.start();
  return {
    url,
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
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
