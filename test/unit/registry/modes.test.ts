// Confluent's "Schema Registry API Reference", chapters Mode and Config, over HTTP.
import { expect, test } from "vitest";
import { ask, converse, error, rowSchema, serveRegistry } from "./open-registry.ts";

const signal = new AbortController().signal;
const int = rowSchema("int");
const long = rowSchema("long");
const string = rowSchema("string");

test("a subject's mode goes before the registry's, and is its own or none", async () => {
  await using registry = await serveRegistry();
  await converse(registry, [
    ["GET", "/mode", undefined, { mode: "READWRITE" }],
    ["GET", "/mode/a-value", undefined, error(404, 40409)],
    ["GET", "/mode/a-value?defaultToGlobal=true", undefined, { mode: "READWRITE" }],
    ["PUT", "/mode", { mode: "readonly" }, { mode: "READONLY" }],
    ["GET", "/mode/a-value?defaultToGlobal=true", undefined, { mode: "READONLY" }],
    ["PUT", "/mode/a-value", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, { id: 1 }],
    ["POST", "/subjects/b-value/versions", { schema: int }, error(422, 42205)],
    ["DELETE", "/mode/a-value", undefined, { mode: "READWRITE" }],
    ["DELETE", "/mode/a-value", undefined, error(404, 40401)],
    ["DELETE", "/mode", undefined, { mode: "READONLY" }],
    ["GET", "/mode", undefined, { mode: "READWRITE" }],
    ["PUT", "/mode/a-value", { mode: "SOME" }, error(422, 42204)],
    ["PUT", "/mode", {}, error(422, 42204)],
    ["PUT", "/mode/a%0Ab", { mode: "READONLY" }, error(422, 42208)],
  ]);
});

test("READONLY takes no schema, no deletion and no level; what is known is answered with its id", async () => {
  await using registry = await serveRegistry();
  await registry.registry.register("a-value", int, signal);
  await converse(registry, [
    ["PUT", "/mode/a-value", { mode: "READONLY" }, { mode: "READONLY" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, { id: 1 }],
    ["POST", "/subjects/a-value/versions", { schema: long }, error(422, 42205)],
    ["DELETE", "/subjects/a-value", undefined, error(422, 42205)],
    ["DELETE", "/subjects/a-value/versions/1", undefined, error(422, 42205)],
    ["PUT", "/config/a-value", { compatibility: "NONE" }, error(422, 42205)],
    ["DELETE", "/config/a-value", undefined, error(422, 42205)],
    ["GET", "/subjects/a-value/versions", undefined, [1]],
  ]);
  await expect(registry.registry.register("a-value", long, signal)).rejects.toMatchObject({
    code: "REGISTRY_REFUSED",
    message: expect.stringContaining("a-value is in read-only mode"),
  });
});

test("READONLY_OVERRIDE of the registry holds in subjects whose own mode would write", async () => {
  await using registry = await serveRegistry();
  await converse(registry, [
    ["PUT", "/mode/a-value", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["PUT", "/mode", { mode: "READONLY_OVERRIDE" }, { mode: "READONLY_OVERRIDE" }],
    ["GET", "/mode/a-value", undefined, { mode: "READONLY_OVERRIDE" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, error(422, 42205)],
    ["PUT", "/mode", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, { id: 1 }],
  ]);
});

test("IMPORT takes schemas with their ids and versions, without a question of compatibility, and nothing else", async () => {
  await using registry = await serveRegistry();
  await converse(registry, [
    ["POST", "/subjects/a-value/versions", { schema: int, id: 70 }, error(422, 42205)],
    ["PUT", "/mode", { mode: "IMPORT" }, { mode: "IMPORT" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, error(422, 42205)],
    ["POST", "/subjects/a-value/versions", { schema: int, id: 70, version: 3 }, { id: 70 }],
    ["POST", "/subjects/a-value/versions", { schema: int, id: 70, version: 3 }, { id: 70 }],
    ["POST", "/subjects/a-value/versions", { schema: string, id: 70 }, error(422, 42205)],
    ["POST", "/subjects/a-value/versions", { schema: string, id: 50, version: 3 }, error(422, 42205)],
    ["POST", "/subjects/a-value/versions", { schema: string, id: 50 }, { id: 50 }],
    ["GET", "/subjects/a-value/versions", undefined, [3, 4]],
    ["GET", "/schemas/ids/70", undefined, { schema: int }],
    ["PUT", "/mode", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["POST", "/subjects/b-value/versions", { schema: int }, { id: 70 }],
    ["POST", "/subjects/b-value/versions", { schema: long }, { id: 71 }],
  ]);
  await registry.restart();
  await converse(registry, [
    ["GET", "/schemas/ids/50?fetchMaxId=true", undefined, { schema: string, maxId: 71 }],
    ["POST", "/subjects/c-value/versions", { schema: rowSchema("bytes") }, { id: 72 }],
  ]);
});

test("one schema that had two ids elsewhere keeps both", async () => {
  await using registry = await serveRegistry();
  await converse(registry, [
    ["PUT", "/mode", { mode: "IMPORT" }, { mode: "IMPORT" }],
    ["POST", "/subjects/a-value/versions", { schema: int, id: 5 }, { id: 5 }],
    ["POST", "/subjects/b-value/versions", { schema: int, id: 9 }, { id: 9 }],
    ["GET", "/schemas/ids/9", undefined, { schema: int }],
    ["POST", "/subjects/b-value", { schema: int }, { subject: "b-value", id: 9, version: 1, schema: int }],
    ["PUT", "/mode", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["POST", "/subjects/b-value/versions", { schema: int }, { id: 9 }],
    ["POST", "/subjects/c-value/versions", { schema: int }, { id: 5 }],
  ]);
});

test("IMPORT begins where no versions are, and drops the hidden ones; with force it goes beside what is there", async () => {
  await using registry = await serveRegistry();
  for (const subject of ["a-value", "b-value"]) await registry.registry.register(subject, int, signal);
  await converse(registry, [
    ["PUT", "/mode", { mode: "IMPORT" }, error(422, 42205)],
    ["PUT", "/mode/a-value", { mode: "IMPORT" }, error(422, 42205)],
    ["DELETE", "/subjects/a-value", undefined, [1]],
    ["PUT", "/mode/a-value", { mode: "IMPORT" }, { mode: "IMPORT" }],
    ["GET", "/subjects?deleted=true", undefined, ["b-value"]],
    ["PUT", "/mode/b-value?force=true", { mode: "IMPORT" }, { mode: "IMPORT" }],
    ["GET", "/subjects/b-value/versions", undefined, [1]],
    ["POST", "/subjects/b-value/versions", { schema: string, id: 12 }, { id: 12 }],
  ]);
});

test("outside of IMPORT a registration may name the next version, and no other", async () => {
  await using registry = await serveRegistry();
  await converse(registry, [
    ["POST", "/subjects/a-value/versions", { schema: int, version: 2 }, error(422, 42201)],
    ["POST", "/subjects/a-value/versions", { schema: int, version: 1, id: -1 }, { id: 1 }],
    ["POST", "/subjects/a-value/versions", { schema: long, version: 0 }, { id: 2 }],
    ["GET", "/subjects/a-value/versions", undefined, [1, 2]],
  ]);
});

test("the registry's level is that of subjects without one, and goes back to BACKWARD when it is deleted", async () => {
  await using registry = await serveRegistry();
  await registry.registry.register("a-value", long, signal);
  await converse(registry, [
    ["PUT", "/config", { compatibility: "none" }, { compatibility: "NONE" }],
    ["GET", "/config", undefined, { compatibilityLevel: "NONE" }],
    ["GET", "/config/a-value?defaultToGlobal=true", undefined, { compatibilityLevel: "NONE" }],
    ["PUT", "/config/a-value", { compatibility: "FULL_TRANSITIVE" }, { compatibility: "FULL_TRANSITIVE" }],
    ["POST", "/subjects/a-value/versions", { schema: string }, error(409, 409)],
    ["DELETE", "/config/a-value", undefined, { compatibilityLevel: "FULL_TRANSITIVE" }],
    ["DELETE", "/config/a-value", undefined, error(404, 40401)],
    ["POST", "/subjects/a-value/versions", { schema: string }, { id: 2 }],
    ["PUT", "/config", { compatibility: "SOME" }, error(422, 42203)],
  ]);
  await registry.restart();
  await converse(registry, [
    ["GET", "/config", undefined, { compatibilityLevel: "NONE" }],
    ["DELETE", "/config", undefined, { compatibilityLevel: "NONE" }],
    ["GET", "/config", undefined, { compatibilityLevel: "BACKWARD" }],
  ]);
});

test("levels and modes are there after a restart", async () => {
  await using registry = await serveRegistry();
  await ask(registry, "PUT", "/mode/a-value", { mode: "READONLY" });
  await ask(registry, "PUT", "/config/b-value", { compatibility: "FORWARD" });
  await registry.restart();
  await converse(registry, [
    ["GET", "/mode/a-value", undefined, { mode: "READONLY" }],
    ["GET", "/config/b-value", undefined, { compatibilityLevel: "FORWARD" }],
    ["POST", "/subjects/a-value/versions", { schema: int }, error(422, 42205)],
  ]);
});
