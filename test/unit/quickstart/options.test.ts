import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { runQuickstart } from "../../../src/commands/quickstart.ts";

// What is refused is refused before a folder is made or a server started.
test.each([
  [["--url", "mysql://ada:s3cret@db/mine"], "--url is no URL postgres://user:password@host:5432/database"],
  [["--url", "postgres://ada:100%s3cret@db/mine"], "--url is no URL postgres://user:password@host:5432/database"],
  [["--tables", "public.*"], "--tables chooses tables of a database of yours: it needs --url or QUICKSTART_URL"],
  [["--url", "postgres://db/mine", "--tables", "orders"], "--tables orders: it names no schema; write schema.table"],
  [["--url", "postgres://db/mine", "--json"], "--json prints the result of a comparison: it needs --exit-after"],
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

test("no message shows the password of a URL, wherever it was typed", async () => {
  for (const args of [["postgres://ada:s3cret@db/mine"], ["--url", "http://ada:s3cret@db"], ["--ulr=postgres://ada:s3cret@db/mine"]]) {
    const refused = await runQuickstart(args).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "USAGE" });
    expect((refused as Error).message).not.toContain("s3cret");
  }
});

test("QUICKSTART_URL is read like --url, and named where it is wrong", async () => {
  vi.stubEnv("QUICKSTART_URL", "ada:s3cret");
  onTestFinished(() => void vi.unstubAllEnvs());
  await expect(runQuickstart([])).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining("QUICKSTART_URL is no URL") });
});

test("a folder of the sample shop is not taken for a copy of another database, nor the other way round", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "tailrace-options-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await mkdir(path.join(folder, "log"));
  await expect(runQuickstart(["--dir", folder, "--url", "postgres://127.0.0.1:1/mine"])).rejects.toMatchObject({
    code: "USAGE",
    message: expect.stringContaining("holds the quickstart of the sample shop"),
  });
  await writeFile(path.join(folder, "database.json"), "{}");
  await expect(runQuickstart(["--dir", folder])).rejects.toMatchObject({
    code: "USAGE",
    message: expect.stringContaining("holds the copy of another database"),
  });
});
