import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { createMetrics, metricDefinitions, showState } from "../../../src/telemetry/metrics.ts";

const definitions = Object.values(metricDefinitions);

test("docs/metrics.md lists each metric with its kind, labels and help, and no other", async () => {
  const page = await readFile(new URL("../../../docs/metrics.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| `tailrace_(.+?)` \| (.+?) \| (.*?) ?\| (.+?) \|$/gm)].map((row) => row.slice(1, 5));
  expect(listed).toEqual(definitions.map(({ name, kind, labels, help }) => [name, kind, labels.join(", "), help]));
});

test("names have base units, counters end in _total, and histograms carry no table", () => {
  for (const { name, kind, labels } of definitions) {
    expect(name).toMatch(/^[a-z_]+$/);
    expect(name.endsWith("_total"), name).toBe(kind === "counter");
    expect(name).not.toMatch(/_(ms|millis|milliseconds|kb|mb|minutes)(_|$)/);
    if (kind === "histogram") expect(labels, name).not.toContain("table");
  }
});

test("what is counted is rendered in Prometheus's text format, under tailrace_", async () => {
  const metrics = createMetrics({ version: "1.2.3" });
  metrics.sourceEvents.inc({ source: "shop", op: "c", table: "public.orders" }, 5);
  metrics.logPublishDuration.observe({ source: "shop" }, 0.003);
  metrics.sourceAckLsn.set({ source: "shop" }, 0x16_b374_d848);
  metrics.registryRefusals.inc();
  const { contentType, text } = await metrics.render();
  expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(text).toContain(`tailrace_build_info{version="1.2.3",node="${process.versions.node}"} 1`);
  expect(text).toContain('tailrace_source_events_total{source="shop",op="c",table="public.orders"} 5');
  expect(text).toContain('tailrace_log_publish_duration_seconds_bucket{le="0.005",source="shop"} 1');
  expect(text).toContain('tailrace_source_ack_lsn{source="shop"} 97500059720');
  expect(text).toContain("tailrace_registry_refusals_total 1");
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m);
});

test("two services in one process count apart", async () => {
  const [first, second] = [createMetrics({ version: "a" }), createMetrics({ version: "b" })];
  first.errors.inc({ code: "UNEXPECTED" });
  expect((await second.render()).text).not.toContain("UNEXPECTED");
});

test("a connector is in one state at a time", async () => {
  const metrics = createMetrics({ version: "a" });
  showState(metrics.sourceState, { source: "shop" }, "starting");
  showState(metrics.sourceState, { source: "shop" }, "running");
  const values = (await metrics.sourceState.get()).values.map(({ labels, value }) => [labels.state, value]);
  expect(values).toEqual([
    ["starting", 0],
    ["running", 1],
    ["waiting", 0],
    ["stopped", 0],
    ["paused", 0],
    ["dropped", 0],
  ]);
});

test("a connector that is no more leaves no gauge, and its counters", async () => {
  const metrics = createMetrics({ version: "a" });
  for (const sink of ["lake", "files"]) {
    showState(metrics.sinkState, { sink }, "running");
    metrics.sinkEvents.inc({ sink }, 3);
  }
  await metrics.forget({ sink: "lake" });
  const { text } = await metrics.render();
  expect(text).not.toMatch(/tailrace_sink_state\{sink="lake"/);
  expect(text).toContain('tailrace_sink_state{sink="files",state="running"} 1');
  expect(text).toContain('tailrace_sink_events_total{sink="lake"} 3');
});
