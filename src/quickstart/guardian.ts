// The quickstart's side of its guardian: a detached process that takes away what the quickstart made in a database of the
// reader's, should the quickstart be killed (guardian-process.ts).
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { URL_VARIABLE } from "./config.ts";
import type { Made } from "./made.ts";

const PROCESS = fileURLToPath(new URL("./guardian-process.js", import.meta.url));
/** A process that loads its modules on a busy machine, ms. */
const START_MS = 20_000;

type Child = ChildProcessByStdio<Writable, Readable, null>;

export class Guardian {
  readonly #child: Child;
  #told = false;

  private constructor(child: Child) {
    this.#child = child;
  }

  /** Resolves when it watches. `messages`: the file that it writes its own to. `ended`: it was killed and watches no more. */
  static async start(made: Made, messages: string, ended: () => void): Promise<Guardian> {
    const log = openSync(messages, "a", 0o600);
    const { [URL_VARIABLE]: _, ...env } = process.env; // PGPASSWORD, PGSSLMODE and the like go with the URL
    // In a session of its own: what the terminal sends to us does not reach it.
    const child = spawn(process.execPath, [PROCESS], {
      detached: true,
      stdio: ["pipe", "pipe", log],
      cwd: path.parse(PROCESS).root,
      env,
    }) as Child;
    closeSync(log);
    const guardian = new Guardian(child);
    child.stdin.on("error", () => undefined); // its end is told by `exit`
    child.stdin.write(`${JSON.stringify(made)}\n`);
    await ready(child);
    child.once("exit", () => {
      if (!guardian.#told) ended();
    });
    child.unref();
    for (const pipe of [child.stdin, child.stdout] as unknown as Socket[]) pipe.unref();
    return guardian;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** There is nothing to take away any more. */
  dismiss(): void {
    this.#told = true;
    this.#child.stdin.end("dismissed\n");
  }

  /** It is to take away now what is there; this process need not wait for it. */
  leaveTo(): void {
    this.#told = true;
    this.#child.stdin.end();
  }
}

async function ready(child: Child): Promise<void> {
  const lines = createInterface({ input: child.stdout });
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (reason: string): void => reject(new Error(`the guardian process does not start: ${reason}`));
      lines.once("line", () => resolve());
      child.once("error", (error) => fail(error.message));
      child.once("exit", (code, signal) => fail(`it ended (${code ?? signal})`));
      timer = setTimeout(() => {
        child.kill("SIGKILL");
        fail(`no answer within ${START_MS / 1_000} s`);
      }, START_MS);
    });
  } finally {
    clearTimeout(timer);
    lines.close();
  }
}
