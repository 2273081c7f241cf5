// What is paused outlives the process, and a file that can't be trusted is not taken for an empty one.
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Pauses } from "../../../src/service/pauses.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tailrace-pauses-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});
const file = (): string => path.join(folder, "paused.json");

test("what was paused is paused in the next process, tables and whole connectors apart", async () => {
  const before = await Pauses.load(file());
  await before.setWhole("lake", true);
  await before.setTables("shop", ["public.b", "public.a"], true);
  const after = await Pauses.load(file());
  expect([after.isPaused("lake"), after.isPaused("shop")]).toEqual([true, false]);
  expect([...after.tables("shop")]).toEqual(["public.a", "public.b"]);
  await after.setTables("shop", ["public.b"], false);
  await after.setWhole("lake", false);
  const last = await Pauses.load(file());
  expect([last.isPaused("lake"), [...last.tables("shop")]]).toEqual([false, ["public.a"]]);
  expect(await readdir(folder)).toEqual(["paused.json"]);
});

test("a connector that is forgotten leaves nothing", async () => {
  const pauses = await Pauses.load(file());
  await pauses.setWhole("lake", true);
  await pauses.setTables("lake", ["public.a"], true);
  await pauses.forget("lake");
  expect(JSON.parse(await readFile(file(), "utf8"))).toEqual({});
});

test.each(["{", '{"lake": {"whole": "yes", "tables": []}}', '{"lake": true}'])("a file that says %s is refused by name", async (text) => {
  await writeFile(file(), text);
  await expect(Pauses.load(file())).rejects.toMatchObject({ code: "PAUSES_UNREADABLE" });
});

test.skipIf(process.getuid?.() === 0)("what can't be written is not paused", async () => {
  const pauses = await Pauses.load(file());
  await chmod(folder, 0o500);
  await expect(pauses.setWhole("lake", true)).rejects.toMatchObject({ code: "PAUSES_UNREADABLE" });
  expect(pauses.isPaused("lake")).toBe(false);
  await chmod(folder, 0o700);
});

test("without a file it is kept in memory", async () => {
  const pauses = Pauses.none();
  await pauses.setWhole("lake", true);
  expect(pauses.isPaused("lake")).toBe(true);
});
