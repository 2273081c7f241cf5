// The races: a slot drained, under any load, a table read, and a log merged.
import { debezium, debeziumSnapshot } from "./debezium.ts";
import type { Surroundings } from "./contestant.ts";
import { loads, type LoadName } from "./loads.ts";
import type { Options } from "./options.ts";
import { withPair, type Entry, type Race } from "./race.ts";
import type { Servers } from "./servers.ts";
import { sink, sinkRaces } from "./sinks.ts";
import { copyOut, READ_TABLE, snapshot, snapshotToKafka } from "./snapshots.ts";
import { recvlogical, tailraceEmbedded, tailraceKafka } from "./streams.ts";
import { wholeWay } from "./whole-way.ts";

const SESSIONS = [1, 2, 4];
const ENCODINGS = { json: "JSON", avro: "Avro (Apicurio)" } as const;

export function slotDrained({ only, rows: asked }: Options, servers: Servers, surroundings: Surroundings, loadName: LoadName): Race {
  const { client } = surroundings;
  const load = loads[loadName];
  const rows = load.changes(asked);
  const { recvlogical: program, kafka } = servers;
  const entries: Entry[] = [];
  if (program !== null)
    entries.push({
      name: "recvlogical",
      title: "pg_recvlogical (binary) → /dev/null",
      contestant: (slot) => recvlogical(program, slot, surroundings, load),
    });
  if (only.includes("embedded"))
    entries.push({
      name: "embedded",
      title: "Tailrace source → embedded log",
      contestant: (slot) => tailraceEmbedded(slot, surroundings, load),
    });
  if (kafka !== null && only.includes("kafka"))
    entries.push({
      name: "kafka",
      title: "Tailrace source → Kafka, Avro",
      contestant: (slot) => tailraceKafka(slot, surroundings, kafka, load),
    });
  if (only.includes("duckdb"))
    entries.push({
      name: "duckdb",
      title: "Tailrace, the whole way → DuckDB",
      contestant: (slot) => wholeWay(slot, surroundings, load),
    });
  for (const parts of only.includes("debezium") ? servers.debezium : [])
    entries.push({
      name: `debezium_${parts.encoding}`,
      title: `Debezium → Kafka, ${ENCODINGS[parts.encoding]}`,
      contestant: (slot) => debezium(slot, surroundings, parts, load),
    });
  return {
    name: load.name,
    about: `a slot drained, ${load.title}`,
    rows,
    server: "walsender s per 1M",
    entries: withPair(entries, ["kafka", "embedded", "recvlogical", "duckdb"]),
    before: async (repeat) => {
      // The rows need not be durable; what is measured begins behind them.
      await client.query("SET synchronous_commit = off");
      if (repeat === 1) for (const statement of load.create) await client.query(statement);
      if (load.before !== null) await client.query(load.before((repeat - 1) * rows, rows));
    },
    fill: async (repeat) => {
      await client.query(load.fill((repeat - 1) * rows, rows));
    },
    after: async () => {
      await client.query(`DROP TABLE ${load.tables.join(", ")}`);
    },
  };
}

/** What each contestant merges it has of its own: nothing is written in the source database. */
export function logMerged({ only, rows }: Options, { kafka }: Servers, surroundings: Surroundings): Race {
  const entries = sinkRaces(only.includes("kafka") ? kafka : null).map((race): Entry => {
    const title = `${race.events}: ${race.kafka === null ? "embedded log" : "Kafka"} → ${race.warehouse === "duckdb" ? "DuckDB" : "PostgreSQL"}`;
    const name = `${race.kafka === null ? "" : "kafka_"}${race.warehouse}_${race.events}`;
    return { name, title, contestant: (each) => sink(each, surroundings, race, rows) };
  });
  return {
    name: "merged",
    about: "a log merged",
    rows,
    server: "PostgreSQL s per 1M",
    entries: only.includes("sinks") ? withPair(entries, ["duckdb_inserts"]) : [],
    before: async () => undefined,
    fill: async () => undefined,
    after: async () => undefined,
  };
}

export function tableRead({ only, rows }: Options, servers: Servers, surroundings: Surroundings): Race {
  const { client } = surroundings;
  const { psql: program, kafka } = servers;
  const entries: Entry[] = [];
  if (program !== null)
    entries.push({ name: "copy", title: "COPY (binary) by psql → /dev/null", contestant: () => copyOut(program, surroundings) });
  if (only.includes("snapshot")) {
    for (const sessions of SESSIONS) {
      const title = `Tailrace snapshot → embedded log, ${sessions} ${sessions === 1 ? "session" : "sessions"}`;
      entries.push({ name: `snapshot_${sessions}`, title, contestant: (slot) => snapshot(slot, surroundings, sessions) });
    }
    if (kafka !== null && only.includes("kafka"))
      entries.push({
        name: "kafka",
        title: "Tailrace snapshot → Kafka, 2 sessions",
        contestant: (slot) => snapshotToKafka(slot, surroundings, kafka, 2),
      });
    for (const parts of only.includes("debezium") ? servers.debezium : [])
      entries.push({
        name: `debezium_${parts.encoding}`,
        title: `Debezium snapshot → Kafka, ${ENCODINGS[parts.encoding]}`,
        contestant: (slot) => debeziumSnapshot(slot, surroundings, parts, READ_TABLE),
      });
  }
  const { create, fill } = loads.narrow;
  const named = (text: string): string => text.replaceAll(loads.narrow.tables[0] ?? "", READ_TABLE);
  return {
    name: "read",
    about: "a table read",
    rows,
    server: "PostgreSQL s per 1M",
    entries: withPair(entries, ["snapshot_1"]),
    before: async (repeat) => {
      if (repeat > 1) return;
      await client.query("SET synchronous_commit = off");
      for (const statement of create) await client.query(named(statement));
      await client.query(named(fill(0, rows)));
      await client.query(`VACUUM ANALYZE ${READ_TABLE}`); // else whoever reads first also writes the hint bits of all rows
    },
    fill: async () => undefined,
    after: async () => {
      await client.query(`DROP TABLE ${READ_TABLE}`);
    },
  };
}
