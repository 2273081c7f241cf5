import { describe, expect, test } from "vitest";
import { parseLsn } from "../../../src/core/lsn.ts";
import type { SnapshotRecord } from "../../../src/core/snapshot-record.ts";
import type { SourceState } from "../../../src/core/source-state.ts";
import type { Column, Table } from "../../../src/core/table.ts";
import { initialSnapshots, type BeginningFacts } from "../../../src/source/initial-snapshots.ts";

const id: Column = { name: "id", type: { kind: "int4" }, typeOid: 23, typeModifier: -1, keyPosition: 1 };
const table = (name: string, column: Column = id): Table => {
  return { oid: 1, schema: "public", name, identity: "default", columns: [column] };
};
const topic = (name: string): SourceState["topics"][number] => {
  return { name: `shop.public.${name}`, id: name, partitions: 1, table: { schema: "public", name } };
};
const orders = table("orders");
const items = table("items");

const state: SourceState = {
  generation: 1,
  number: 1,
  epoch: 1,
  systemId: "7",
  timeline: 1,
  slot: "tailrace_shop",
  phase: "streaming",
  options: "o",
  publication: "{}",
  acknowledged: parseLsn("0/100"),
  published: parseLsn("0/90"),
  barriers: "B",
  topics: [topic("orders"), topic("items")],
  snapshots: [],
  layouts: [],
  parked: [],
  versions: [],
  retired: [],
};
/** Of orders: read up to the key 500. */
const half: SnapshotRecord = {
  table: { schema: "public", name: "orders" },
  kind: "table",
  reason: "first start",
  where: null,
  opening: "0001-0000000000000042-000000000000",
  todo: [{ after: ["500"], upTo: null }],
  rereads: [[{ form: "text", value: "Nw==" }]],
  rows: 500,
  chunks: 5,
  estimatedRows: 1_000,
};
const goesOn: BeginningFacts = {
  mode: "initial",
  tables: [orders, items],
  state,
  start: { kind: "resume", epoch: 1, from: parseLsn("0/100") },
  concerned: [],
  gap: "",
  first: true,
};
const renew = { kind: "renew", epoch: 2, from: null } as const;

/** `table reason`, a line a snapshot that begins. */
function begun(facts: Partial<BeginningFacts>): readonly string[] | null {
  const records = initialSnapshots({ ...goesOn, ...facts });
  return records?.map(({ table: { name }, reason, rows }) => `${name}: ${reason}${rows > 0 ? `, ${rows} rows` : ""}`) ?? null;
}

describe("what is read as a source begins", () => {
  test("a table that was added while a beginning was not finished, too", () => {
    const making: SourceState = { ...state, phase: "making", topics: [], snapshots: [half] };
    expect(begun({ state: making, start: { kind: "adopt", epoch: 1, from: parseLsn("0/100") } })).toEqual([
      "orders: first start, 500 rows",
      "items: new table",
    ]);
  });

  test("every table at the first start, from the beginning", () => {
    const records = initialSnapshots({ ...goesOn, state: null, start: { kind: "fresh", epoch: 1 } });
    expect(records).toHaveLength(2);
    expect(records?.[0]).toMatchObject({
      table: { schema: "public", name: "orders" },
      kind: "table",
      reason: "first start",
      opening: null,
      todo: [{ after: null, upTo: null }],
      rows: 0,
    });
  });

  test("nothing where source, slot and log go on", () => {
    expect(begun({})).toEqual([]);
  });

  test("a table that is new to the source, and no other", () => {
    expect(begun({ tables: [orders, items, table("late")] })).toEqual(["late: new table"]);
  });

  test("R-version: a table whose version has no topic yet, from the beginning, whatever of the one before was under way", () => {
    const version = { table: { schema: "public", name: "orders" }, version: 2, after: "", difference: "", words: "" };
    const switched = { ...state, versions: [version], snapshots: [half] };
    const [record] = initialSnapshots({ ...goesOn, state: switched }) ?? [];
    expect(record).toMatchObject({ reason: "version 2", opening: null, rows: 0, rereads: [] });
    const topics = state.topics.map((topic) => (topic.table.name === "orders" ? { ...topic, version: 2 } : topic));
    expect(initialSnapshots({ ...goesOn, state: { ...switched, topics } })).toEqual([half]);
  });

  test("R-chunk: an unfinished snapshot goes on behind its durable chunks", () => {
    expect(initialSnapshots({ ...goesOn, state: { ...state, snapshots: [half] } })).toEqual([half]);
  });

  test("R-publication: a table behind a gap begins anew, its durable chunks may have lost rows since; its neighbour goes on", () => {
    const other = { ...half, table: { schema: "public", name: "items" } };
    const records = initialSnapshots({ ...goesOn, state: { ...state, snapshots: [half, other] }, concerned: [orders], gap: "it was lost" });
    expect(records).toEqual([
      {
        ...half,
        reason: "it was lost",
        opening: null,
        todo: [{ after: null, upTo: null }],
        rows: 0,
        chunks: 0,
        estimatedRows: null,
      },
      other,
    ]);
  });

  test("R-window-toast: keys that wait to be read again outlive a gap", () => {
    const [record] = initialSnapshots({ ...goesOn, state: { ...state, snapshots: [half] }, start: renew, concerned: null, gap: "g" }) ?? [];
    expect(record?.rereads).toEqual(half.rereads);
  });

  test("R-epoch: behind a gap of the whole source every table is read, whatever its snapshot had", () => {
    const facts = { start: renew, concerned: null, gap: "the slot is gone" };
    expect(begun({ ...facts, state: { ...state, snapshots: [half] } })).toEqual(["orders: the slot is gone", "items: the slot is gone"]);
    expect(begun({ ...facts, state: null })).toEqual(["orders: the slot is gone", "items: the slot is gone"]);
  });

  test("a process that died while it made its slot has said what is to be read, and is followed by one that reads it", () => {
    const making: SourceState = { ...state, phase: "making", topics: [], snapshots: [half] };
    const start = { kind: "adopt", epoch: 1, from: parseLsn("0/100") } as const;
    expect(begun({ tables: [orders], state: making, start })).toEqual(["orders: first start, 500 rows"]);
  });

  test("a snapshot of a table that is not captured any more is given up", () => {
    expect(begun({ tables: [items], state: { ...state, snapshots: [half] } })).toEqual([]);
  });

  test("R-keyless: a table without a key is read as one snapshot sees it", () => {
    const log = table("log", { ...id, keyPosition: 0 });
    expect(initialSnapshots({ ...goesOn, tables: [log] })?.map(({ kind }) => kind)).toEqual(["keyless"]);
  });
});

describe("snapshot.mode", () => {
  const late = [orders, items, table("late")];

  test("no_data: none are made, and the state says so; not for a new table or a gap either", () => {
    expect(begun({ mode: "no_data", state: null, start: { kind: "fresh", epoch: 1 } })).toBeNull();
    expect(begun({ mode: "no_data", tables: late, state: { ...state, snapshots: [half] } })).toBeNull();
  });

  test("another mode after no_data: what was captured is not read by itself, a new table and a gap are", () => {
    const before = { ...state, snapshots: null };
    expect(begun({ state: before })).toEqual([]);
    expect(begun({ state: before, tables: late })).toEqual(["late: new table"]);
    expect(begun({ state: before, start: renew, concerned: null, gap: "g" })).toHaveLength(2);
  });

  test("no_data given up while it made its slot: everything is read", () => {
    const making: SourceState = { ...state, phase: "making", topics: [], snapshots: null };
    expect(begun({ state: making, start: { kind: "fresh", epoch: 1 } })).toEqual(["orders: first start", "items: first start"]);
  });

  test("always: once a process, over what an earlier one had not finished", () => {
    expect(begun({ mode: "always", state: { ...state, snapshots: [half] } })).toEqual(["orders: start", "items: start"]);
    expect(begun({ mode: "always", first: false, state: { ...state, snapshots: [half] } })).toEqual(["orders: first start, 500 rows"]);
  });

  test.each(["when_needed", "initial_only"] as const)("%s reads what initial reads", (mode) => {
    const beginnings: readonly Partial<BeginningFacts>[] = [
      {},
      { state: null, start: { kind: "fresh", epoch: 1 } },
      { tables: late, state: { ...state, snapshots: [half] } },
      { start: renew, concerned: null, gap: "g" },
    ];
    for (const facts of beginnings) expect(begun({ ...facts, mode })).toEqual(begun(facts));
  });
});
