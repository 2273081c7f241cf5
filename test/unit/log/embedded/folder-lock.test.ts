// Who may open the folder: a file names the holder, and a dead holder's file is taken over.
import { mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FolderLock } from "../../../../src/log/embedded/folder-lock.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tailrace-lock-"));
  file = path.join(folder, "lock");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** What a lock of this process looks like, changed. */
async function writeLock(changes: Readonly<Record<string, unknown>>): Promise<void> {
  const lock = await FolderLock.acquire(folder);
  const text = await readFile(file, "utf8");
  await lock[Symbol.asyncDispose]();
  await writeFile(file, JSON.stringify({ ...(JSON.parse(text) as object), ...changes }));
}

async function takesOver(): Promise<void> {
  const lock = await FolderLock.acquire(folder);
  expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ pid: process.pid });
  await lock[Symbol.asyncDispose]();
}

const held = (pid: number | string): object =>
  expect.objectContaining({ code: "LOG_LOCKED", message: expect.stringContaining(`PID ${pid})`) as string }) as object;

test("a folder is held by one at a time, also within a process, and free again afterwards", async () => {
  const lock = await FolderLock.acquire(path.join(folder, "made/below"));
  await expect(FolderLock.acquire(path.join(folder, "made/below"))).rejects.toEqual(held(process.pid));
  await lock[Symbol.asyncDispose]();
  await lock[Symbol.asyncDispose]();
  const again = await FolderLock.acquire(path.join(folder, "made/below"));
  await again[Symbol.asyncDispose]();
  await expect(stat(path.join(folder, "made/below/lock"))).rejects.toThrow("ENOENT");
});

test("the lock of a process that is gone is taken over", async () => {
  await writeLock({ pid: 2 ** 22 + 1 });
  await takesOver();
});

test.runIf(process.platform === "linux")("a PID that now belongs to another process does not keep the folder locked", async () => {
  await writeLock({ started: "1" });
  await takesOver();
});

test("a holder in another container counts as alive while it touches its file, and no longer", async () => {
  await writeLock({ realm: "elsewhere", pid: 7 });
  await expect(FolderLock.acquire(folder)).rejects.toEqual(held(7));
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(file, longAgo, longAgo);
  await takesOver();
});

test("a file that names nobody is judged by its age", async () => {
  await writeFile(file, "");
  await expect(FolderLock.acquire(folder)).rejects.toEqual(held("unknown"));
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(file, longAgo, longAgo);
  await takesOver();
});

test("letting go leaves the lock of a successor alone", async () => {
  const lock = await FolderLock.acquire(folder);
  await writeFile(file, "the successor's");
  await lock[Symbol.asyncDispose]();
  expect(await readFile(file, "utf8")).toBe("the successor's");
});

test("a folder that can't be made is named", async () => {
  await writeFile(file, "");
  await expect(FolderLock.acquire(path.join(file, "below"))).rejects.toMatchObject({
    code: "LOG_UNREACHABLE",
    message: expect.stringContaining(file) as string,
  });
});
