// Folders of test servers, and what happens to them when the process that made them is killed before it can tidy up.
import { readdirSync, readlinkSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const PREFIX = "tailrace-test-";
/** Holds the pid of the process that the folder belongs to. */
const OWNER_FILE = "owner";

// Servers end in exit hooks, and SIGTERM without a handler ends a process without them.
if (process.listenerCount("SIGTERM") === 0) process.once("SIGTERM", () => process.exit(143));

/** A new folder below the system's temporary one; others may enter it, since root's PostgreSQL runs as another user. */
export async function temporaryFolder(kind: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), `${PREFIX}${kind}-`));
  await writeFile(path.join(folder, OWNER_FILE), String(process.pid));
  await chmod(folder, 0o755);
  return folder;
}

/** Removes folders whose owner is gone, after killing the servers that still run in them. */
export async function sweepLeftovers(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(PREFIX));
  for (const folder of names.map((name) => path.join(tmpdir(), name))) {
    const owner = Number(await readFile(path.join(folder, OWNER_FILE), "utf8").catch(() => "0"));
    if (owner === 0 || isAlive(owner)) continue; // 0: being made right now, or not to be read by us
    for (const pid of processesIn(folder)) process.kill(pid, "SIGKILL");
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Processes whose working folder is in `folder`. Where there is no /proc, none is found and only files are removed. */
function processesIn(folder: string): number[] {
  const pids =
    orNone(() =>
      readdirSync("/proc")
        .map(Number)
        .filter((pid) => pid > 0),
    ) ?? [];
  const workingFolder = (pid: number): string => orNone(() => readlinkSync(`/proc/${pid}/cwd`)) ?? "";
  return pids.filter((pid) => `${workingFolder(pid)}/`.startsWith(`${folder}/`));
}

function orNone<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null; // it ended meanwhile, or is somebody else's
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
