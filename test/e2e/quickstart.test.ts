import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../support/temporary-folder.ts";

const SETUP = fileURLToPath(new URL("../../scripts/setup.mjs", import.meta.url));
const QUERY = fileURLToPath(new URL("../../scripts/query.mjs", import.meta.url));
/** A clean copy, whatever the counts are. */
const CLEAN = { dead_letters: 0, duplicates: 0, differences: 0 };

type Result = { events: number; merged: number; end_to_end_ms: { p50: number; p99: number } };
type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder("quickstart");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function start(...args: string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const child = spawn(process.execPath, [SETUP, "run", "dist/main.js", "quickstart", ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = [text(child.stdout), text(child.stderr)];
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, ended: exit.then(async (code) => ({ code, out: await out, err: await err })) };
}

async function query(sql: string): Promise<string> {
  const file = path.join(folder, ".tailrace/quickstart/shop.duckdb");
  const child = spawn(process.execPath, [QUERY, "--file", file, sql], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return out + err;
}

let first: Result;

test("the copy is the shop, value by value, and the last line says so", async () => {
  const { code, out, err } = await start("--exit-after", "5s", "--json").ended;
  expect(code, err).toBe(0);
  expect(out.trimEnd().split("\n")).toHaveLength(1);
  first = JSON.parse(out) as Result;
  expect(first).toMatchObject({ ...CLEAN, end_to_end_ms: { p50: expect.any(Number), p99: expect.any(Number) } });
  expect(Object.keys(first)).toEqual(["events", "merged", "dead_letters", "duplicates", "differences", "end_to_end_ms"]);
  expect(first.events).toBeGreaterThan(20_000);
  expect(first.merged).toBeGreaterThanOrEqual(20_000);
  expect(err.indexOf("wrote 20,000 rows into the shop")).toBeLessThan(err.indexOf("reading existing rows: "));
  expect(err).toMatch(/reading existing rows: .*[1-5] tables? left/);
  expect(err).not.toContain("\x1b");
});

test("asked again in the same folder it goes on where it was, on other ports when its own are taken", async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.once("error", () => resolve()).listen(8080, "127.0.0.1", resolve));
  try {
    const { code, out, err } = await start("--exit-after", "2s", "--json").ended;
    expect(code, err).toBe(0);
    const second = JSON.parse(out) as Result;
    expect(second).toMatchObject(CLEAN);
    expect(second.events).toBeGreaterThan(first.events);
    expect(second.events - first.events).toBeLessThan(20_000);
    expect(err).toMatch(/metrics +http:\/\/127\.0\.0\.1:(?!8080\/)\d+\/metrics/);
  } finally {
    squatter.close();
  }
});

test("the copy can be asked while it runs, and Ctrl-C stops service and database within ten seconds", async () => {
  const { child, ended } = start();
  try {
    let shown = "";
    child.stderr?.on("data", (chunk: Buffer) => (shown += chunk.toString()));
    await expect.poll(() => shown, { timeout: 60_000 }).toContain("running: ");
    expect(await query("SELECT count(*) AS orders FROM public.orders")).toMatch(/^orders\n─+\n\d{4,}\n\(1 rows\)\n$/);
    const started = performance.now();
    child.kill("SIGINT");
    const { code, out, err } = await ended;
    expect(performance.now() - started).toBeLessThan(10_000 + 5_000); // it ends by itself after ten, with another exit code
    expect({ code, out }, err).toEqual({ code: 0, out: "" });
    expect(existsSync(path.join(folder, ".tailrace/quickstart/postgres/postmaster.pid"))).toBe(false);
  } finally {
    child.kill("SIGTERM");
  }
});

test("its configuration is one that can be read and run, without the password in it", async () => {
  const yaml = await readFile(path.join(folder, ".tailrace/quickstart/tailrace.yaml"), "utf8");
  expect(yaml).toContain('url: "${file:shop.url}"');
  expect(yaml).not.toMatch(/postgres:\/\//);
  expect(yaml).not.toContain("no_data"); // the rows that were there came by a snapshot
});

test.each([
  [["--url", "localhost/mine"], /--url is no URL postgres:/],
  [["--exit-after", "soon"], /--exit-after is a duration such as 20s/],
  [["--json"], /--json .* needs --exit-after/],
  [["--exit-afetr", "1s"], /--exit-afetr/],
  [["more"], /more/],
])("quickstart %s is refused by name, exit code 2", async (args, message) => {
  const { code, out, err } = await start(...args).ended;
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(message);
});
