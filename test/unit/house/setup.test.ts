// What `npm run …` goes through: the set-up must be as good as not there once its command runs.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";

const setup = path.resolve(import.meta.dirname, "../../../scripts/setup.mjs");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tailrace-setup-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** The command `code`, run through the set-up. */
async function through(code: string, ...args: string[]): Promise<ChildProcess> {
  const file = path.join(folder, `${Math.random()}.mjs`);
  await writeFile(file, code);
  return spawn(process.execPath, [setup, "tool", file, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

test("stdout, arguments and exit code are the command's", async () => {
  const child = await through(`console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;`, "--json", "a b");
  const [out, [code]] = await Promise.all([text(child.stdout!), once(child, "exit")]);
  expect({ out, code }).toEqual({ out: '["--json","a b"]\n', code: 7 });
});

test("Ctrl-C comes to the command once, though the terminal and npm both send it", async () => {
  const child = await through(`
    let seen = 0;
    process.on("SIGINT", () => { if (++seen === 1) setTimeout(() => { console.log(seen); process.exit(0); }, 150); });
    setInterval(() => {}, 1000);
    console.log("ready");
  `);
  const lines: string[] = [];
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    lines.push(chunk.trim());
    if (lines.length > 1) return;
    child.kill("SIGINT");
    setTimeout(() => child.kill("SIGINT"), 50);
  });
  await once(child, "close"); // after its last line
  expect(lines).toEqual(["ready", "1"]);
});

test("a command that a signal ends is seen as such by the shell", async () => {
  const child = await through(`process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);`);
  expect(await once(child, "exit")).toEqual([143, null]);
});
