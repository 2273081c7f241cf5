// The service's HTTP server: metrics, probes, status, and the embedded registry where there is one. All of it but the
// registry is for reading.
import { fastify, type FastifyInstance } from "fastify";
import { TailraceError, reasonOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { redactText } from "./redaction.ts";

export type HttpOptions = {
  /** `port` 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly log: Log;
  readonly metrics: { render(): Promise<{ readonly contentType: string; readonly text: string }> };
  /** What is not ready now and why; empty when every connector streams. */
  readonly notReady: () => readonly NotReady[];
  /** JSON for GET /api/status. */
  readonly status: () => object;
  /** Routes for /registry. */
  readonly registry?: (server: FastifyInstance) => Promise<void>;
};

export type NotReady = {
  readonly name: string;
  readonly state: string;
  readonly code?: string | undefined;
  readonly reason?: string | undefined;
};

export interface HttpServer extends AsyncDisposable {
  /** As in `http://127.0.0.1:8080`. */
  readonly url: string;
}

/** How long requests may go on after the server was told to close, ms. */
const CLOSE_MS = 800;

/** Listens until disposed of, which takes less than 1 s. Throws HTTP_ADDRESS when the address can't be listened on. */
export async function openHttpServer(options: HttpOptions): Promise<HttpServer> {
  const { host, port } = options.listen;
  // Subjects of the registry are longer than Fastify's 100 characters for a parameter.
  const server = fastify({ forceCloseConnections: "idle", routerOptions: { maxParamLength: 1024 } });
  addRoutes(server, options);
  if (options.registry !== undefined) await server.register(options.registry, { prefix: "/registry" });
  try {
    await server.listen({ host, port });
  } catch (cause) {
    await server.close();
    throw new TailraceError("HTTP_ADDRESS", { address: hostPort(host, port), reason: whyNot(cause) }, { cause });
  }
  const bound = server.server.address();
  const url = `http://${hostPort(host, typeof bound === "object" && bound !== null ? bound.port : port)}`;
  return { url, [Symbol.asyncDispose]: () => close(server) };
}

function addRoutes(server: FastifyInstance, options: HttpOptions): void {
  server.setErrorHandler((error, request, reply) => {
    const status = (error as { readonly statusCode?: number }).statusCode ?? 500;
    if (status >= 500) options.log.error({ error, path: request.routeOptions.url }, "an HTTP request failed");
    return reply.status(status).send({ error: status >= 500 ? "internal error, see the log" : redactText(reasonOf(error)) });
  });
  server.get("/metrics", async (_request, reply) => {
    const { contentType, text } = await options.metrics.render();
    return reply.header("content-type", contentType).send(text);
  });
  server.get("/livez", () => ({ alive: true }));
  server.get("/readyz", (_request, reply) => {
    const waiting = options.notReady();
    return reply.status(waiting.length === 0 ? 200 : 503).send({ ready: waiting.length === 0, waiting });
  });
  server.get("/api/status", () => options.status());
}

async function close(server: FastifyInstance): Promise<void> {
  const force = setTimeout(() => {
    server.server.closeAllConnections();
  }, CLOSE_MS);
  await server.close();
  clearTimeout(force);
}

function whyNot(cause: unknown): string {
  const code = (cause as { readonly code?: unknown }).code;
  if (code === "EADDRINUSE") return "another process listens there";
  if (code === "EACCES") return "this user may not use the port";
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") return "this machine has no such address";
  return reasonOf(cause);
}

function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
