// Confluent's "Schema Deletion Guidelines", over HTTP: hidden first, gone second, and what comes back.
import { expect, test } from "vitest";
import { isRefusal } from "../../../src/registry/refusals.ts";
import { ask, converse, error, rowSchema, serveRegistry, type ServedRegistry } from "./open-registry.ts";

const signal = new AbortController().signal;
const int = rowSchema("int");
const long = rowSchema("long");
const double = rowSchema("double");

/** Subject `a-value` with int, long and double as its versions 1, 2, 3 and ids 1, 2, 3. */
async function served(): Promise<ServedRegistry> {
  const opened = await serveRegistry();
  for (const schema of [int, long, double]) await opened.registry.register("a-value", schema, signal);
  return opened;
}

test("a deleted version is hidden from all that do not ask for it, and its id can still be read", async () => {
  await using registry = await served();
  await converse(registry, [
    ["DELETE", "/subjects/a-value/versions/2", undefined, 2],
    ["GET", "/subjects/a-value/versions", undefined, [1, 3]],
    ["GET", "/subjects/a-value/versions?deleted=true", undefined, [1, 2, 3]],
    ["GET", "/subjects/a-value/versions?deletedOnly=true", undefined, [2]],
    ["GET", "/subjects/a-value/versions/2", undefined, error(404, 40402)],
    ["GET", "/subjects/a-value/versions/2/schema", undefined, error(404, 40402)],
    ["GET", "/subjects/a-value/versions/2?deleted=true", undefined, { subject: "a-value", id: 2, version: 2, schema: long }],
    ["POST", "/subjects/a-value", { schema: long }, error(404, 40403)],
    ["POST", "/subjects/a-value?deleted=true", { schema: long }, { subject: "a-value", id: 2, version: 2, schema: long }],
    ["GET", "/schemas/ids/2", undefined, { schema: long }],
    ["GET", "/schemas/ids/2/versions", undefined, []],
    ["GET", "/schemas/ids/2/versions?deleted=true", undefined, [{ subject: "a-value", version: 2 }]],
    ["GET", "/schemas/ids/2/subjects?deleted=true", undefined, ["a-value"]],
  ]);
});

test("the latest version is the latest that is not deleted, and a new one gets the number after all", async () => {
  await using registry = await served();
  await converse(registry, [
    ["DELETE", "/subjects/a-value/versions/latest", undefined, 3],
    ["GET", "/subjects/a-value/versions/latest", undefined, { subject: "a-value", id: 2, version: 2, schema: long }],
    ["DELETE", "/subjects/a-value/versions/-1", undefined, 2],
    ["POST", "/subjects/a-value/versions", { schema: rowSchema("float") }, { id: 4 }],
    ["GET", "/subjects/a-value/versions", undefined, [1, 4]],
  ]);
});

test("a schema that comes back after a deletion has its id again, and the next version", async () => {
  await using registry = await served();
  await converse(registry, [
    ["DELETE", "/subjects/a-value/versions/3", undefined, 3],
    ["POST", "/subjects/a-value/versions", { schema: double }, { id: 3 }],
    ["GET", "/subjects/a-value/versions?deleted=true", undefined, [1, 2, 4]],
    ["GET", "/subjects/a-value/versions/4", undefined, { subject: "a-value", id: 3, version: 4, schema: double }],
    ["DELETE", "/subjects/a-value", undefined, [1, 2, 4]],
    ["POST", "/subjects/a-value/versions", { schema: int }, { id: 1 }],
    ["GET", "/subjects/a-value/versions", undefined, [5]],
  ]);
});

test("compatibility does not ask deleted versions", async () => {
  await using registry = await served();
  await converse(registry, [
    ["POST", "/subjects/a-value/versions", { schema: rowSchema("string") }, error(409, 409)],
    ["DELETE", "/subjects/a-value", undefined, [1, 2, 3]],
    [
      "POST",
      "/compatibility/subjects/a-value/versions?verbose=true",
      { schema: rowSchema("string") },
      { is_compatible: true, messages: [] },
    ],
    ["POST", "/compatibility/subjects/a-value/versions/latest", { schema: rowSchema("string") }, error(404, 40401)],
    ["POST", "/subjects/a-value/versions", { schema: rowSchema("string") }, { id: 4 }],
  ]);
});

test("only what is hidden is deleted for good, and only once each", async () => {
  await using registry = await served();
  await converse(registry, [
    ["DELETE", "/subjects/a-value/versions/1?permanent=true", undefined, error(404, 40407)],
    ["DELETE", "/subjects/a-value/versions/1", undefined, 1],
    ["DELETE", "/subjects/a-value/versions/1", undefined, error(404, 40406)],
    ["DELETE", "/subjects/a-value?permanent=true", undefined, error(404, 40405)],
    ["DELETE", "/subjects/a-value/versions/1?permanent=true", undefined, 1],
    ["DELETE", "/subjects/a-value/versions/1?permanent=true", undefined, error(404, 40402)],
    ["GET", "/subjects/a-value/versions?deleted=true", undefined, [2, 3]],
    ["DELETE", "/subjects/a-value", undefined, [2, 3]],
    ["DELETE", "/subjects/a-value", undefined, error(404, 40404)],
    ["DELETE", "/subjects/a-value?permanent=true", undefined, [2, 3]],
    ["DELETE", "/subjects/a-value?permanent=true", undefined, error(404, 40401)],
    ["DELETE", "/subjects/a-value/versions/1", undefined, error(404, 40401)],
    ["DELETE", "/subjects/a-value/versions/zero", undefined, error(422, 42202)],
  ]);
});

test("a deleted subject is hidden, and its level and mode go with its last version", async () => {
  await using registry = await served();
  await registry.registry.register("b-value", int, signal);
  await converse(registry, [
    ["PUT", "/config/a-value", { compatibility: "FULL" }, { compatibility: "FULL" }],
    ["PUT", "/mode/a-value", { mode: "READWRITE" }, { mode: "READWRITE" }],
    ["DELETE", "/subjects/a-value/versions/1", undefined, 1],
    ["DELETE", "/subjects/a-value/versions/2", undefined, 2],
    ["GET", "/config/a-value", undefined, { compatibilityLevel: "FULL" }],
    ["DELETE", "/subjects/a-value/versions/3", undefined, 3],
    ["GET", "/config/a-value", undefined, error(404, 40408)],
    ["GET", "/mode/a-value", undefined, error(404, 40409)],
    ["GET", "/subjects", undefined, ["b-value"]],
    ["GET", "/subjects?deleted=true", undefined, ["a-value", "b-value"]],
    ["GET", "/subjects?deletedOnly=true", undefined, ["a-value"]],
    ["GET", "/subjects/a-value/versions", undefined, error(404, 40401)],
    ["GET", "/subjects/a-value/versions/1", undefined, error(404, 40401)],
    ["POST", "/subjects/a-value", { schema: int }, error(404, 40401)],
  ]);
});

test("after a permanent deletion the versions begin anew, an id that nobody has left is unknown, and comes back with its schema", async () => {
  await using registry = await served();
  await registry.registry.register("b-value", int, signal);
  await converse(registry, [
    ["DELETE", "/subjects/a-value", undefined, [1, 2, 3]],
    ["DELETE", "/subjects/a-value?permanent=true", undefined, [1, 2, 3]],
    ["GET", "/subjects?deleted=true", undefined, ["b-value"]],
    ["GET", "/schemas/ids/1", undefined, { schema: int }],
    ["GET", "/schemas/ids/2", undefined, error(404, 40403)],
    ["GET", "/schemas/ids/2/schema", undefined, error(404, 40403)],
    ["GET", "/schemas/ids/2/versions", undefined, error(404, 40403)],
    ["POST", "/subjects/a-value/versions", { schema: rowSchema("string") }, { id: 4 }],
    ["GET", "/subjects/a-value/versions", undefined, [1]],
    ["POST", "/subjects/c-value/versions", { schema: long }, { id: 2 }],
    ["GET", "/schemas/ids/2", undefined, { schema: long }],
  ]);
});

test("Tailrace itself reads events of a schema that was deleted for good", async () => {
  await using registry = await served();
  await ask(registry, "DELETE", "/subjects/a-value");
  await ask(registry, "DELETE", "/subjects/a-value?permanent=true");
  expect(await registry.registry.schema(2, signal)).toBe(long);
});

test("deletions are there after a restart", async () => {
  await using registry = await served();
  await converse(registry, [
    ["DELETE", "/subjects/a-value/versions/1", undefined, 1],
    ["DELETE", "/subjects/a-value/versions/2", undefined, 2],
    ["DELETE", "/subjects/a-value/versions/2?permanent=true", undefined, 2],
  ]);
  await registry.restart();
  await converse(registry, [
    ["GET", "/subjects/a-value/versions", undefined, [3]],
    ["GET", "/subjects/a-value/versions?deleted=true", undefined, [1, 3]],
    ["GET", "/schemas/ids/2", undefined, error(404, 40403)],
    ["DELETE", "/subjects/a-value/versions/1", undefined, error(404, 40406)],
  ]);
});

test("a registration at the same time as a deletion finds the subject whole or gone, never half", async () => {
  await using registry = await serveRegistry();
  for (let round = 0; round < 20; round++) {
    for (const schema of [int, long]) await registry.registry.register("a-value", schema, signal);
    const [deleted, id] = await Promise.all([
      registry.registry.deleteSubject("a-value", false),
      registry.registry.register("a-value", int, signal),
    ]);
    expect(id).toBe(1);
    expect(deleted).toHaveLength(2);
    const left = registry.registry.versions("a-value"); // the registration came after the deletion, or before it
    expect(isRefusal(left) ? left.error_code : left).toEqual(isRefusal(left) ? 40401 : [3]);
    await registry.registry.deleteSubject("a-value", false);
    await registry.registry.deleteSubject("a-value", true);
  }
});
