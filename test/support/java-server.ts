// One Java program as a child process: started, waited for, stopped, killed by its pid, started again.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

export type JavaServerOptions = {
  readonly name: string;
  readonly args: readonly string[];
  /** Options of the virtual machine; default: small and quick to start. */
  readonly jvm?: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
  /** Asked every few milliseconds with what the server has logged since this start. */
  readonly ready: (log: string) => boolean | Promise<boolean>;
};

export type JavaServer = {
  /** null while it does not run. */
  readonly pid: number | null;
  start(): Promise<void>;
  /** SIGTERM, and SIGKILL when that does not help within 20 s. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
};

/** Tests want a server that starts fast and stays small, not one that is fast in the long run. */
const JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];
const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 50;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export function javaServer({ name, args, jvm = JVM, cwd, logFile, ready }: JavaServerOptions): JavaServer {
  let child: ChildProcess | null = null;
  const alive = (): boolean => child !== null && child.exitCode === null && child.signalCode === null;

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === null || !alive()) return;
    const exit = once(child, "exit");
    child.kill(signal);
    const force = setTimeout(() => child?.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exit;
    clearTimeout(force);
  };

  return {
    get pid() {
      return alive() ? (child?.pid ?? null) : null;
    },
    async start() {
      const log = openSync(logFile, "a");
      const from = (await stat(logFile)).size;
      // A group of its own: Ctrl-C in a terminal is for the test runner, which then stops us.
      const started = spawn("java", [...jvm, ...args], { cwd, detached: true, stdio: ["ignore", log, log] });
      closeSync(log);
      child = started;
      running.add(started);
      started.once("exit", () => running.delete(started));
      await once(started, "spawn"); // rejects with the child's `error` when there is no java
      for (const deadline = performance.now() + START_TIMEOUT_MS; ; await sleep(POLL_MS)) {
        const said = await readFrom(logFile, from);
        if (!alive()) throw new Error(`${name} ended while starting:\n${said.slice(-2_000)}`);
        if (await ready(said)) return;
        if (performance.now() < deadline) continue;
        await end("SIGKILL");
        throw new Error(`${name} is not ready after ${START_TIMEOUT_MS / 1000} s:\n${said.slice(-2_000)}`);
      }
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

async function readFrom(file: string, position: number): Promise<string> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(size - position);
    await handle.read(bytes, 0, bytes.length, position);
    return bytes.toString("utf8");
  } finally {
    await handle.close();
  }
}
