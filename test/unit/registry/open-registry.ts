// An embedded registry in a folder of its own, and its HTTP API on a free port.
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fastify, type FastifyInstance } from "fastify";
import { expect } from "vitest";
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
  /** Closes the store and opens it again, under another URL. */
  restart(): Promise<void>;
};

export async function serveRegistry(): Promise<ServedRegistry> {
  const opened = await openRegistry();
  const serve = async (registry: EmbeddedRegistry): Promise<FastifyInstance> => {
    const server = fastify({ routerOptions: { maxParamLength: 1024 } });
    await server.register(registryRoutes(registry), { prefix: "/registry" });
    await server.listen({ host: "127.0.0.1", port: 0 });
    return server;
  };
  let [registry, server] = [opened.registry, await serve(opened.registry)];
  return {
    get registry() {
      return registry;
    },
    get server() {
      return server;
    },
    get url() {
      return `http://127.0.0.1:${(server.server.address() as AddressInfo).port}/registry`;
    },
    restart: async () => {
      await server.close();
      registry = await opened.reopen();
      server = await serve(registry);
    },
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

export type Answered = { readonly status: number; readonly type: string | null; readonly body: unknown };

/** A request of the HTTP API. A text is sent as it is, anything else as JSON. */
export async function ask(served: ServedRegistry, method: string, path: string, body?: unknown): Promise<Answered> {
  const response = await fetch(served.url + path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, type: response.headers.get("content-type"), body: JSON.parse(await response.text()) };
}

/** What an answer of that code matches. */
export function error(status: number, error_code: number): object {
  return { status, body: { error_code, message: expect.any(String) as string } };
}

/** One line of a conversation: method, path, body, and what the answer's body is, or `error(…)` with its status. */
export type Line = readonly [method: string, path: string, body: unknown, answer: unknown];

/** Asks in order, and expects each answer. */
export async function converse(served: ServedRegistry, lines: readonly Line[]): Promise<void> {
  for (const [index, [method, path, body, answer]] of lines.entries()) {
    const { status, body: answered } = await ask(served, method, path, body);
    const refused = typeof answer === "object" && answer !== null && "status" in answer;
    const words = `line ${index + 1}: ${method} ${path} answers ${status} ${JSON.stringify(answered)}`;
    if (refused) expect({ status, body: answered }, words).toMatchObject(answer);
    else expect({ status, body: answered }, words).toEqual({ status: 200, body: answer });
  }
}
