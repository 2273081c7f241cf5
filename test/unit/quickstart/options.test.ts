import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runQuickstart } from "../../../src/commands/quickstart.ts";

// What is refused is refused before a folder is made or a server started.
test.each([
  [["--url", "postgres://localhost/mine"], "--url is not in this version"],
  [["--exit-after", "soon"], "--exit-after is a duration such as 20s or 5m, not soon"],
  [["--exit-after", "25d"], "--exit-after is at most 24d, not 25d"],
  [["--json"], "--json prints the result of a comparison: it needs --exit-after"],
  [["--dir", ""], "--dir names no folder"],
])("quickstart %j is refused by name", async (args, message) => {
  await expect(runQuickstart(args)).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining(message) });
});

test("a --dir that is a file, or lies in one, is refused by name", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "tailrace-options-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "file");
  await writeFile(file, "");
  for (const dir of [file, path.join(file, "below")]) {
    const message = expect.stringContaining(`--dir ${dir} is no folder that can be made and written to`);
    await expect(runQuickstart(["--dir", dir])).rejects.toMatchObject({ code: "USAGE", message });
  }
});
