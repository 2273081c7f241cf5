import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embedded-log.ts";
import { EventDecoder } from "../../src/avro/decoder.ts";
import { barrierTopic, decodeBarrier } from "../../src/core/barrier.ts";
import type { EventLog, LogRecord } from "../../src/core/event-log.ts";
import { readState } from "../../src/core/source-state.ts";
import type { SchemaRegistry } from "../../src/core/schema-registry.ts";
import { EmbeddedRegistry } from "../../src/registry/embedded.ts";
import { openRegistryStore } from "../../src/registry/store.ts";
import { runSource } from "../../src/source/source.ts";
import type { SourceObserver, SourceOptions } from "../../src/source/parts.ts";
import { postgres, type TestDatabase } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const observer: SourceObserver = { state() {}, published() {}, deadLetter() {}, acknowledged() {}, wal() {}, bytesInFlight() {} };
const never = new AbortController().signal;

async function readAll(log: EventLog, topic: string): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for (const { partition, start, end } of await log.offsets(topic, never)) {
    let next = start;
    while (next < end) {
      const fetched = await log.read({ topic, partition, offset: next }, 1 << 20, never);
      records.push(...fetched.records);
      next = fetched.next;
    }
  }
  return records;
}

describe("a source into the embedded log", () => {
  test("inserts, updates, deletes and key changes arrive with their barrier", async () => {
    const database = await (await postgres()).createDatabase("src");
    const folder = { path: await temporaryFolder("log") };
    await database.sql("create table orders (id bigint primary key, note text, amount numeric(12,2), at timestamptz)");
    const log = await openEmbeddedLog({ path: folder.path });
    const registry: SchemaRegistry = new EmbeddedRegistry({ store: openRegistryStore(folder.path + "/registry"), address: "x" });
    const options: SourceOptions = {
      name: "shop", url: () => database.url, slot: database.name, publication: database.name, create: true,
      selection: { matches: () => false, named: [{ schema: "public", name: "orders" }] },
      topics: { prefix: "shop", partitions: 4, replication: -1, create: true, tombstones: true },
    };
    const stop = new AbortController();
    let streaming: () => void = () => undefined;
    const started = new Promise<void>((r) => (streaming = r));
    const run = runSource(options, { log, registry, logger: quiet, observer: { ...observer, state: (s) => { if (s === "streaming") streaming(); } } }, { text: false, said: new Set() }, stop.signal, never);
    run.catch((e) => console.log("RUN", e));
    await Promise.race([started, run]);
    await database.sql("insert into orders select g, 'n' || g, g / 3.0, now() from generate_series(1, 100) g");
    await database.sql("update orders set note = note || 'x' where id <= 10");
    await database.sql("update orders set id = 1000 where id = 1");
    await database.sql("delete from orders where id = 2");
    await new Promise((r) => setTimeout(r, 1500));
    stop.abort();
    await run;
    const records = await readAll(log, "shop.public.orders");
    const values = records.filter((r) => r.value !== null);
    console.log(records.length, values.length);
    const ids = new Set(values.map((r) => r.value!.readUInt32BE(1)));
    const decoder = new EventDecoder(await registry.schema([...ids][0]!, never));
    const ops: Record<string, number> = {};
    for (const r of values) { decoder.decode(r.value!); ops[decoder.op] = (ops[decoder.op] ?? 0) + 1; }
    console.log(ops, await readState(log, "shop", never));
    const barriers = await readAll(log, barrierTopic("shop"));
    console.log(barriers.map((b) => decodeBarrier(b.value!, { topic: "x", offset: 0 })));
    expect(ops).toEqual({ c: 101, u: 10, d: 2 });
  });
});
