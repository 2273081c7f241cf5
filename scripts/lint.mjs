// Everything that is said about the code without running it. All checks run, so that one run names all that is wrong.
// Needs installed packages: `npm run lint` sees to that.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";

const bin = (...parts) => [process.execPath, path.resolve("node_modules", ...parts)];

const checks = [
  { name: "types", command: [...bin("typescript/bin/tsc"), "-p", "tsconfig.json"] },
  { name: "eslint", command: [...bin("eslint/bin/eslint.js"), "."] },
  { name: "prettier", command: [...bin("prettier/bin/prettier.cjs"), "--check", "--log-level=warn", "."] },
  {
    name: "imports",
    command: [...bin("dependency-cruiser/bin/dependency-cruise.mjs"), "--config", ".dependency-cruiser.mjs", "src", "test", "bench"],
  },
];
// The one check that is no npm package: it runs where it is installed.
const hadolint = (process.env.PATH ?? "").split(path.delimiter).some((folder) => existsSync(path.join(folder, "hadolint")));
if (hadolint) checks.push({ name: "hadolint", command: ["hadolint", "Dockerfile"] });
else process.stdout.write("hadolint is not installed: Dockerfile not checked\n");

const failed = [];
await Promise.all(
  checks.map(async ({ name, command: [file, ...args] }) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    process.stdout.write(`${code === 0 ? "ok    " : "FAILED"} ${name}\n${code === 0 ? "" : out + errors}`);
    if (code !== 0) failed.push(name);
  }),
);
if (failed.length > 0) process.stdout.write(`\nfailed: ${failed.join(", ")}\n`);
process.exitCode = failed.length > 0 ? 1 : 0;
