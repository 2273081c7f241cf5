// Three ways to drain the same slot's worth of changes: PostgreSQL's own client, and Tailrace's source into each log.
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { openEmbeddedLog } from "../src/log/embedded/embedded-log.ts";
import { openKafkaLog } from "../src/log/kafka/kafka-log.ts";
import { openLog } from "../src/telemetry/log.ts";
import { perMillion, perSecond, type Contestant, type Surroundings } from "./contestant.ts";
import { ProcessMeter } from "./process-meter.ts";
import {
  configure,
  ended,
  limitMs,
  pidOf,
  remember,
  startService,
  stopService,
  untilPublished,
  untilReady,
  whatArrived,
  type KafkaParts,
} from "./service-process.ts";

export const STREAMED_TABLE = "public.orders";
const START_MS = 60_000;

/** pg_recvlogical to /dev/null, binary protocol: rows a second from its start to its end, which it knows by the LSN. */
export function recvlogical(program: string, name: string, { client, url }: Surroundings): Contestant {
  return {
    prepare: async () => {
      await client.query(`CREATE PUBLICATION ${name} FOR TABLE ${STREAMED_TABLE}`);
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    },
    run: async (rows, endLsn) => {
      const options = ["proto_version=1", `publication_names=${name}`, "binary=true"].flatMap((option) => ["-o", option]);
      const started = Date.now();
      const child = remember(
        spawn(program, ["-d", url, "-S", name, "--start", ...options, "-E", endLsn, "-f", "/dev/null", "--no-loop"], {
          stdio: ["ignore", "ignore", "inherit"],
        }),
      );
      const meter = new ProcessMeter(pidOf(child));
      const walsender = await walsenderOf(client, name);
      const code = await ended(child, limitMs(rows));
      const finished = Date.now();
      meter.stop();
      walsender.stop();
      if (code !== 0) throw new Error(`pg_recvlogical ended with ${code ?? "a signal"}`);
      return {
        rowsPerSecond: perSecond(rows, finished - started),
        cpuSecondsPerMillion: perMillion(meter.totalCpuSeconds, rows),
        serverSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await client.query("SELECT pg_drop_replication_slot($1)", [name]);
      await client.query(`DROP PUBLICATION ${name}`);
    },
  };
}

/** `tailrace run` with one source and no sink. `kafka` null: the embedded log. */
export function tailrace(name: string, { client, url, folder }: Surroundings, kafka: KafkaParts | null): Contestant {
  const dir = path.join(folder, name);
  let http = "";
  return {
    prepare: async () => {
      http = await configure({ name, url, dir, table: STREAMED_TABLE, snapshot: "{ mode: no_data }", kafka });
      const service = startService(dir);
      await untilReady(service, http);
      await stopService(service);
    },
    run: async (rows) => {
      const service = startService(dir);
      const meter = new ProcessMeter(pidOf(service));
      const walsender = await walsenderOf(client, `tailrace_${name}`);
      await untilPublished(service, http, rows);
      meter.stop();
      walsender.stop();
      await stopService(service);
      await using log =
        kafka === null
          ? await openEmbeddedLog({ path: path.join(dir, "log") })
          : openKafkaLog({ brokers: [...kafka.brokers], ...NO_LOGIN });
      const arrived = await whatArrived(log, `${name}.${STREAMED_TABLE}`);
      if (arrived.records !== rows) throw new Error(`${arrived.records} records stand in the log, ${rows} rows were written`);
      return {
        rowsPerSecond: perSecond(rows, arrived.lastMs - arrived.firstMs),
        cpuSecondsPerMillion: perMillion(meter.cpuSeconds(arrived.firstMs, arrived.lastMs), rows),
        serverSecondsPerMillion: perMillion(walsender.totalCpuSeconds, rows),
        peakRssAnonBytes: meter.peakRssAnonBytes,
      };
    },
    tidy: async () => {
      await dropSource(client, name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Slot and publication of a source. */
export async function dropSource(client: pg.Client, name: string): Promise<void> {
  await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [`tailrace_${name}`]);
  await client.query(`DROP PUBLICATION IF EXISTS tailrace_${name}`);
}

const NO_LOGIN = { clientId: "tailrace-bench", log: openLog({ level: "silent" }), ssl: null, sasl: null };

/** The walsender that serves a slot, as soon as there is one. */
async function walsenderOf(client: pg.Client, slot: string): Promise<ProcessMeter> {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline) {
    const { rows } = await client.query<{ pid: number | null }>("SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1", [
      slot,
    ]);
    const pid = rows[0]?.pid ?? null;
    if (pid !== null) return new ProcessMeter(pid);
    await sleep(10);
  }
  throw new Error(`nobody reads slot ${slot}`);
}
