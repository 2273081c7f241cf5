// Runs in the test runner's own process, for the whole run: starts each shared server when the first test asks for it,
// tells the tests where it is, and stops all at the end. Tests don't import this; they import servers.ts.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import { FLINK } from "./flink.ts";
import { KAFKA, startKafka } from "./kafka.ts";
import { missingFor } from "./maven-cache.ts";
import { missingPostgres, startTestPostgres } from "./postgres.ts";
import { REGISTRY, startRegistry } from "./registry.ts";
import { sweepLeftovers } from "./temporary-folder.ts";

export type ServerName = "postgres" | "postgres15" | "kafka" | "registry";

declare module "vitest" {
  interface ProvidedContext {
    /** Answers GET /<server> with the server's address, after starting it. */
    serversUrl: string;
    /** Why a server, or a foreign reader from Maven, can't be had here; null when it can. */
    missing: Readonly<Record<ServerName | "flink", string | null>>;
  }
}

type Shared = {
  /** The variable that names a server to use instead of our own. */
  readonly override: string | null;
  readonly missing: () => string | null | Promise<string | null>;
  readonly start: () => Promise<AsyncDisposable & { readonly address: string }>;
};

const shared: Readonly<Record<ServerName, Shared>> = {
  postgres: {
    override: "TEST_PG_URL",
    missing: () => missingPostgres(18),
    start: async () => withAddress(await startTestPostgres(18), (server) => server.url),
  },
  postgres15: {
    override: null,
    missing: () => missingPostgres(15),
    start: async () => withAddress(await startTestPostgres(15), (server) => server.url),
  },
  kafka: {
    override: "TEST_KAFKA_BROKERS",
    missing: () => missingFor(KAFKA),
    start: async () => withAddress(await startKafka(), (server) => server.brokers.join(",")),
  },
  registry: {
    override: "TEST_REGISTRY_URL",
    missing: () => missingFor(REGISTRY),
    start: async () => withAddress(await startRegistry(), (server) => server.url),
  },
};

/** vitest calls it before the first test; what it returns, after the last. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweepLeftovers();
  const missing = await whatIsMissing();
  const started = new Map<ServerName, ReturnType<Shared["start"]>>();
  const addressOf = async (name: ServerName): Promise<string> => {
    const { override, start } = shared[name];
    const given = override === null ? undefined : process.env[override];
    if (given !== undefined && given !== "") return given;
    const server = started.get(name) ?? start();
    started.set(name, server);
    return (await server).address;
  };
  const door = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    if (!(name in shared)) return void response.writeHead(404).end();
    addressOf(name as ServerName).then(
      (address) => response.end(address),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve));
  project.provide("serversUrl", `http://127.0.0.1:${(door.address() as AddressInfo).port}`);
  project.provide("missing", missing);

  return async () => {
    door.close();
    door.closeAllConnections();
    await Promise.all([...started.values()].map(async (start) => (await start.catch(() => null))?.[Symbol.asyncDispose]()));
  };
}

/** On a build machine a server that is not there is a failure; elsewhere its tests are skipped, and that is said aloud. */
async function whatIsMissing(): Promise<Record<ServerName | "flink", string | null>> {
  const entries = Object.entries(shared).map(async ([name, { override, missing }]) => {
    const given = override !== null && (process.env[override] ?? "") !== "";
    return [name, given ? null : await missing()] as const;
  });
  const servers = Object.fromEntries(await Promise.all(entries)) as Record<ServerName, string | null>;
  const missing = { ...servers, flink: await missingFor(FLINK) };
  const reasons = [...new Set(Object.values(missing).filter((reason) => reason !== null))];
  if (reasons.length === 0) return missing;
  if (process.env.CI === "true") throw new Error(`CI=true and servers for tests are missing:\n${reasons.join("\n")}`);
  process.stderr.write(`\n!!! TESTS WILL BE SKIPPED, servers are missing:\n${reasons.map((reason) => `!!!   ${reason}\n`).join("")}\n`);
  return missing;
}

function withAddress<S extends AsyncDisposable>(server: S, address: (server: S) => string): AsyncDisposable & { readonly address: string } {
  return { address: address(server), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
