import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";

const root = path.resolve(import.meta.dirname, "../../..");
const read = (file: string): Promise<string> => readFile(path.join(root, file), "utf8");

type Manifest = Readonly<Record<"dependencies" | "devDependencies" | "overrides", Readonly<Record<string, string>>>>;

test("docs/dependencies.md says of each dependency why it is here, and names no other", async () => {
  const manifest = JSON.parse(await read("package.json")) as Manifest;
  const lines = (await read("docs/dependencies.md")).split("\n").filter((line) => line.startsWith("- "));
  const explained = lines.flatMap((line) => [...(line.split(/: | \d/)[0] ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  const all = [manifest.dependencies, manifest.devDependencies, manifest.overrides].flatMap((group) => Object.keys(group));
  expect(explained.sort()).toEqual(all.sort());
});

test("versions are exact", async () => {
  const manifest = JSON.parse(await read("package.json")) as Manifest;
  for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) expect(version).toMatch(/^\d/);
});

test("the lock file has a version for each package on each platform", async () => {
  const lock = JSON.parse(await read("package-lock.json")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  // npm leaves out optional packages it can't find, and `npm ci` then refuses the file elsewhere.
  const names = new Set(Object.keys(lock.packages).map((where) => where.replace(/^.*node_modules\//, "")));
  const wanted = Object.values(lock.packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
  expect(wanted.filter((name) => !names.has(name))).toEqual([]);
});
