// The command line as a user calls it: built from the sources of now, a process a call.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SETUP = path.join(ROOT, "scripts", "setup.mjs");
/** What `tailrace` runs. */
export const MAIN = path.join(ROOT, "dist", "main.js");

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs `tailrace ARGS…` to its end. */
export async function tailrace(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  await build();
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

let built: Promise<unknown> | null = null;

/** What is tested is what the sources say now. Quick when nothing has changed. */
export async function build(): Promise<void> {
  built ??= promisify(execFile)(process.execPath, [SETUP, "build"], { cwd: ROOT });
  await built;
}
