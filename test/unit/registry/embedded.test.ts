import { expect, test } from "vitest";
import type { Refusal } from "../../../src/registry/refusals.ts";
import { openRegistry, rowSchema } from "./open-registry.ts";

const signal = new AbortController().signal;

test("the same schema gets the same id, in each subject and after white space", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  expect(await registry.register("a-value", rowSchema("int"), signal)).toBe(1);
  expect(await registry.register("a-value", rowSchema("int"), signal)).toBe(1);
  expect(await registry.register("b-value", JSON.stringify(JSON.parse(rowSchema("int")), null, 2), signal)).toBe(1);
  expect(await registry.register("a-value", rowSchema("long"), signal)).toBe(2);
  expect(registry.versions("a-value")).toEqual([1, 2]);
  expect(registry.versions("b-value")).toEqual([1]);
  expect(await registry.schema(1, signal)).toBe(rowSchema("int"));
});

test("a trial says what a registration would come to, and registers nothing", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  expect(await registry.tryOut("a-value", rowSchema("long"), signal)).toEqual({ verdict: "first" });
  expect(registry.subjects()).toEqual([]);
  await registry.register("a-value", rowSchema("long"), signal);
  expect(await registry.tryOut("a-value", rowSchema("long"), signal)).toEqual({ verdict: "known" });
  expect(await registry.tryOut("a-value", rowSchema("double"), signal)).toEqual({ verdict: "fits" });
  const reason = expect.stringContaining("/value: ") as string;
  expect(await registry.tryOut("a-value", rowSchema("string"), signal)).toEqual({ verdict: "refused", reason });
  expect(await registry.tryOut("a-value", "no schema", signal)).toMatchObject({ verdict: "refused" });
  expect(registry.versions("a-value")).toEqual([1]);
});

test("a rule of the caller's is asked with the latest schema, at NONE too: not of a subject's first one, nor of one that it has", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  await registry.setCompatibility("a-value", "NONE");
  const asked: string[] = [];
  const rule = (latest: string): string => {
    asked.push(latest);
    return "a rule";
  };
  const register = async (schema: string, what: "present" | "past" | "anything" = "present"): Promise<number> =>
    registry.register("a-value", schema, signal, what, rule);
  expect(await register(rowSchema("int"))).toBe(1);
  expect(await register(rowSchema("int"))).toBe(1);
  expect(asked).toEqual([]);
  for (const what of ["present", "past"] as const)
    await expect(register(rowSchema("string"), what)).rejects.toMatchObject({
      code: "REGISTRY_REFUSED",
      message: expect.stringContaining("a rule"),
    });
  expect(await registry.tryOut("a-value", rowSchema("string"), signal, rule)).toEqual({ verdict: "refused", reason: "a rule" });
  expect(asked).toEqual([rowSchema("int"), rowSchema("int"), rowSchema("int")]);
  expect(await register(rowSchema("string"), "anything")).toBe(2);
});

test("ids, subjects, versions and levels are there after a restart, and ids go on", async () => {
  await using opened = await openRegistry();
  await opened.registry.register("a-value", rowSchema("int"), signal);
  await opened.registry.register("b-value", rowSchema("string"), signal);
  await opened.registry.setCompatibility("a-value", "full");
  const registry = await opened.reopen();
  expect(registry.subjects()).toEqual(["a-value", "b-value"]);
  expect(registry.compatibility("a-value")).toBe("FULL");
  expect(await registry.schema(2, signal)).toBe(rowSchema("string"));
  expect(await registry.register("c-value", rowSchema("bytes"), signal)).toBe(3);
  expect(await registry.register("a-value", rowSchema("int"), signal)).toBe(1);
});

test("registrations at the same time give each schema an id of its own, without gaps", async () => {
  await using opened = await openRegistry("NONE");
  const types = Array.from({ length: 40 }, (_, index) => rowSchema("int", `Row${index % 20}`));
  const ids = await Promise.all(types.map((schema) => opened.registry.register("a-value", schema, signal)));
  expect(ids.slice(0, 20)).toEqual(ids.slice(20));
  expect(new Set(ids)).toEqual(new Set(Array.from({ length: 20 }, (_, index) => index + 1)));
  expect(opened.registry.versions("a-value")).toHaveLength(20);
});

test("an incompatible schema is refused with the path and the reason, and leaves nothing behind", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  await registry.register("a-value", rowSchema("long"), signal);
  await expect(registry.register("a-value", rowSchema("int"), signal)).rejects.toMatchObject({
    code: "REGISTRY_REFUSED",
    message: expect.stringMatching(/a-value.*BACKWARD.*\/value: long can't be read as int/),
  });
  expect(registry.versions("a-value")).toEqual([1]);
  expect(await registry.register("b-value", rowSchema("string"), signal)).toBe(2);
});

test("R-logical: another decimal scale is refused", async () => {
  await using opened = await openRegistry();
  const decimal = (scale: number): string => rowSchema({ type: "bytes", logicalType: "decimal", precision: 10, scale });
  await opened.registry.register("a-value", decimal(2), signal);
  await expect(opened.registry.register("a-value", decimal(3), signal)).rejects.toThrow(
    "the logical type changed from decimal(10,2) to decimal(10,3)",
  );
});

test("R-logical holds at NONE too; a subject that takes anything takes that as well, and keeps the level NONE", async () => {
  await using opened = await openRegistry("NONE");
  const { registry } = opened;
  const timestamp = rowSchema({ type: "long", logicalType: "timestamp-micros" });
  await registry.register("a-value", rowSchema("long"), signal);
  await expect(registry.register("a-value", timestamp, signal)).rejects.toThrow("the logical type changed from none to timestamp-micros");
  expect(await registry.register("a-value", rowSchema("string"), signal)).toBe(2);
  await registry.register("b.parked-value", rowSchema("long"), signal, "anything");
  expect(await registry.register("b.parked-value", timestamp, signal, "anything")).toBe(3);
  expect(registry.ownCompatibility("b.parked-value")).toBe("NONE");
});

test("a shape of the past is taken by the id that it had, though the subject was deleted since; one of the present is refused", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  await registry.register("a-value", rowSchema("long"), signal);
  await registry.deleteSubject("a-value", false);
  expect(await registry.latest("a-value", signal)).toBeNull();
  await registry.register("a-value", rowSchema("string"), signal);
  expect(await registry.latest("a-value", signal)).toBe(rowSchema("string"));
  expect(await registry.register("a-value", rowSchema("long"), signal, "past")).toBe(1);
  await expect(registry.register("a-value", rowSchema("long"), signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
});

test("an earlier version is registered again without a question of compatibility", async () => {
  await using opened = await openRegistry();
  const { registry } = opened;
  await registry.register("a-value", rowSchema("int"), signal);
  await registry.register("a-value", rowSchema("long"), signal);
  expect(await registry.register("a-value", rowSchema("int"), signal)).toBe(1);
  expect(registry.versions("a-value")).toEqual([1, 2]);
});

test("a subject's own level goes before the registry's", async () => {
  await using opened = await openRegistry("NONE");
  const { registry } = opened;
  await registry.setCompatibility("a-value", "BACKWARD");
  for (const subject of ["a-value", "b-value"]) await registry.register(subject, rowSchema("long"), signal);
  await expect(registry.register("a-value", rowSchema("int"), signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
  await expect(registry.register("b-value", rowSchema("int"), signal)).resolves.toBe(2);
});

test("a text that is no schema is refused, an unknown id is named with the registry's folder", async () => {
  await using opened = await openRegistry();
  await expect(opened.registry.register("a-value", '{"type":"recor', signal)).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
  await expect(opened.registry.schema(7, signal)).rejects.toMatchObject({
    code: "SCHEMA_UNKNOWN",
    message: expect.stringContaining(opened.registry.address),
  });
});

test("subjects that begin alike, or hold any character, keep to themselves", async () => {
  await using opened = await openRegistry();
  const subjects = ["a", "a-value", "a\u{1F600}", "a/b", "ä"];
  for (const [index, subject] of subjects.entries()) await opened.registry.register(subject, rowSchema("int", `R${index}`), signal);
  expect(opened.registry.subjects().toSorted()).toEqual(subjects.toSorted());
  for (const subject of subjects) expect(opened.registry.versions(subject)).toEqual([1]);
});

test("a subject that the store could not keep is refused by name", async () => {
  await using opened = await openRegistry();
  for (const subject of ["", "x".repeat(513)]) {
    expect(((await opened.registry.add(subject, rowSchema("int"))) as Refusal).error_code).toBe(42208);
    expect(((await opened.registry.setCompatibility(subject, "FULL")) as Refusal).error_code).toBe(42208);
  }
  await expect(opened.registry.register("x".repeat(512), rowSchema("int"), signal)).resolves.toBe(1);
});
