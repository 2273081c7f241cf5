// `npm run test:schemas -- --cases 1000 --seed 7`, or `--seed 7 --case 412` for one case alone: the arguments as what
// test/e2e/random-schemas.test.ts reads, which vitest would refuse.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const VARIABLES = { cases: "TEST_SCHEMA_CASES", seed: "TEST_SCHEMA_SEED", case: "TEST_SCHEMA_CASE" };
const options = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, { type: "string" }]));
const { values } = parseArgs({ options });
for (const [name, value] of Object.entries(values)) {
  if (!/^\d+$/.test(value)) {
    process.stderr.write(`--${name} takes a whole number, not ${value}\n`);
    process.exit(2);
  }
  process.env[VARIABLES[name]] = value;
}
const vitest = ["node_modules/vitest/vitest.mjs", "run", "test/e2e/random-schemas.test.ts"];
process.exit(spawnSync(process.execPath, vitest, { stdio: "inherit" }).status ?? 1);
