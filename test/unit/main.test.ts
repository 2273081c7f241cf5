// What a command loads before it knows that it is needed: each library costs every start of the command line its time.
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";

type Module = {
  readonly source: string;
  readonly dependencies: readonly { readonly resolved: string; readonly dynamic: boolean; readonly dependencyTypes: readonly string[] }[];
};

const root = path.resolve(import.meta.dirname, "../..");
let modules: ReadonlyMap<string, Module>;

beforeAll(async () => {
  const program = path.join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
  const args = [program, "--config", ".dependency-cruiser.mjs", "--output-type", "json", "src"];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 1 << 26 }).catch((error: unknown) => {
    if (typeof (error as { stdout?: unknown }).stdout === "string") return error as { stdout: string }; // a broken rule is another test's
    throw error;
  });
  modules = new Map((JSON.parse(stdout) as { modules: Module[] }).modules.map((module) => [module.source, module]));
}, 60_000);

/** The packages that are loaded with a file, before anything of it runs. */
function packagesOf(file: string): readonly string[] {
  const seen = new Set([file]);
  for (const source of seen) {
    for (const { resolved, dynamic, dependencyTypes } of modules.get(source)?.dependencies ?? []) {
      if (!dynamic && !dependencyTypes.includes("type-only") && !dependencyTypes.includes("core")) seen.add(resolved);
    }
  }
  const names = [...seen].flatMap((source) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []);
  return [...new Set(names)].sort();
}

test("--help and a usage error are answered without any package", () => {
  expect(packagesOf("src/main.ts")).toEqual([]);
});

test("a configuration is read, and refused, with what reads it alone", () => {
  expect(packagesOf("src/config/load.ts")).toEqual(["yaml", "zod"]);
});

test("status asks the running service and loads no part of it", () => {
  expect(packagesOf("src/commands/status.ts")).toEqual([]);
});

test("the service loads what every service needs; the libraries of a log and of a warehouse come with the one that it has", () => {
  const loaded = packagesOf("src/commands/run.ts");
  expect(loaded).toEqual(expect.arrayContaining(["fastify", "pg", "pino"]));
  expect(loaded.filter((name) => /duckdb|kafka|lmdb/.test(name))).toEqual([]);
  expect(packagesOf("src/log/kafka/kafka-log.ts")).toContain("kafkajs");
  expect(packagesOf("src/log/embedded/embedded-log.ts")).toContain("lmdb");
  expect(packagesOf("src/warehouses/duckdb/session.ts")).toContain("@duckdb/node-api");
});
