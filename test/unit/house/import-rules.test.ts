// A checker that sees no imports reports no violations. So each rule is broken once in a small tree of files and has to
// fire, and the cruise of the real sources has to find their imports.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

type Cruise = {
  readonly summary: {
    readonly totalCruised: number;
    readonly totalDependenciesCruised?: number;
    readonly violations: readonly { readonly from: string; readonly to: string; readonly rule: { readonly name: string } }[];
  };
};

const root = path.resolve(import.meta.dirname, "../../..");
const program = path.join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
const config = path.join(root, ".dependency-cruiser.mjs");

async function cruise(cwd: string, folders: readonly string[]): Promise<Cruise> {
  const args = [program, "--config", config, "--output-type", "json", ...folders];
  // It ends with the number of errors; the report is on stdout all the same.
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, maxBuffer: 1 << 26 }).catch((error: unknown) => {
    if (typeof (error as { stdout?: unknown }).stdout === "string") return error as { stdout: string };
    throw error;
  });
  return JSON.parse(stdout) as Cruise;
}

/** A file of the small tree: what it imports, and the rule that must say so; null for what is allowed. */
const cases: readonly { readonly file: string; readonly imports: string; readonly rule: string | null }[] = [
  { file: "src/core/reaches-out.ts", imports: "../avro/codec.ts", rule: "core-alone" },
  { file: "src/core/takes-a-package.ts", imports: "wanted", rule: "core-alone" },
  { file: "src/core/stays.ts", imports: "./lsn.ts", rule: null },
  { file: "src/postgres/session.ts", imports: "../telemetry/metrics.ts", rule: "parts-apart" },
  { file: "src/avro/codec.ts", imports: "../core/lsn.ts", rule: null },
  { file: "src/registry/client.ts", imports: "../avro/codec.ts", rule: "parts-apart" },
  { file: "src/telemetry/metrics.ts", imports: "../core/lsn.ts", rule: null },
  { file: "src/config/loads.ts", imports: "../postgres/session.ts", rule: "parts-apart" },
  { file: "src/log/batch.ts", imports: "../registry/client.ts", rule: "parts-apart" },
  { file: "src/log/kafka/log.ts", imports: "../embedded/log.ts", rule: "logs-apart" },
  { file: "src/log/embedded/log.ts", imports: "../batch.ts", rule: null },
  { file: "src/source/streams.ts", imports: "../postgres/session.ts", rule: null },
  { file: "src/source/sees-a-sink.ts", imports: "../sink/folds.ts", rule: "source-reach" },
  { file: "src/source/sees-a-log.ts", imports: "../log/kafka/log.ts", rule: "source-reach" },
  { file: "src/sink/staging.ts", imports: "../core/lsn.ts", rule: null },
  { file: "src/sink/folds.ts", imports: "../avro/codec.ts", rule: null },
  { file: "src/sink/sees-a-source.ts", imports: "../source/streams.ts", rule: "sink-reach" },
  { file: "src/sink/sees-a-warehouse.ts", imports: "../warehouses/duckdb/load.ts", rule: "sink-reach" },
  { file: "src/warehouses/duckdb/load.ts", imports: "../../core/lsn.ts", rule: null },
  { file: "src/warehouses/duckdb/folds.ts", imports: "../../sink/folds.ts", rule: "warehouse-reach" },
  { file: "src/warehouses/postgres/copies.ts", imports: "../duckdb/load.ts", rule: "warehouses-apart" },
  { file: "src/service.ts", imports: "./sink/folds.ts", rule: null },
  { file: "src/commands/run.ts", imports: "../service.ts", rule: null },
  { file: "src/sink/starts.ts", imports: "../service.ts", rule: "wiring-on-top" },
  { file: "src/novel/idea.ts", imports: "../core/lsn.ts", rule: "folder-without-rule" },
  { file: "src/service-test.ts", imports: "../test/support/fake.ts", rule: "src-alone" },
  { file: "src/commands/tests.ts", imports: "for-tests", rule: "no-dev-package" },
  { file: "src/commands/guesses.ts", imports: "unlisted", rule: "no-unlisted-package" },
  { file: "src/commands/dreams.ts", imports: "./nowhere.ts", rule: "no-unresolved" },
  { file: "src/commands/egg.ts", imports: "./hen.ts", rule: "no-cycle" },
  { file: "src/commands/sweeps.ts", imports: "./utils.ts", rule: "no-drawer" },
];
const leaves = ["src/core/lsn.ts", "src/commands/utils.ts", "test/support/fake.ts"];
const packages = ["wanted", "for-tests", "unlisted"];

let tree: string;
let seen: Cruise;

beforeAll(async () => {
  tree = await mkdtemp(path.join(tmpdir(), "tailrace-imports-"));
  const put = async (file: string, text: string): Promise<void> => {
    await mkdir(path.dirname(path.join(tree, file)), { recursive: true });
    await writeFile(path.join(tree, file), text);
  };
  // Types only: coupling that leaves no trace in the compiled code counts as well.
  for (const { file, imports } of cases) await put(file, `import type { It } from "${imports}";\nexport type { It };\n`);
  for (const file of leaves) await put(file, "export type It = string;\n");
  await put("src/commands/hen.ts", 'import type { It } from "./egg.ts";\nexport type { It };\n'); // a cycle is reported at one end
  await put("src/commands/forgotten.ts", "export const nobody = 1;\n");
  for (const name of packages) {
    await put(`node_modules/${name}/package.json`, JSON.stringify({ name, version: "1.0.0", main: "index.js" }));
    await put(`node_modules/${name}/index.js`, "module.exports = {};\n");
  }
  await put(
    "package.json",
    JSON.stringify({ type: "module", dependencies: { wanted: "1.0.0" }, devDependencies: { "for-tests": "1.0.0" } }),
  );
  await put("tsconfig.json", JSON.stringify({ compilerOptions: { module: "nodenext", allowImportingTsExtensions: true, noEmit: true } }));
  seen = await cruise(tree, ["src", "test"]);
}, 60_000);
afterAll(async () => {
  await rm(tree, { recursive: true, force: true });
});

describe("the import rules", () => {
  test.each(cases)("$file importing $imports: $rule", ({ file, rule }) => {
    const fired = seen.summary.violations.filter(({ from }) => from === file).map((violation) => violation.rule.name);
    expect(fired).toEqual(rule === null ? [] : expect.arrayContaining([rule]));
  });

  test("a file that has nothing to do with any other: no-orphan", () => {
    const orphans = seen.summary.violations.filter(({ rule }) => rule.name === "no-orphan");
    expect(orphans.map(({ from }) => from)).toEqual(["src/commands/forgotten.ts"]);
  });

  test("each rule has a case that breaks it", async () => {
    const { default: rules } = (await import(config)) as { default: { forbidden: { name: string }[] } };
    const broken = new Set([...cases.map(({ rule }) => rule), "no-orphan"].filter((rule) => rule !== null));
    expect([...broken].sort()).toEqual(rules.forbidden.map(({ name }) => name).sort());
  });

  test("the checker sees the imports of the real sources", async () => {
    const { summary } = await cruise(root, ["src"]);
    expect(summary.totalDependenciesCruised).toBeGreaterThan(summary.totalCruised / 2);
  }, 60_000);
});
