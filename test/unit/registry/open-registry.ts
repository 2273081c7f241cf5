// An embedded registry in a folder of its own, and its HTTP API on a free port.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fastify, type FastifyInstance } from "fastify";
import type { Compatibility } from "../../../src/core/schema-registry.ts";
import { EmbeddedRegistry } from "../../../src/registry/embedded.ts";
import { registryRoutes } from "../../../src/registry/routes.ts";
import { openRegistryStore } from "../../../src/registry/store.ts";

export type OpenRegistry = AsyncDisposable & {
  readonly registry: EmbeddedRegistry;
  /** Closes the store and opens it again, as a restart does. */
  reopen(): Promise<EmbeddedRegistry>;
};

export async function openRegistry(compatibility?: Compatibility): Promise<OpenRegistry> {
  const folder = await mkdtemp(path.join(tmpdir(), "tailrace-registry-"));
  let store = openRegistryStore(path.join(folder, "registry"));
  const open = (): EmbeddedRegistry =>
    new EmbeddedRegistry({ store, address: folder, ...(compatibility === undefined ? {} : { compatibility }) });
  return {
    registry: open(),
    reopen: async () => {
      await store[Symbol.asyncDispose]();
      store = openRegistryStore(path.join(folder, "registry"));
      return open();
    },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

export type ServedRegistry = AsyncDisposable & {
  readonly registry: EmbeddedRegistry;
  readonly server: FastifyInstance;
  readonly url: string;
};

export async function serveRegistry(): Promise<ServedRegistry> {
  const opened = await openRegistry();
  const server = fastify({ routerOptions: { maxParamLength: 1024 } });
  await server.register(registryRoutes(opened.registry), { prefix: "/registry" });
  const address = await server.listen({ host: "127.0.0.1", port: 0 });
  return {
    registry: opened.registry,
    server,
    url: `${address}/registry`,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await opened[Symbol.asyncDispose]();
    },
  };
}

/** A record schema with the one field `value`. */
export function rowSchema(type: unknown, name = "Row"): string {
  return JSON.stringify({ type: "record", name, namespace: "shop", fields: [{ name: "value", type }] });
}
