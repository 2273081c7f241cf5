// What is left of a connector outside of this process goes: of a source its slot, publication and state, of a sink its
// checkpoints. Events and targets are kept. Each part by itself: what can't be dropped is named and keeps nothing else.
import { existsSync } from "node:fs";
import type { SinkConfig, SourceConfig } from "../config/config.ts";
import { barrierTopic } from "../core/barrier.ts";
import { deadline } from "../core/deadline.ts";
import { TailraceError } from "../core/errors.ts";
import type { EventLog } from "../core/event-log.ts";
import { pause } from "../core/pause.ts";
import { readState, stateTopic } from "../core/source-state.ts";
import { openWarehouse, sourceOptions } from "../parts.ts";
import { dropPublication } from "../postgres/publication.ts";
import { Session } from "../postgres/session.ts";
import { dropSlot, judgeSlot, readSlot, type Slot } from "../postgres/slot.ts";

/** In words, a line each. */
export type Dropped = {
  readonly dropped: readonly string[];
  readonly kept: readonly string[];
  /** What should have gone and did not, with the reason. */
  readonly left: readonly string[];
};

/** One server may take so long, ms. */
const SERVER_MS = 30_000;
/** How long a reader of the slot that has just been told to end may take, ms. */
const RELEASE_MS = 5_000;
const LOOK_MS = 100;

/**
 * `foreignToo`: also a slot and publication that the configuration says are not ours to make (create: false). The state is
 * kept while somebody may read the slot: it is that reader's. `log` null: there is none yet.
 */
export async function dropSource(
  config: SourceConfig,
  log: EventLog | null,
  { foreignToo }: { readonly foreignToo: boolean },
  signal: AbortSignal,
): Promise<Dropped> {
  const report = new Report();
  const { slot, publication, create } = config.postgres;
  const { prefix } = config.topics;
  /** Nobody reads the slot: what this source has in the log is nobody else's. */
  let isIdle = false;
  await report.attempt(`slot ${slot} and publication ${publication}`, signal, async (bounded) => {
    const { url } = sourceOptions(config);
    await using session = await Session.open({ url: url(), applicationName: `tailrace drop ${config.name}` }, bounded);
    const seen = await idleSlot(session, slot, bounded);
    const { activePid = null, application = "" } = seen ?? {};
    if (activePid !== null) {
      report.left.push(`slot ${slot}: PID ${activePid} (${application === "" ? "unknown" : application}) reads it`);
      return;
    }
    isIdle = true;
    if (create || foreignToo) await dropOurs(session, seen, config, report);
    else report.kept.push(`slot ${slot} and publication ${publication}: create is false`);
  });
  if (log === null) return report;
  await report.attempt(`topics of ${prefix}`, signal, async (bounded) => {
    const state = await readState(log, prefix, bounded);
    if (state !== null && state.topics.length > 0) {
      const topics = [...state.topics, ...state.retired, ...state.parked.map(({ topic }) => topic)];
      report.kept.push(`topics with events, and their schemas: ${topics.map(({ name }) => name).join(", ")}`);
    }
    for (const { name } of await log.topics([stateTopic(prefix), barrierTopic(prefix)], bounded)) {
      if (!isIdle) {
        report.left.push(`topic ${name}: it goes when nobody reads the slot`);
        continue;
      }
      await log.deleteTopic(name, bounded);
      report.dropped.push(`topic ${name}`);
    }
  });
  return report;
}

/** The slot once nobody reads it, or as it is when somebody has not let go after a while; null: there is none. */
async function idleSlot(session: Session, name: string, signal: AbortSignal): Promise<Slot | null> {
  for (const until = performance.now() + RELEASE_MS; ;) {
    const slot = await readSlot(session, name);
    if ((slot?.activePid ?? null) === null || performance.now() > until) return slot;
    await pause(LOOK_MS, signal);
    signal.throwIfAborted();
  }
}

/** A slot of another kind or database is none of ours, whatever its name. */
async function dropOurs(session: Session, slot: Slot | null, { postgres }: SourceConfig, report: Report): Promise<void> {
  const [row] = await session.query(
    "SELECT current_database() AS database, (SELECT 1 FROM pg_publication WHERE pubname = $1) AS publication",
    [postgres.publication],
  );
  const verdict = judgeSlot(slot, { database: row?.database ?? "", recorded: null });
  if (verdict.kind === "foreign") report.left.push(`slot ${postgres.slot}: ${verdict.reason}`);
  else if (slot !== null) {
    await dropSlot(session, postgres.slot);
    report.dropped.push(`slot ${postgres.slot}`);
  }
  if (row?.publication !== "1") return;
  await dropPublication(session, postgres.publication);
  report.dropped.push(`publication ${postgres.publication}`);
}

/** The targets stay: they are the user's. */
export async function dropSink(config: SinkConfig, signal: AbortSignal): Promise<Dropped> {
  const report = new Report();
  const { warehouse } = config;
  report.kept.push("its targets, with their rows");
  if (warehouse.kind === "duckdb" && !existsSync(warehouse.path)) return report; // opening it would make it
  await report.attempt(`checkpoints of ${config.name}`, signal, async (bounded) => {
    await using opened = openWarehouse(config);
    await using session = await opened.open(bounded);
    const { checkpoints, deadLetters } = await session.forget(config.name);
    if (checkpoints > 0) report.dropped.push(`${checkpoints} checkpoint(s) in ${opened.address}`);
    if (deadLetters > 0) report.dropped.push(`${deadLetters} open dead letter(s) in ${opened.address}`);
  });
  return report;
}

class Report implements Dropped {
  readonly dropped: string[] = [];
  readonly kept: string[] = [];
  readonly left: string[] = [];

  async attempt(what: string, signal: AbortSignal, work: (bounded: AbortSignal) => Promise<void>): Promise<void> {
    using bound = deadline(SERVER_MS, signal);
    try {
      await work(bound.signal);
    } catch (cause) {
      const isLate = bound.signal.aborted && !signal.aborted;
      const reason = isLate ? `no answer within ${SERVER_MS / 1_000} s` : TailraceError.from(cause).message;
      this.left.push(`${what}: ${reason}`);
    }
  }
}
