import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import { openConfluentRegistry, type ConfluentRegistryOptions } from "../../../src/registry/confluent.ts";
import { rowSchema } from "./open-registry.ts";

const signal = new AbortController().signal;
const PASSWORD = "s3cr%t/päss";

type Asked = { readonly method: string; readonly url: string; readonly authorization: string | undefined; readonly body: unknown };
type Stub = AsyncDisposable & { readonly url: string; readonly asked: Asked[] };

/** A foreign server that answers each request as told. */
async function stub(answer: (asked: Asked, response: ServerResponse) => void): Promise<Stub> {
  const asked: Asked[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      const seen = {
        method: request.method ?? "",
        url: request.url ?? "",
        authorization: request.headers.authorization,
        body: text === "" ? undefined : (JSON.parse(text) as unknown),
      };
      asked.push(seen);
      answer(seen, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { "content-type": "application/vnd.schemaregistry.v1+json" })
    .end(typeof body === "string" ? body : JSON.stringify(body));
}

/** Answers each request alike. */
function always(status: number, body: unknown): Promise<Stub> {
  return stub((_asked, response) => reply(response, status, body));
}

async function failure(options: ConfluentRegistryOptions, act: "register" | "schema" = "register"): Promise<TailraceError> {
  const registry = openConfluentRegistry(options);
  try {
    await (act === "register" ? registry.register("shop.orders-value", rowSchema("int"), signal) : registry.schema(7, signal));
  } catch (error) {
    if (error instanceof TailraceError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test.each([
  [401, "REGISTRY_LOGIN", "HTTP 401: no"],
  [403, "REGISTRY_LOGIN", "HTTP 403: no"],
  [409, "REGISTRY_REFUSED", "shop.orders-value: no"],
  [422, "REGISTRY_REFUSED", "shop.orders-value: no"],
  [500, "REGISTRY_UNREACHABLE", "HTTP 500: no"],
  [503, "REGISTRY_UNREACHABLE", "HTTP 503: no"],
  [429, "REGISTRY_UNREACHABLE", "HTTP 429: no"],
  [308, "REGISTRY_UNREACHABLE", "HTTP 308: no"],
  [404, "REGISTRY_UNREACHABLE", "path of registry.url"],
])("HTTP %d is %s, with the registry's words", async (status, code, words) => {
  await using server = await always(status, { error_code: status * 100 + 1, message: "no" });
  const error = await failure({ url: () => server.url });
  expect(error.code).toBe(code);
  expect(error.message).toContain(words);
});

test("an id that the registry does not have is SCHEMA_UNKNOWN, a server that is no registry is not", async () => {
  await using registry = await always(404, { error_code: 40403, message: "Schema 7 not found" });
  expect(await failure({ url: () => registry.url }, "schema")).toMatchObject({
    code: "SCHEMA_UNKNOWN",
    message: expect.stringContaining("Schema 7 not found"),
  });
  await using other = await always(404, "<html>not here</html>");
  expect(await failure({ url: () => other.url }, "schema")).toMatchObject({
    code: "REGISTRY_UNREACHABLE",
    message: expect.stringContaining("path of registry.url"),
  });
  await using blank = await always(200, "hello");
  expect(await failure({ url: () => blank.url }, "schema")).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
});

test("a schema that is not Avro, or needs others, is named", async () => {
  await using json = await always(200, { schema: "{}", schemaType: "JSON" });
  expect(await failure({ url: () => json.url }, "schema")).toMatchObject({
    code: "SCHEMA_UNKNOWN",
    message: expect.stringContaining('"JSON"'),
  });
  await using references = await always(200, {
    schema: '"shop.Other"',
    references: [{ name: "shop.Other", subject: "other", version: 1 }],
  });
  expect(await failure({ url: () => references.url }, "schema")).toMatchObject({
    code: "SCHEMA_UNKNOWN",
    message: expect.stringContaining("refers to other schemas"),
  });
});

test("a registry that refuses connections, or does not answer in time, is unreachable, with the reason", async () => {
  const gone = await always(200, {});
  await gone[Symbol.asyncDispose]();
  expect((await failure({ url: () => gone.url })).message).toMatch(/does not answer: connect ECONNREFUSED/);
  await using silent = await stub(() => undefined);
  expect(await failure({ url: () => silent.url, timeoutMs: 50 })).toMatchObject({
    code: "REGISTRY_UNREACHABLE",
    message: expect.stringContaining("no answer within 50 ms"),
  });
  await using half = await stub((_asked, response) => void response.writeHead(200).write('{"id"'));
  expect(await failure({ url: () => half.url, timeoutMs: 50 })).toMatchObject({
    code: "REGISTRY_UNREACHABLE",
    message: expect.stringContaining("no answer within 50 ms"),
  });
});

test("the bound of a request holds while garbage is collected, before the answer and within it", async () => {
  setFlagsFromString("--expose-gc");
  const collecting = setInterval(runInNewContext("gc") as () => void, 5);
  try {
    await using silent = await stub(() => undefined);
    await using half = await stub((_asked, response) => void response.writeHead(200).write('{"id"'));
    for (const { url } of [silent, half])
      expect(await failure({ url: () => url, timeoutMs: 50 })).toMatchObject({
        message: expect.stringContaining("no answer within 50 ms"),
      });
  } finally {
    clearInterval(collecting);
  }
});

test("an abort ends the wait at once with the abort's reason", async () => {
  await using silent = await stub(() => undefined);
  const abort = new AbortController();
  const waiting = openConfluentRegistry({ url: () => silent.url }).register("a", rowSchema("int"), abort.signal);
  setTimeout(() => abort.abort(new Error("stop")), 20);
  await expect(waiting).rejects.toThrow("stop");
});

test.each([
  ["in the URL", (url: string) => ({ url: () => url.replace("//", `//us%40er:${encodeURIComponent(PASSWORD)}@`) })],
  ["beside it", (url: string) => ({ url: () => url, auth: () => ({ username: "us@er", password: PASSWORD }) })],
])("credentials %s are sent, and never shown, even when the registry repeats them", async (_where, options) => {
  await using server = await stub(({ authorization }, response) =>
    reply(response, 401, { error_code: 40101, message: `not ${PASSWORD} ${authorization ?? ""}` }),
  );
  const error = await failure(options(server.url));
  expect(server.asked[0]?.authorization).toBe(`Basic ${Buffer.from(`us@er:${PASSWORD}`).toString("base64")}`);
  expect(error.code).toBe("REGISTRY_LOGIN");
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), server.asked[0]?.authorization?.slice(6) ?? ""])
    expect(JSON.stringify(error) + String(error.stack)).not.toContain(secret);
  expect(openConfluentRegistry(options(server.url)).address).toBe(server.url);
});

test("fetch by itself refuses a URL with credentials, and shows them", async () => {
  await expect(fetch(`http://user:${encodeURIComponent("hunter2")}@127.0.0.1:1/`)).rejects.toThrow("hunter2");
});

test.each(["not a url with hunter2", "http://user:hunter2@127.0.0.1:99999/"])(
  "a registry.url that is none (%#) is not repeated",
  async (url) => {
    const error = await failure({ url: () => url });
    expect(error.code).toBe("REGISTRY_UNREACHABLE");
    expect(error.message).not.toContain("hunter2");
  },
);

test("the address has the path and neither query nor credentials", () => {
  expect(openConfluentRegistry({ url: () => "https://u:p@registry.example/apis/ccompat/v7/?token=t" }).address).toBe(
    "https://registry.example/apis/ccompat/v7",
  );
});

test("URL and credentials are read again at each request", async () => {
  await using first = await always(500, {});
  await using second = await always(200, { id: 5 });
  let [url, password] = [first.url, "old-word"];
  const registry = openConfluentRegistry({ url: () => url, auth: () => ({ username: "u", password }) });
  await expect(registry.register("a", rowSchema("int"), signal)).rejects.toMatchObject({ code: "REGISTRY_UNREACHABLE" });
  [url, password] = [second.url, "new-word"];
  expect(await registry.register("a", rowSchema("int"), signal)).toBe(5);
  expect(second.asked[0]?.authorization).toBe(`Basic ${Buffer.from("u:new-word").toString("base64")}`);
});

test("a schema that is there already is looked up, not written", async () => {
  await using server = await always(200, { id: 5 });
  const registry = openConfluentRegistry({ url: () => `${server.url}/` });
  expect(await registry.register("a/b-value", rowSchema("int"), signal)).toBe(5);
  expect(server.asked).toMatchObject([{ method: "POST", url: "/subjects/a%2Fb-value", body: { schema: rowSchema("int") } }]);
});

test("the subject's config is written when configured, once and before anything else", async () => {
  await using server = await always(200, { id: 5 });
  const registry = openConfluentRegistry({ url: () => server.url, compatibility: "FULL_TRANSITIVE" });
  await registry.register("a", rowSchema("int"), signal);
  await registry.register("a", rowSchema("long"), signal);
  await registry.register("b", rowSchema("int"), signal);
  expect(server.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "PUT /config/a",
    "POST /subjects/a",
    "POST /subjects/a",
    "PUT /config/b",
    "POST /subjects/b",
  ]);
  expect(server.asked[0]?.body).toEqual({ compatibility: "FULL_TRANSITIVE" });
});

test("an id is fetched once", async () => {
  await using server = await always(200, { schema: '"int"' });
  const registry = openConfluentRegistry({ url: () => server.url });
  expect([await registry.schema(7, signal), await registry.schema(7, signal)]).toEqual(['"int"', '"int"']);
  expect(server.asked).toHaveLength(1);
});

/** A registry that takes anything, and whose subjects have one earlier version. */
function lenient(earlier: string): Promise<Stub> {
  return stub(({ method, url }, response) => {
    if (method === "GET") reply(response, 200, { subject: "a", id: 1, version: 1, schema: earlier });
    else if (url.endsWith("/versions")) reply(response, 200, { id: 2 });
    else reply(response, 404, { error_code: 40403, message: "Schema not found" });
  });
}

const timestamp = rowSchema({ type: "long", logicalType: "timestamp-micros" });

test("R-logical: a change of logical type is refused although the registry would take it", async () => {
  await using server = await lenient(timestamp);
  const refused = openConfluentRegistry({ url: () => server.url }).register("a", rowSchema("long"), signal);
  await expect(refused).rejects.toMatchObject({
    code: "REGISTRY_REFUSED",
    message: expect.stringContaining("/value: the logical type changed from timestamp-micros to none"),
  });
  expect(server.asked.map(({ method, url }) => `${method} ${url}`)).not.toContain("POST /subjects/a/versions");
});

test("R-logical: a decimal's precision is the registry's to judge, its scale is not", async () => {
  const decimal = (precision: number, scale: number): string => rowSchema({ type: "bytes", logicalType: "decimal", precision, scale });
  await using server = await lenient(decimal(10, 2));
  const register = (schema: string) => openConfluentRegistry({ url: () => server.url }).register("a", schema, signal);
  expect(await register(decimal(12, 2))).toBe(2);
  await expect(register(decimal(12, 4))).rejects.toMatchObject({
    message: expect.stringContaining("/value: the logical type changed from decimal(10,2) to decimal(12,4)"),
  });
});

test("R-logical holds at NONE too, and leaves other changes to the registry", async () => {
  await using structural = await lenient(rowSchema("string"));
  expect(await openConfluentRegistry({ url: () => structural.url }).register("a", rowSchema("long"), signal)).toBe(2);
  await using open = await stub(({ method, url }, response) => {
    if (url.startsWith("/config")) reply(response, 200, {});
    else if (url.endsWith("/versions")) reply(response, 200, { id: 3 });
    else reply(response, method === "GET" ? 200 : 404, method === "GET" ? { schema: timestamp } : {});
  });
  const client = openConfluentRegistry({ url: () => open.url, compatibility: "NONE" });
  await expect(client.register("a", rowSchema("long"), signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
});

test("a rule of the caller's is asked with the latest schema before the registry is, and where it refuses nothing is registered", async () => {
  await using server = await lenient(rowSchema("int"));
  const client = openConfluentRegistry({ url: () => server.url });
  const rule = (latest: string): string | null => (latest === rowSchema("int") ? "a rule" : null);
  await expect(client.register("a", rowSchema("long"), signal, "present", rule)).rejects.toMatchObject({
    code: "REGISTRY_REFUSED",
    message: expect.stringContaining("a rule"),
  });
  expect(await client.tryOut("a", rowSchema("long"), signal, rule)).toMatchObject({
    verdict: "refused",
    reason: expect.stringContaining("a rule"),
  });
  expect(server.asked.map(({ method, url }) => `${method} ${url}`)).not.toContain("POST /subjects/a/versions");
});

test("R-park: a subject that takes anything gets the level NONE, and neither R-logical nor a rule is asked", async () => {
  await using server = await stub(({ method, url }, response) => {
    if (method === "PUT") reply(response, 200, {});
    else if (url.endsWith("/versions")) reply(response, 200, { id: 3 });
    else reply(response, method === "GET" ? 200 : 404, method === "GET" ? { schema: timestamp } : {});
  });
  const client = openConfluentRegistry({ url: () => server.url, compatibility: "FULL" });
  expect(await client.register("a.parked", rowSchema("long"), signal, "anything", () => "a rule")).toBe(3);
  expect(server.asked[0]).toMatchObject({ method: "PUT", url: "/config/a.parked", body: { compatibility: "NONE" } });
});

test("a shape of the past is taken by the id that it had, though its version was deleted since; one of the present is refused", async () => {
  await using server = await stub(({ method, url }, response) => {
    if (url.endsWith("?deleted=true")) reply(response, 200, { id: 1 });
    else if (url.endsWith("/versions")) reply(response, 409, { error_code: 409, message: "no" });
    else reply(response, method === "GET" ? 200 : 404, method === "GET" ? { schema: rowSchema("long") } : {});
  });
  const client = openConfluentRegistry({ url: () => server.url });
  expect(await client.register("a", rowSchema("int"), signal, "past")).toBe(1);
  await expect(client.register("a", rowSchema("int"), signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
});

test("the latest schema of a subject is given as text, null without one", async () => {
  await using server = await stub(({ url }, response) =>
    url.startsWith("/subjects/a/") ? reply(response, 200, { schema: timestamp }) : reply(response, 404, { error_code: 40401 }),
  );
  const client = openConfluentRegistry({ url: () => server.url });
  expect([await client.latest("a", signal), await client.latest("b", signal)]).toEqual([timestamp, null]);
});

test("requests are counted by status, refusals by themselves", async () => {
  const codes: string[] = [];
  let refusals = 0;
  const metrics = {
    registryRequests: { inc: ({ code }: { readonly code: string }) => void codes.push(code) },
    registryRefusals: { inc: () => (refusals += 1) },
  };
  const server = await always(409, { error_code: 409, message: "no" });
  await failure({ url: () => server.url, metrics });
  await server[Symbol.asyncDispose]();
  await failure({ url: () => server.url, metrics });
  expect({ codes, refusals }).toEqual({ codes: ["409", "none"], refusals: 1 });
});
