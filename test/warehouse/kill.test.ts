// R-checkpoint under kill -9: whatever moment the process dies at, data and checkpoint are of the same flush.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, expect, test } from "vitest";
import { at } from "./staged.ts";
import { dropDatabases, duckdbPlace, postgresPlace, type Place } from "./places.ts";

const WORKER = path.join(import.meta.dirname, "merging-worker.mjs");
const KILLS = 6;

afterAll(dropDatabases);

test("DuckDB: a killed worker leaves data and checkpoint of the same flush, none that it told of is lost, and the next one goes on", async () => {
  await using place = await duckdbPlace();
  await expectWhole(place, ["duckdb", place.file]);
});

test("PostgreSQL: a killed worker leaves data and checkpoint of the same flush, none that it told of is lost, and the next one goes on", async () => {
  await using place = await postgresPlace();
  await expectWhole(place, ["postgres", place.url]);
});

async function expectWhole(place: Place, args: readonly string[]): Promise<void> {
  let told = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const heard = await runAndKill(args, 1 + (kill % 3), Math.random() * 120);
    expect(heard).toBeGreaterThan(told);
    told = heard;
    await place.alone(); // a commit that was under way when it died
    const [[offset, sequence] = []] = await place.sql("SELECT next_offset::text, sequence FROM _tailrace.checkpoints");
    const merged = Number(offset);
    expect(sequence).toBe(at(merged));
    expect([told, told + 1]).toContain(merged); // it may have died between its commit and its word
    expect(await place.sql("SELECT n::text, count(*)::text FROM crash.rows GROUP BY n")).toEqual([
      [String(merged), merged % 2 === 1 ? "2999" : "3000"],
    ]);
    expect(await place.sql("SELECT sequence FROM _tailrace.tombstones")).toEqual(merged % 2 === 1 ? [[at(merged)]] : []);
    expect(await place.sql("SELECT count(*)::text FROM _tailrace.runs")).toEqual([[String(merged)]]);
  }
}

/** Kills the worker `afterMs` after its nth flush; returns the last flush that it told of. */
async function runAndKill(args: readonly string[], flushes: number, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, [WORKER, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const lines = createInterface({ input: child.stdout });
  let last = 0;
  let count = 0;
  lines.on("line", (line) => {
    last = Number(line);
    if (++count === flushes) setTimeout(() => child.kill("SIGKILL"), afterMs);
  });
  const [[code]] = (await Promise.all([once(child, "exit"), once(lines, "close")])) as [[number | null], unknown];
  if (code !== null) throw new Error(`the worker ended by itself: ${errors}`);
  return last;
}
