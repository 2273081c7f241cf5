// Keeps two processes from opening one folder: a file that names its holder, taken over from a dead one.
import { readFileSync, readlinkSync } from "node:fs";
import { mkdir, open, readFile, rename, stat, unlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { randomUUID } from "node:crypto";
import { reasonOf, TailraceError } from "../../core/errors.ts";

const FILE = "lock";
/** How often the holder touches its file. */
const TOUCH_MS = 5_000;
/**
 * A holder that can't be looked up (it ran in another container or before a reboot, or its file is not readable) is dead when it
 * has not touched its file for so long. Too short, and a busy holder is shut out; too long, and a replaced container waits.
 */
const SILENT_MS = 20_000;

type Holder = {
  readonly pid: number;
  /** When the process started, as the kernel counts it; "" where it does not say. Tells a PID from the next one of that number. */
  readonly started: string;
  /** The set of processes among which the PID means something. */
  readonly realm: string;
  readonly nonce: string;
};

/** Held from acquire() until dispose(). What still slips through (a takeover by two at once) is stopped by the store's fence. */
export class FolderLock implements AsyncDisposable {
  readonly #file: string;
  readonly #text: string;
  readonly #touching: NodeJS.Timeout;

  private constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
    this.#touching = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => undefined), TOUCH_MS).unref();
  }

  /** Makes the folder when it is missing. Throws LOG_LOCKED with the holder's PID; LOG_UNREACHABLE when the folder can't be used. */
  static async acquire(folder: string): Promise<FolderLock> {
    const file = path.join(folder, FILE);
    const text = JSON.stringify({
      pid: process.pid,
      started: startOf(process.pid) ?? "",
      realm: realm(),
      nonce: randomUUID(),
    } satisfies Holder);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (!(await create(file, text))) {
        const holder = await liveHolder(file);
        if (holder !== null) throw new TailraceError("LOG_LOCKED", { path: folder, pid: holder });
        const mine = `${file}.${randomUUID()}`;
        await create(mine, text);
        await rename(mine, file);
        if ((await readFile(file, "utf8")) !== text) throw new TailraceError("LOG_LOCKED", { path: folder, pid: "unknown" });
      }
    } catch (cause) {
      if (cause instanceof TailraceError) throw cause;
      throw new TailraceError("LOG_UNREACHABLE", { reason: reasonOf(cause) }, { cause });
    }
    return new FolderLock(file, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#touching);
    const now = await readFile(this.#file, "utf8").catch(() => "");
    if (now === this.#text) await unlink(this.#file).catch(() => undefined);
  }
}

/** false: the file is there already. */
async function create(file: string, text: string): Promise<boolean> {
  try {
    const handle = await open(file, "wx", 0o600);
    await handle.writeFile(text).finally(() => handle.close());
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw cause;
  }
}

/** The PID of the holder, null when it is dead or has just let go. */
async function liveHolder(file: string): Promise<number | string | null> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, "utf8"), stat(file)]);
    const holder = parse(text);
    if (holder?.realm === realm()) return isAlive(holder) ? holder.pid : null;
    return Date.now() - mtimeMs < SILENT_MS ? (holder?.pid ?? "unknown") : null;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw cause;
  }
}

function parse(text: string): Holder | null {
  try {
    const { pid, started, realm: where, nonce } = JSON.parse(text) as Record<string, unknown>;
    const fits = typeof pid === "number" && typeof started === "string" && typeof where === "string" && typeof nonce === "string";
    return fits ? { pid, started, realm: where, nonce } : null;
  } catch {
    return null;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EPERM") return false; // EPERM: it lives, as another user
  }
  const now = startOf(pid);
  return now === null ? false : now === started;
}

/** The process's start in clock ticks since boot; "" where /proc does not say; null for a zombie, which holds nothing any more. */
function startOf(pid: number): string | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return "";
  }
  // Manual page proc_pid_stat(5): "pid (comm) state …", comm may hold anything; starttime is field 22.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? "");
}

/** Boot and PID namespace on Linux; elsewhere the machine's name has to do. */
function realm(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}
