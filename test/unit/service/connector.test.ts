// A connector's life, over a drive that does what the test says.
import { expect, test } from "vitest";
import { TailraceError } from "../../../src/core/errors.ts";
import { Connector, type Drive } from "../../../src/service/connector.ts";
import type { ConnectorState } from "../../../src/telemetry/log.ts";
import { openLog } from "../../../src/telemetry/log.ts";

type Run = { readonly running: () => void; readonly stop: AbortSignal; readonly force: AbortSignal; fail: (error: TailraceError) => void };

/** Runs until it is told to stop (`deaf`: until it is forced), or until a test lets it fail. */
function scene(deaf = false) {
  const states: ConnectorState[] = [];
  const runs: Run[] = [];
  const drive: Drive = {
    run: async (running, stop, force) =>
      new Promise((resolve, reject) => {
        runs.push({ running, stop, force, fail: reject });
        (deaf ? force : stop).addEventListener("abort", () => resolve());
        running();
      }),
    changed: ({ state }) => void states.push(state),
    failed: () => undefined,
    close: async () => undefined,
  };
  return { states, runs, connector: new Connector("shop", openLog({ level: "silent" }), drive) };
}

const gone = new TailraceError("TABLE_UNSUPPORTED", { table: "a.b", reason: "none" });
const settled = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("paused and resumed, it begins anew, with signals of its own", async () => {
  const { connector, states, runs } = scene();
  connector.start();
  connector.start();
  await connector.end("paused", 1_000);
  expect(connector.state).toBe("paused");
  connector.start();
  expect(states).toEqual(["starting", "running", "paused", "starting", "running"]);
  expect(runs.map(({ stop, force }) => [stop.aborted, force.aborted])).toEqual([
    [true, false],
    [false, false],
  ]);
});

test("one that stopped for an error is started again, and can be paused", async () => {
  const { connector, states, runs } = scene();
  connector.start();
  runs[0]!.fail(gone);
  await settled();
  expect(connector.state).toBe("stopped");
  connector.start();
  runs[1]!.fail(gone);
  await settled();
  await connector.end("paused", 0);
  expect(states).toEqual(["starting", "running", "stopped", "starting", "running", "stopped", "paused"]);
});

test("at the end of the service one that stopped for an error still says so", async () => {
  const { connector, states, runs } = scene();
  connector.start();
  runs[0]!.fail(gone);
  await settled();
  await connector.end("stopped", 0);
  expect(states).toEqual(["starting", "running", "stopped"]);
});

test("one that does not end gracefully is forced", async () => {
  const { connector, runs } = scene(true);
  connector.start();
  await connector.end("dropped", 5);
  expect(runs[0]!.force.aborted).toBe(true);
  expect(connector.state).toBe("dropped");
});

test("one that never ran is paused without a run", async () => {
  const { connector, runs } = scene();
  await connector.end("paused", 0);
  expect([connector.state, runs.length]).toEqual(["paused", 0]);
});
