import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { canEnter, serverUser } from "../../../src/quickstart/server-user.ts";

const stranger = { name: "stranger", uid: 54_321, gid: 54_321 };

test("a folder below one that is closed to others can't be entered by another user, whatever its own mode", async () => {
  const closed = await mkdtemp(path.join(tmpdir(), "tailrace-user-"));
  try {
    const open = path.join(closed, "open");
    await mkdir(open, { mode: 0o777 });
    await chmod(closed, 0o700);
    expect(await canEnter(stranger, open)).toBe(false);
    await chmod(closed, 0o711);
    expect(await canEnter(stranger, open)).toBe(true);
  } finally {
    await rm(closed, { recursive: true });
  }
});

test.runIf(process.getuid?.() === 0)("root's servers run as a user without rights, an existing cluster's as its owner", async () => {
  expect((await serverUser(null))?.uid).toBeGreaterThan(0);
  expect((await serverUser(65_534))?.uid).toBe(65_534);
  await expect(serverUser(stranger.uid)).rejects.toThrow("not in /etc/passwd");
});

test.runIf(process.getuid?.() !== 0)("anybody but root runs the server himself", async () => {
  expect(await serverUser(null)).toBeNull();
});
