// The suite of the event log's port, on the embedded log.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embedded-log.ts";
import { eventLogConformance } from "./event-log.ts";

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

eventLogConformance({
  kind: "embedded",
  open: async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "tailrace-log-"));
    folders.push(folder);
    return openEmbeddedLog({ path: folder });
  },
  joinMs: 0,
});
