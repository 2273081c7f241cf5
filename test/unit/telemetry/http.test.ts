import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/telemetry/metrics.ts";
import { openHttpServer, type HttpOptions, type HttpServer, type NotReady } from "../../../src/telemetry/http.ts";
import { openLog } from "../../../src/telemetry/log.ts";

function open(options: Partial<HttpOptions> = {}): Promise<HttpServer> {
  return openHttpServer({
    listen: { host: "127.0.0.1", port: 0 },
    log: openLog({ level: "silent" }),
    metrics: createMetrics({ version: "1.2.3" }),
    notReady: () => [],
    status: () => ({}),
    ...options,
  });
}

async function get(server: HttpServer, path: string): Promise<{ readonly status: number; readonly type: string; readonly text: string }> {
  const response = await fetch(server.url + path);
  return { status: response.status, type: response.headers.get("content-type") ?? "", text: await response.text() };
}

test("port 0 takes a free one, which the URL names", async () => {
  await using server = await open();
  expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d+$/);
  expect(await get(server, "/livez")).toMatchObject({ status: 200, text: '{"alive":true}' });
});

test("/metrics has the metrics in Prometheus's type", async () => {
  await using server = await open();
  const { status, type, text } = await get(server, "/metrics");
  expect([status, type]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(text).toContain('tailrace_build_info{version="1.2.3"');
});

test("/readyz is 503 while something is not ready, and names it; /livez does not mind", async () => {
  let waiting: readonly NotReady[] = [
    { name: "shop", state: "waiting", code: "DATABASE_UNREACHABLE", reason: "PostgreSQL at db:5432 does not answer" },
  ];
  await using server = await open({ notReady: () => waiting });
  const before = await get(server, "/readyz");
  expect([before.status, JSON.parse(before.text)]).toEqual([503, { ready: false, waiting }]);
  expect((await get(server, "/livez")).status).toBe(200);
  waiting = [];
  const after = await get(server, "/readyz");
  expect([after.status, JSON.parse(after.text)]).toEqual([200, { ready: true, waiting: [] }]);
});

test("/api/status is what the callback gives at that time", async () => {
  let asked = 0;
  await using server = await open({ status: () => ({ connectors: [{ name: "shop" }], asked: ++asked }) });
  await get(server, "/api/status");
  const { type, text } = await get(server, "/api/status");
  expect([type, JSON.parse(text)]).toEqual(["application/json; charset=utf-8", { connectors: [{ name: "shop" }], asked: 2 }]);
});

test("a failing callback is an answer without details, and a line in the log", async () => {
  const lines: string[] = [];
  const log = openLog({ destination: { write: (line: string) => void lines.push(line) } });
  const status = (): never => {
    throw new Error("postgres://u:hunter2@db is gone");
  };
  await using server = await open({ log, status });
  expect(await get(server, "/api/status")).toMatchObject({ status: 500, text: '{"error":"internal error, see the log"}' });
  expect(lines.join("")).toContain("is gone");
  expect(lines.join("")).not.toContain("hunter2");
});

test("the registry's routes are under /registry, with subjects as long as they get; without it they are not there", async () => {
  await using server = await open({
    registry: async (routes) => {
      routes.get<{ Params: { subject: string } }>("/subjects/:subject", ({ params }) => ({ length: params.subject.length }));
    },
  });
  expect(await get(server, `/registry/subjects/${"x".repeat(255)}`)).toMatchObject({ status: 200, text: '{"length":255}' });
  await using without = await open();
  expect((await get(without, "/registry/subjects/x")).status).toBe(404);
});

test("a port in use is HTTP_ADDRESS with the address and the fix", async () => {
  await using first = await open();
  const port = Number(new URL(first.url).port);
  await expect(open({ listen: { host: "127.0.0.1", port } })).rejects.toMatchObject({
    code: "HTTP_ADDRESS",
    message: `the HTTP server can't listen on 127.0.0.1:${port}: another process listens there`,
    retry: "operator",
  });
  expect((await get(first, "/livez")).status).toBe(200);
});

test.each(["192.0.2.1", "no-such-host.invalid"])("an address that this machine does not have is HTTP_ADDRESS: %s", async (host) => {
  await expect(open({ listen: { host, port: 0 } })).rejects.toMatchObject({ code: "HTTP_ADDRESS" });
});

test("IPv6 addresses are written in brackets", async () => {
  const probe = createServer();
  const available = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(0, "::1", () => resolve(true));
  });
  if (available) {
    const { port } = probe.address() as AddressInfo;
    await expect(open({ listen: { host: "::1", port } })).rejects.toThrow(`[::1]:${port}`);
  }
  probe.close();
});

test("closing takes less than a second, with an idle connection and a request that never ends", async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const server = await open({
    registry: async (routes) => {
      routes.get("/slow", async () => {
        release();
        await new Promise(() => undefined);
      });
    },
  });
  const port = Number(new URL(server.url).port);
  const idle = await new Promise<Socket>((resolve) => {
    const socket: Socket = connect(port, "127.0.0.1", () => resolve(socket));
  });
  const slow = fetch(`${server.url}/registry/slow`).catch(() => "cut");
  await held;
  const began = performance.now();
  await server[Symbol.asyncDispose]();
  expect(performance.now() - began).toBeLessThan(1000);
  expect(await slow).toBe("cut");
  idle.destroy();
});
