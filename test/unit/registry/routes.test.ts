import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import type { Type } from "avsc";
import { fastify } from "fastify";
import { expect, test } from "vitest";
import { openConfluentRegistry } from "../../../src/registry/confluent.ts";
import { registryRoutes } from "../../../src/registry/routes.ts";
import { ask, converse, error, openRegistry, rowSchema, serveRegistry } from "./open-registry.ts";

const signal = new AbortController().signal;
const int = rowSchema("int");
const long = rowSchema("long");

test("registering and reading answer as Confluent's API does, in its content type", async () => {
  await using served = await serveRegistry();
  expect(await ask(served, "POST", "/subjects/a-value/versions", { schema: int })).toEqual({
    status: 200,
    type: "application/vnd.schemaregistry.v1+json",
    body: { id: 1 },
  });
  await ask(served, "POST", "/subjects/a-value/versions", { schema: long, schemaType: "AVRO", references: [] });
  const first = { subject: "a-value", id: 1, version: 1, schema: int };
  const second = { subject: "a-value", id: 2, version: 2, schema: long };
  const answers: readonly (readonly [string, string, unknown, unknown])[] = [
    ["GET", "/subjects", undefined, ["a-value"]],
    ["GET", "/subjects/a-value/versions", undefined, [1, 2]],
    ["GET", "/subjects/a-value/versions/1", undefined, first],
    ["GET", "/subjects/a-value/versions/latest", undefined, second],
    ["GET", "/subjects/a-value/versions/-1", undefined, second],
    ["POST", "/subjects/a-value", { schema: int }, first],
    ["GET", "/schemas/ids/2", undefined, { schema: long }],
    ["GET", "/schemas/types", undefined, ["AVRO"]],
    ["GET", "/config", undefined, { compatibilityLevel: "BACKWARD" }],
    ["GET", "/config/a-value?defaultToGlobal=true", undefined, { compatibilityLevel: "BACKWARD" }],
    ["PUT", "/config/a-value", { compatibility: "FULL" }, { compatibility: "FULL" }],
    ["GET", "/config/a-value", undefined, { compatibilityLevel: "FULL" }],
    ["POST", "/compatibility/subjects/a-value/versions/latest", { schema: long }, { is_compatible: true }],
    ["POST", "/compatibility/subjects/a-value/versions/2", { schema: int }, { is_compatible: false }],
    ["GET", "/", undefined, {}],
  ];
  for (const [method, path, body, expected] of answers)
    expect(await ask(served, method, path, body), `${method} ${path}`).toMatchObject({ status: 200, body: expected });
});

test("a compatibility check can be asked for its reasons", async () => {
  await using served = await serveRegistry();
  await ask(served, "POST", "/subjects/a-value/versions", { schema: long });
  expect(await ask(served, "POST", "/compatibility/subjects/a-value/versions/latest?verbose=true", { schema: int })).toMatchObject({
    body: { is_compatible: false, messages: ["/value: long can't be read as int"] },
  });
});

test("errors have Confluent's codes", async () => {
  await using served = await serveRegistry();
  await ask(served, "POST", "/subjects/a-value/versions", { schema: long });
  const refused: readonly (readonly [string, string, unknown, object])[] = [
    ["GET", "/subjects/none/versions", undefined, error(404, 40401)],
    ["GET", "/subjects/none/versions/1", undefined, error(404, 40401)],
    ["POST", "/subjects/none", { schema: int }, error(404, 40401)],
    ["GET", "/subjects/a-value/versions/9", undefined, error(404, 40402)],
    ["GET", "/subjects/a-value/versions/0", undefined, error(422, 42202)],
    ["GET", "/subjects/a-value/versions/two", undefined, error(422, 42202)],
    ["POST", "/subjects/a-value", { schema: int }, error(404, 40403)],
    ["GET", "/schemas/ids/9", undefined, error(404, 40403)],
    ["GET", "/schemas/ids/x", undefined, error(404, 40403)],
    ["POST", "/subjects/a-value/versions", { schema: int }, error(409, 409)],
    ["POST", "/subjects/a-value/versions", { schema: '{"type":"recor' }, error(422, 42201)],
    ["POST", "/subjects/a-value/versions", {}, error(422, 42201)],
    ["POST", "/subjects/a-value/versions", { schema: "{}", schemaType: "JSON" }, error(422, 42201)],
    ["POST", "/subjects/a-value/versions", { schema: int, references: [{ name: "x", subject: "y", version: 1 }] }, error(422, 42201)],
    ["POST", "/subjects/a-value/versions", "{", error(400, 400)],
    ["GET", "/config/a-value", undefined, error(404, 40408)],
    ["PUT", "/config/a-value", { compatibility: "SOME" }, error(422, 42203)],
    ["GET", "/nothing", undefined, error(404, 404)],
  ];
  for (const [method, path, body, expected] of refused)
    expect(await ask(served, method, path, body), `${method} ${path}`).toMatchObject(expected);
});

test("a body of a type that a foreign web page may send is refused", async () => {
  await using served = await serveRegistry();
  const response = await fetch(`${served.url}/subjects/a-value/versions`, { method: "POST", body: JSON.stringify({ schema: int }) });
  expect([response.status, served.registry.subjects()]).toEqual([415, []]);
});

test("subjects as long as Kafka's topic names, and with a slash, are served", async () => {
  await using served = await serveRegistry();
  for (const subject of [`${"x".repeat(249)}-value`, "a/b-value", "ä %-value"]) {
    await ask(served, "POST", `/subjects/${encodeURIComponent(subject)}/versions`, { schema: int });
    expect(await ask(served, "GET", `/subjects/${encodeURIComponent(subject)}/versions/1`)).toMatchObject({ body: { subject, id: 1 } });
  }
});

test("with Fastify's own limit on parameters a long subject is answered 414", async () => {
  await using opened = await openRegistry();
  const naive = fastify();
  await naive.register(registryRoutes(opened.registry), { prefix: "/registry" });
  const answer = await naive.inject({ method: "POST", url: `/registry/subjects/${"x".repeat(101)}/versions`, payload: { schema: int } });
  expect(answer.statusCode).toBe(414);
});

test("our own client of Confluent's API is at home with it", async () => {
  await using served = await serveRegistry();
  const client = openConfluentRegistry({ url: () => served.url, compatibility: "FULL" });
  expect(await client.register("a-value", int, signal)).toBe(1);
  expect(await client.register("a-value", int, signal)).toBe(1);
  expect(await client.schema(1, signal)).toBe(int);
  expect(served.registry.ownCompatibility("a-value")).toBe("FULL");
  await expect(client.register("a-value", rowSchema("string"), signal)).rejects.toMatchObject({
    code: "REGISTRY_REFUSED",
    message: expect.stringContaining("/value: int can't be read as string"),
  });
});

test("@kafkajs/confluent-schema-registry registers, looks up and decodes, and writes BACKWARD into the subject's config", async () => {
  await using served = await serveRegistry();
  const client = new SchemaRegistry({ host: served.url });
  const schema = { type: SchemaType.AVRO as const, schema: long };
  const { id } = await client.register(schema, { subject: "shop.orders-value" });
  expect(id).toBe(1);
  expect(served.registry.ownCompatibility("shop.orders-value")).toBe("BACKWARD");
  expect(await client.register(schema, { subject: "shop.orders-value" })).toMatchObject({ id });
  expect(await client.getLatestSchemaId("shop.orders-value")).toBe(id);
  expect(await client.getRegistryIdBySchema("shop.orders-value", schema)).toBe(id);
  const framed = Buffer.from([0, 0, 0, 0, id, 84]); // magic byte, id, zigzag of 42
  expect(await new SchemaRegistry({ host: served.url }).decode(framed)).toEqual({ value: 42 });
  await expect(client.register({ ...schema, schema: int }, { subject: "shop.orders-value" })).rejects.toThrow(/can't be read as int/);
});

test("it registers beside schemas of ours, whose subjects have no level of their own", async () => {
  await using served = await serveRegistry();
  await served.registry.register("shop.orders-value", int, signal);
  const client = new SchemaRegistry({ host: served.url });
  await expect(client.register({ type: SchemaType.AVRO, schema: long }, { subject: "shop.orders-value" })).resolves.toEqual({ id: 2 });
});

test("its parsed type has lost the logical types: schemas are fetched as text", async () => {
  await using served = await serveRegistry();
  const annotated = rowSchema({ type: "long", logicalType: "timestamp-micros" });
  const id = await served.registry.register("a-value", annotated, signal);
  const parsed = (await new SchemaRegistry({ host: served.url }).getSchema(id)) as Type;
  expect(JSON.stringify(parsed.schema({ exportAttrs: true }))).not.toContain("timestamp-micros");
  expect(await openConfluentRegistry({ url: () => served.url }).schema(id, signal)).toBe(annotated);
});

test("schemas are listed by subject, prefix and page, and told by where they are used", async () => {
  await using served = await serveRegistry();
  for (const subject of ["shop.a-value", "shop.b-value", "store.a-value"]) await served.registry.register(subject, int, signal);
  await served.registry.register("shop.a-value", long, signal);
  const [first, second] = [
    { subject: "shop.a-value", id: 1, version: 1, schema: int },
    { subject: "shop.a-value", id: 2, version: 2, schema: long },
  ];
  await converse(served, [
    ["GET", "/subjects?subjectPrefix=shop.", undefined, ["shop.a-value", "shop.b-value"]],
    ["GET", "/subjects?subjectPrefix=:*:store", undefined, ["store.a-value"]],
    ["GET", "/subjects?offset=1&limit=1", undefined, ["shop.b-value"]],
    ["GET", "/schemas?subjectPrefix=shop.a", undefined, [first, second]],
    ["GET", "/schemas?subjectPrefix=shop.a&latestOnly=true", undefined, [second]],
    ["GET", "/schemas?limit=1", undefined, [first]],
    ["GET", "/schemas/ids/1/subjects", undefined, ["shop.a-value", "shop.b-value", "store.a-value"]],
    ["GET", "/schemas/ids/2/versions", undefined, [{ subject: "shop.a-value", version: 2 }]],
    ["GET", "/schemas/ids/9/subjects", undefined, error(404, 40403)],
    ["GET", "/schemas/ids/2/schema", undefined, JSON.parse(long)],
    ["GET", "/subjects/shop.a-value/versions/1/schema", undefined, JSON.parse(int)],
    ["GET", "/subjects/shop.a-value/versions/latest/referencedby", undefined, []],
    ["GET", "/contexts", undefined, ["."]],
  ]);
});

test("a schema can be tried against all versions of its subject, at the subject's level", async () => {
  await using served = await serveRegistry();
  for (const schema of [int, long]) await served.registry.register("a-value", schema, signal);
  const all = "/compatibility/subjects/a-value/versions";
  await converse(served, [
    ["POST", all, { schema: rowSchema("double") }, { is_compatible: true }],
    ["POST", `${all}?verbose=true`, { schema: int }, { is_compatible: false, messages: ["/value: long can't be read as int"] }],
    ["PUT", "/config/a-value", { compatibility: "FORWARD" }, { compatibility: "FORWARD" }],
    ["POST", `${all}?verbose=true`, { schema: int }, { is_compatible: true, messages: [] }],
    ["PUT", "/config/a-value", { compatibility: "FORWARD_TRANSITIVE" }, { compatibility: "FORWARD_TRANSITIVE" }],
    ["POST", all, { schema: long }, { is_compatible: false }],
    ["POST", all, { schema: "{" }, error(422, 42201)],
    ["POST", "/compatibility/subjects/none/versions", { schema: int }, { is_compatible: true }],
  ]);
});

test("a flag that is given twice, or is no flag, is none", async () => {
  await using served = await serveRegistry();
  await served.registry.register("a-value", int, signal);
  await converse(served, [
    ["GET", "/subjects?deletedOnly=true&deletedOnly=true", undefined, ["a-value"]],
    ["GET", "/subjects?deletedOnly=1&limit=x&offset=-3", undefined, ["a-value"]],
    ["DELETE", "/subjects/a-value?permanent=TRUE", undefined, error(404, 40405)],
  ]);
});

test("@kafkajs/confluent-schema-registry registers again what was deleted, and reads events of both times under one id", async () => {
  await using served = await serveRegistry();
  const subject = "shop.orders-value";
  const schema = { type: SchemaType.AVRO as const, schema: long };
  const { id } = await new SchemaRegistry({ host: served.url }).register(schema, { subject });
  await converse(served, [["DELETE", `/subjects/${subject}`, undefined, [1]]]);
  const client = new SchemaRegistry({ host: served.url });
  await expect(client.getLatestSchemaId(subject)).rejects.toThrow(/not found/);
  expect(await client.decode(Buffer.from([0, 0, 0, 0, id, 84]))).toEqual({ value: 42 });
  expect(await client.register(schema, { subject })).toEqual({ id });
  expect(await client.getLatestSchemaId(subject)).toBe(id);
});
