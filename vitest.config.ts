// Two kinds of tests: those of pure code, all at once, and those that need real servers, few at a time.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Here and not in the projects (which therefore don't extend this): one set of servers for all of them.
    globalSetup: ["test/support/shared-servers.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/{unit,golden}/**/*.test.ts"],
          testTimeout: 60_000, // some start a compiler or a child process, perhaps on a busy machine
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "servers",
          include: ["test/{postgres,kafka,warehouse,conformance,console}/**/*.test.ts"],
          setupFiles: ["test/support/kafkajs.ts"],
          testTimeout: 180_000, // what takes seconds takes a minute where others have the machine
          hookTimeout: 120_000, // the first test that asks for a server waits for its start
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          setupFiles: ["test/support/kafkajs.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false, // they watch a service under load, and kill things
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
