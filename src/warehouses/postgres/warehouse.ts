// PostgreSQL as a warehouse: COPY into a temporary table, MERGE, and the checkpoint, in one transaction.
import pg from "pg";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import { reach } from "../../core/failpoint.ts";
import { ValueRefused } from "../../core/staged-rows.ts";
import { tableLabel } from "../../core/table.ts";
import type {
  Checkpoint,
  CheckpointMove,
  DeadLetter,
  Flush,
  FlushResult,
  Forgotten,
  KeptLetter,
  LetterQuery,
  MergePlan,
  OpenKey,
  Sweep,
  TableFlush,
  TargetSpec,
  VersionView,
  Warehouse,
  WarehouseSession,
} from "../../core/warehouse.ts";
import {
  everyNth,
  isMergedInto,
  lacksMark,
  isSwept,
  requireFence,
  requireMoved,
  RUNS_BETWEEN_PRUNINGS,
  toCheckpoint,
  toLetter,
  toOpenKey,
} from "../state-rows.ts";
import { addressOf, close, connect, isRowsFault, queryUnbounded, warehouseError, type Connection } from "./connection.ts";
import { addMark, expire, merge, raiseFloor, sweep, truncate } from "./dialect.ts";
import { inspectDatabase, planDatabase } from "./inspection.ts";
import { copyRows } from "./load.ts";
import {
  closeLetters,
  closeLettersBelow,
  createState,
  createStateSchema,
  findLetter,
  findState,
  forgetSink,
  insertCheckpoints,
  insertLetters,
  insertRun,
  listLetters,
  lockDdl,
  lockFence,
  mayPruneRuns,
  pruneRuns,
  raiseFence,
  readCheckpoints,
  readFloor,
  readOpenKeys,
  updateCheckpoints,
} from "./state.ts";
import { viewDdl } from "../version-view.ts";
import { altersColumn, findTarget, foundTarget, targetDdl, type FoundTarget } from "./target.ts";
import { decide, dropViews } from "./views.ts";

export type PostgresWarehouseOptions = {
  /** A connection URL; asked for at every connection, so that credentials can change. */
  readonly url: () => string;
  /** Bound of one statement, but for those whose time grows with the target. */
  readonly statementTimeoutMs?: number;
};

/** Dead letters in one statement; their bytes travel as parameters. */
const LETTERS_PER_STATEMENT = 500;
/** Staging tables that a connection keeps: one per target and set of columns. */
const MAX_STAGING_TABLES = 500;

/** A PostgreSQL database, 15 or later, as a warehouse. One connection is kept for the next session; others end with theirs. */
export function openPostgresWarehouse(options: PostgresWarehouseOptions): Warehouse {
  let idle: Connection | null = null;
  let closed = false;
  const address = addressOf(options.url());
  const isPruning = everyNth(RUNS_BETWEEN_PRUNINGS);
  return {
    address,
    open: async (signal) => {
      signal.throwIfAborted();
      const kept = idle;
      idle = null;
      const connection = kept === null || kept.broken ? await connect(options.url(), address, signal, options.statementTimeoutMs) : kept;
      return new PostgresSession(connection, address, isPruning, async () => {
        if (connection.broken || idle !== null || closed) return close(connection);
        idle = connection;
      });
    },
    inspect: async (targets, signal) => inspectDatabase(options.url(), address, targets, signal),
    plan: async (targets, signal) => planDatabase(options.url(), address, targets, signal),
    [Symbol.asyncDispose]: async () => {
      closed = true;
      const kept = idle;
      idle = null;
      if (kept !== null) await close(kept);
    },
  };
}

type Row = Readonly<Record<string, unknown>>;

/** One call at a time. After an error that is not about rows or checkpoints the connection is not used again. */
class PostgresSession implements WarehouseSession {
  readonly #connection: Connection;
  readonly #address: string;
  /** Asked once a flush. */
  readonly #isPruning: () => boolean;
  readonly #release: () => Promise<void>;
  #released = false;

  constructor(connection: Connection, address: string, isPruning: () => boolean, release: () => Promise<void>) {
    this.#connection = connection;
    this.#address = address;
    this.#isPruning = isPruning;
    this.#release = release;
  }

  async prepare(): Promise<void> {
    await this.#transaction(async () => {
      await this.#rows(lockDdl);
      const [found] = await this.#rows(findState);
      if (found?.schema !== true) await this.#rows(createStateSchema);
      const tables = (found?.tables ?? []) as readonly string[];
      for (const [name, sql] of Object.entries(createState)) if (!tables.includes(name)) await this.#rows(sql);
    });
  }

  async acquire(sink: string): Promise<{ readonly fence: number; readonly checkpoints: readonly Checkpoint[] }> {
    return this.#transaction(async () => {
      const [worker] = await this.#rows(raiseFence, [sink]);
      const rows = await this.#rows(readCheckpoints, [sink]);
      return { fence: Number(worker?.fence), checkpoints: rows.map(toCheckpoint) };
    });
  }

  async openKeys(sink: string): Promise<readonly OpenKey[]> {
    return (await this.#rows(readOpenKeys, [sink])).map((row) => toOpenKey(row, row.key_body as Buffer));
  }

  async letters(sink: string, { place, limit }: LetterQuery): Promise<readonly KeptLetter[]> {
    const [found] = await this.#rows(findState);
    if (!((found?.tables ?? []) as readonly string[]).includes("dead_letters")) return [];
    const rows =
      place === null
        ? await this.#rows(listLetters, [sink, limit])
        : await this.#rows(findLetter, [sink, place.topic, place.partition, place.offset]);
    return rows.map((row) => toLetter(row, (value) => value as Buffer)).reverse();
  }

  async forget(sink: string): Promise<Forgotten> {
    return this.#transaction(async () => {
      const [found] = await this.#rows(findState);
      const tables = (found?.tables ?? []) as readonly string[];
      const deleted = async (table: keyof typeof forgetSink): Promise<number> =>
        tables.includes(table) ? (await this.#rows(forgetSink[table], [sink])).length : 0;
      return { checkpoints: await deleted("checkpoints"), deadLetters: await deleted("dead_letters") };
    });
  }

  async ensureTarget(spec: TargetSpec): Promise<void> {
    const known = JSON.stringify(spec);
    if (this.#connection.fitting.has(known)) return;
    if (targetDdl(spec, await this.#findTarget(spec)).length > 0) {
      await this.#transaction(async () => {
        await this.#rows(lockDdl);
        const found = await this.#findTarget(spec);
        const ddl = targetDdl(spec, found);
        const views = ddl.some(altersColumn) ? await dropViews(this.#rows.bind(this), found.views) : [];
        await queryUnbounded(this.#connection, [...ddl, ...views]);
      });
    }
    this.#connection.fitting.add(known);
  }

  async flush(flush: Flush, signal: AbortSignal): Promise<FlushResult> {
    return this.#abortable(signal, async () => {
      const stagings = await this.#stagings(flush.tables.map(({ plan }) => plan));
      const result = await this.#transaction(async () => {
        requireFence(flush, (await this.#rows(lockFence, [flush.sink]))[0]);
        await this.#moveCheckpoints(flush.sink, flush.checkpoints);
        const merged: number[] = [];
        const orphaned: DeadLetter[] = [];
        for (const [index, table] of flush.tables.entries()) {
          const done = await this.#merge(table, stagings[index]!, flush.onStaged);
          merged.push(done.rows);
          for (const row of done.orphans) orphaned.push(...flush.orphaned(index, row));
        }
        await this.#insertLetters(flush.sink, [...flush.deadLetters, ...orphaned]);
        await this.#closeLetters(flush.sink, flush.closedDeadLetters);
        for (const { topic, sequence } of flush.letterFloors)
          for (const sql of closeLettersBelow) await this.#rows(sql, [flush.sink, topic, sequence]);
        for (const one of flush.sweeps) await this.#sweep(one);
        const expired: number[] = [];
        for (const one of flush.expiries) expired.push((await this.#query(expire(one))).rowCount ?? 0);
        await this.#insertRun(flush, sum(merged), flush.deadLetters.length + orphaned.length);
        await this.#checkConstraints(flush.tables);
        reach("sink.before_commit");
        return { merged, deadLetters: orphaned, expired };
      });
      reach("sink.after_commit");
      return result;
    });
  }

  async refusal(table: TableFlush, signal: AbortSignal): Promise<string | null> {
    const rolledBack = new TailraceError("ROW_REFUSED", { target: "none", reason: "rolled back" });
    try {
      await this.#abortable(signal, async () => {
        const [staging = ""] = await this.#stagings([table.plan]);
        await this.#transaction(async () => {
          await this.#merge(table, staging);
          await this.#checkConstraints([table]);
          throw rolledBack;
        });
      });
    } catch (cause) {
      if (cause === rolledBack) return null;
      if (cause instanceof TailraceError && cause.code === "ROW_REFUSED") return reasonOf(cause.cause);
      throw cause;
    }
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#released) return; // the connection may be another session's by now
    this.#released = true;
    await this.#release();
  }

  async ensureView(view: VersionView): Promise<string | null> {
    const [floor] = await this.#rows(readFloor, [view.target.schema, view.target.name]);
    if (floor === undefined) return null;
    const rows = this.#rows.bind(this);
    let decision = await decide(rows, view);
    if (decision.kind === "make")
      await this.#transaction(async () => {
        await this.#rows(lockDdl);
        decision = await decide(rows, view);
        if (decision.kind === "make") for (const sql of viewDdl(view, decision)) await this.#rows(sql);
      });
    return decision.kind === "none" ? decision.reason : null;
  }

  async ensureMark(sweep: Sweep): Promise<void> {
    if (!lacksMark(sweep, (await this.#findTarget(sweep)).columns)) return;
    await this.#transaction(async () => {
      await this.#rows(lockDdl);
      if (lacksMark(sweep, (await this.#findTarget(sweep)).columns)) await queryUnbounded(this.#connection, [addMark(sweep.target)]);
    });
  }

  async #findTarget({ target }: Pick<TargetSpec, "target">): Promise<FoundTarget> {
    const [row] = await this.#rows(findTarget, [target.schema, target.name]);
    return foundTarget(row);
  }

  /** The names of the plans' staging tables, made in a transaction of their own: a flush that is rolled back would take them along. */
  async #stagings(plans: readonly MergePlan[]): Promise<readonly string[]> {
    const { staging } = this.#connection;
    if (staging.size > MAX_STAGING_TABLES) {
      await this.#rows("DISCARD TEMP");
      staging.clear();
    }
    const names: string[] = [];
    for (const plan of plans) {
      const use = JSON.stringify([plan.target, plan.columns.map(({ name, type }) => [name, type])]);
      const name = staging.get(use) ?? `tailrace_staged_${staging.size + 1}`;
      if (!staging.has(use)) await this.#transaction(() => this.#rows(merge(plan, name).stage));
      staging.set(use, name);
      names.push(name);
    }
    return names;
  }

  async #merge(
    { plan, staged, truncate: floor }: TableFlush,
    staging: string,
    onStaged?: () => void,
  ): Promise<{ readonly rows: number; readonly orphans: readonly number[] }> {
    const { client } = this.#connection;
    try {
      if (floor === null && staged.rows === 0) return { rows: 0, orphans: [] };
      const steps = merge(plan, staging);
      await copyRows(client, steps.copy, plan, staged);
      reach("sink.after_stage");
      onStaged?.();
      if (floor !== null) await queryUnbounded(this.#connection, truncate(plan, floor, staging));
      const orphans = steps.orphans === null ? [] : (await client.query<{ row: number }>(steps.orphans)).rows.map(({ row }) => row);
      // In one message: without parameters pg speaks the simple protocol and answers with a list.
      const [merged] = (await client.query([steps.merge, ...steps.tombstones].join(";\n"))) as unknown as pg.QueryResult[];
      return { rows: merged?.rowCount ?? 0, orphans: orphans.sort((a, b) => a - b) };
    } catch (cause) {
      throw isRowsFault(cause) || cause instanceof ValueRefused
        ? rowRefused(tableLabel(plan.target), cause)
        : warehouseError(cause, this.#address);
    }
  }

  async #sweep(one: Sweep): Promise<void> {
    const { columns } = await this.#findTarget(one);
    const [floor] = await this.#rows(readFloor, [one.target.schema, one.target.name]);
    if (isSwept(one, floor)) return;
    try {
      await queryUnbounded(this.#connection, isMergedInto(one, columns) ? sweep(one) : raiseFloor(one, one.opening));
    } catch (cause) {
      throw warehouseError(cause, this.#address);
    }
  }

  /** Deferred constraints speak now and not in COMMIT, while it is known whose they are. */
  async #checkConstraints(tables: readonly TableFlush[]): Promise<void> {
    try {
      await this.#connection.client.query("SET CONSTRAINTS ALL IMMEDIATE");
    } catch (cause) {
      if (!isRowsFault(cause) || !(cause instanceof pg.DatabaseError)) throw warehouseError(cause, this.#address);
      const at = tables.find(({ plan }) => plan.target.schema === cause.schema && plan.target.name === cause.table);
      throw rowRefused(at === undefined ? `${cause.schema ?? ""}.${cause.table ?? ""}` : tableLabel(at.plan.target), cause);
    }
  }

  async #moveCheckpoints(sink: string, moves: readonly CheckpointMove[]): Promise<void> {
    if (moves.length === 0) return;
    const parameters = [
      sink,
      moves.map(({ topic }) => topic),
      moves.map(({ partition }) => partition),
      moves.map(({ topicId }) => topicId),
      moves.map(({ nextOffset }) => nextOffset),
      moves.map(({ sequence }) => sequence),
      moves.map(({ expected }) => expected?.nextOffset ?? null),
      moves.map(({ expected }) => expected?.topicId ?? null),
    ];
    const moved = [...(await this.#rows(updateCheckpoints, parameters))];
    if (moves.some(({ expected }) => expected === null)) moved.push(...(await this.#rows(insertCheckpoints, parameters)));
    requireMoved(moves, moved);
  }

  async #insertLetters(sink: string, letters: readonly DeadLetter[]): Promise<void> {
    for (let first = 0; first < letters.length; first += LETTERS_PER_STATEMENT) {
      const some = letters.slice(first, first + LETTERS_PER_STATEMENT);
      await this.#rows(insertLetters, [
        sink,
        some.map(({ topic }) => topic),
        some.map(({ partition }) => partition),
        some.map(({ offset }) => offset),
        some.map(({ keyBytes }) => keyBytes),
        some.map(({ sequence }) => sequence),
        some.map(({ code }) => code),
        some.map(({ message }) => message),
        some.map(({ key }) => key),
        some.map(({ value }) => value),
      ]);
    }
  }

  async #closeLetters(sink: string, closed: Flush["closedDeadLetters"]): Promise<void> {
    if (closed.length === 0) return;
    const topics = closed.map(({ topic }) => topic);
    const keys = closed.map(({ keyBytes }) => keyBytes);
    for (const sql of closeLetters) await this.#rows(sql, [sink, topics, keys, closed.map(({ sequence }) => sequence)]);
  }

  async #insertRun({ sink, run }: Flush, merged: number, deadLetters: number): Promise<void> {
    await this.#rows(insertRun, [sink, run.startedMs, run.events, merged, deadLetters, run.firstSequence, run.lastSequence]);
    if (this.#isPruning() && (await this.#rows(mayPruneRuns))[0]?.may === true) await this.#rows(pruneRuns, [sink]);
  }

  /** All of `work` or nothing of it; when the connection is lost in COMMIT nobody knows which, and the checkpoint tells. */
  async #transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.#rows("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    try {
      const result = await work();
      await this.#rows("COMMIT");
      return result;
    } catch (cause) {
      const error = warehouseError(cause, this.#address);
      await this.#connection.client.query("ROLLBACK").catch(() => (this.#connection.broken = true));
      if (error.code !== "ROW_REFUSED" && error.code !== "CHECKPOINT_MOVED") this.#connection.broken = true;
      throw error;
    }
  }

  /** An abort ends the connection: the server rolls back what it was told. */
  async #abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const abort = (): void => void close(this.#connection);
    signal.addEventListener("abort", abort);
    try {
      return await work();
    } catch (cause) {
      throw signal.aborted ? signal.reason : cause;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  async #rows(sql: string, parameters?: unknown[]): Promise<readonly Row[]> {
    return (await this.#query(sql, parameters)).rows;
  }

  async #query(sql: string, parameters?: unknown[]): Promise<pg.QueryResult<Row>> {
    try {
      return await this.#connection.client.query<Row>(sql, parameters);
    } catch (cause) {
      this.#connection.broken = true;
      throw warehouseError(cause, this.#address);
    }
  }
}

function rowRefused(target: string, cause: unknown): TailraceError {
  return new TailraceError("ROW_REFUSED", { target, reason: reasonOf(cause) }, { cause });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
