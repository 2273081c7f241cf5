// A session with DuckDB: the time for which this process holds the file.
import { DuckDBBlobValue, type DuckDBConnection, type DuckDBValue } from "@duckdb/node-api";
import { reasonOf, TailraceError } from "../../core/errors.ts";
import { reach } from "../../core/failpoint.ts";
import { ValueRefused } from "../../core/staged-rows.ts";
import { tableLabel, type TableName } from "../../core/table.ts";
import type {
  Checkpoint,
  CheckpointMove,
  DeadLetter,
  Flush,
  FlushResult,
  Forgotten,
  KeptLetter,
  LetterQuery,
  OpenKey,
  Sweep,
  TableFlush,
  TargetSpec,
  VersionView,
  WarehouseSession,
} from "../../core/warehouse.ts";
import {
  isMergedInto,
  lacksMark,
  isSwept,
  requireFence,
  requireMoved,
  toCheckpoint,
  toLetter,
  toOpenKey,
  type StateRow,
} from "../state-rows.ts";
import { addMark, expire, merge, raiseFloor, STAGED_TABLE, sweep, truncate, WAREHOUSE } from "./dialect.ts";
import type { DuckdbFile } from "./file.ts";
import { appendRows, putBytes, putCount, putText, stagedLoad, type Load } from "./load.ts";
import {
  closeLetters,
  closeLettersBelow,
  createState,
  findLetter,
  findState,
  findViews,
  forgetSink,
  insertLetters,
  insertRun,
  listLetters,
  moveCheckpoints,
  pruneRuns,
  raiseFence,
  readCheckpoints,
  readFence,
  readFloor,
  readOpenKeys,
  STAGED_CLOSED_TABLE,
  STAGED_LETTERS_TABLE,
  stageClosed,
  stageLetters,
} from "./state.ts";
import { same } from "./struct.ts";
import { decideView, viewDdl, type ViewFacts } from "../version-view.ts";
import { findColumns, foundColumn, targetDdl, type FoundColumn } from "./target.ts";

type Row = Readonly<Record<string, DuckDBValue>>;

/** One call at a time. Every call has ended when it settles, whatever happened: what still ran would keep the file. */
export class DuckdbSession implements WarehouseSession {
  readonly #file: DuckdbFile;
  readonly #connection: DuckDBConnection;
  readonly #address: string;
  /** Asked once a flush. */
  readonly #isPruning: () => boolean;
  /** Of all targets; nobody else can change them while the file is held. */
  #columns: readonly FoundColumn[] | null = null;
  #wrote = false;
  #failed = false;
  #closed = false;

  constructor(file: DuckdbFile, address: string, isPruning: () => boolean) {
    this.#file = file;
    this.#connection = file.connection;
    this.#address = address;
    this.#isPruning = isPruning;
  }

  async prepare(): Promise<void> {
    await this.#transaction(async () => {
      for (const sql of createState) await this.#run(sql);
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
    return (await this.#rows(readOpenKeys, [sink])).map((row) => toOpenKey(row, toBytes(row.key_body)));
  }

  async letters(sink: string, { place, limit }: LetterQuery): Promise<readonly KeptLetter[]> {
    if ((await this.#rows(findState)).length === 0) return [];
    const rows =
      place === null
        ? await this.#rows(listLetters, [sink, limit])
        : await this.#rows(findLetter, [sink, place.topic, place.partition, BigInt(place.offset)]);
    return rows.map((row) => toLetter(row, toBytes)).reverse();
  }

  async forget(sink: string): Promise<Forgotten> {
    if ((await this.#rows(findState)).length === 0) return { checkpoints: 0, deadLetters: 0 };
    return this.#transaction(async () => {
      const checkpoints = await this.#rows(forgetSink.checkpoints, [sink]);
      const letters = await this.#rows(forgetSink.dead_letters, [sink]);
      return { checkpoints: checkpoints.length, deadLetters: letters.length };
    });
  }

  async ensureTarget(spec: TargetSpec): Promise<void> {
    this.#columns ??= await this.#findColumns();
    const ddl = targetDdl(spec, this.#columns);
    if (ddl.length === 0) return;
    this.#columns = null;
    await this.#transaction(async () => {
      for (const sql of ddl) await this.#run(sql);
    });
  }

  async ensureView(view: VersionView): Promise<string | null> {
    const [floor] = await this.#rows(readFloor, [view.target.schema, view.target.name]);
    if (floor === undefined) return null;
    const found = await this.#findView(view.view);
    const [first, target] = [await this.#columnsOf(view.first), await this.#columnsOf(view.target)];
    const decision = decideView(view, { first, target, found });
    if (decision.kind === "none") return decision.reason;
    if (decision.kind === "stands") return null;
    this.#columns = null;
    await this.#transaction(async () => {
      for (const sql of viewDdl(view, decision, `${WAREHOUSE}.`)) await this.#run(sql);
    });
    return null;
  }

  /** What DuckDB takes the view's name for. One in other letters is none that a sink has made. */
  async #findView({ schema, name }: TableName): Promise<ViewFacts["found"]> {
    const row = (await this.#rows(findViews)).find((each) => same(String(each.schema_name), schema) && same(String(each.view_name), name));
    this.#columns ??= await this.#findColumns();
    const columns = this.#columns.filter((column) => same(column.schema, schema) && same(column.table, name));
    if (row === undefined && columns.length === 0) return null;
    const isView = row?.schema_name === schema && row.view_name === name;
    return { columns, isView, comment: (row?.comment ?? null) as string | null };
  }

  async ensureMark(sweep: Sweep): Promise<void> {
    if (!lacksMark(sweep, await this.#columnsOf(sweep.target))) return;
    this.#columns = null;
    await this.#transaction(() => this.#run(addMark(sweep.target)));
  }

  async flush(flush: Flush, signal: AbortSignal): Promise<FlushResult> {
    return this.#interruptible(signal, async () => {
      const result = await this.#transaction(async () => {
        requireFence(flush, (await this.#rows(readFence, [flush.sink]))[0]);
        await this.#moveCheckpoints(flush.sink, flush.checkpoints);
        const merged: number[] = [];
        const orphaned: DeadLetter[] = [];
        for (const [index, table] of flush.tables.entries()) {
          const done = await this.#merge(table, signal, flush.onStaged);
          merged.push(done.rows);
          for (const row of done.orphans) orphaned.push(...flush.orphaned(index, row));
        }
        await this.#insertLetters(flush.sink, [...flush.deadLetters, ...orphaned], signal);
        await this.#closeLetters(flush.sink, flush.closedDeadLetters, signal);
        for (const floor of flush.letterFloors) for (const sql of closeLettersBelow(flush.sink, floor)) await this.#run(sql);
        for (const one of flush.sweeps) await this.#sweep(one);
        const expired: number[] = [];
        for (const one of flush.expiries) expired.push(await this.#run(expire(one)));
        await this.#insertRun(flush, sum(merged), flush.deadLetters.length + orphaned.length);
        reach("sink.before_commit");
        return { merged, deadLetters: orphaned, expired };
      });
      reach("sink.after_commit");
      return result;
    });
  }

  async refusal(table: TableFlush, signal: AbortSignal): Promise<string | null> {
    const rolledBack = new Error("rolled back");
    try {
      await this.#interruptible(signal, () =>
        this.#transaction(async () => {
          await this.#merge(table, signal);
          throw rolledBack;
        }),
      );
    } catch (cause) {
      if (cause === rolledBack) return null;
      if (cause instanceof TailraceError && cause.code === "ROW_REFUSED") return reasonOf(cause.cause);
      throw cause;
    }
    return null;
  }

  /** Lets the file go. A checkpoint that COMMIT was too small for comes first, off the event loop: closing would make it too, but in this thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return; // the file may be another session's by now
    this.#closed = true;
    // A file that can't be written now keeps its WAL, which the next opening replays.
    if (this.#wrote) await this.#connection.run("CHECKPOINT warehouse").catch(() => (this.#failed = true));
    if (this.#failed) this.#file.close();
    else await this.#file.release();
  }

  async #findColumns(): Promise<readonly FoundColumn[]> {
    return (await this.#rows(findColumns)).map(foundColumn);
  }

  async #merge(
    table: TableFlush,
    signal: AbortSignal,
    onStaged?: () => void,
  ): Promise<{ readonly rows: number; readonly orphans: readonly number[] }> {
    const { plan, staged } = table;
    try {
      if (table.truncate === null && staged.rows === 0) return { rows: 0, orphans: [] };
      const steps = merge(plan);
      await this.#run(steps.stage);
      await appendRows(this.#connection, STAGED_TABLE, stagedLoad(plan, staged), signal);
      reach("sink.after_stage");
      onStaged?.();
      if (table.truncate !== null) for (const sql of truncate(plan, table.truncate)) await this.#run(sql);
      await this.#run(steps.resolve);
      const orphans = steps.orphans === null ? [] : (await this.#rows(steps.orphans)).map(({ row }) => Number(row));
      const removed = await this.#run(steps.remove);
      if (removed > 0) await this.#run(steps.replace);
      const added = await this.#run(steps.add);
      for (const sql of steps.tombstones) await this.#run(sql);
      return { rows: removed + added, orphans };
    } catch (cause) {
      const refused = duckdbsOwn(cause);
      if (!(refused instanceof ValueRefused) && !isRowsFault(reasonOf(refused))) throw cause;
      throw new TailraceError("ROW_REFUSED", { target: tableLabel(plan.target), reason: reasonOf(refused) }, { cause: refused });
    }
  }

  async #sweep(one: Sweep): Promise<void> {
    const { schema, name } = one.target;
    const [floor] = await this.#rows(readFloor, [schema, name]);
    if (isSwept(one, floor)) return;
    const columns = await this.#columnsOf(one.target);
    for (const sql of isMergedInto(one, columns) ? sweep(one) : raiseFloor(one, one.opening)) await this.#run(sql);
  }

  async #columnsOf({ schema, name }: TableName): Promise<readonly FoundColumn[]> {
    this.#columns ??= await this.#findColumns();
    return this.#columns.filter((column) => column.schema === schema && column.table === name);
  }

  async #moveCheckpoints(sink: string, moves: readonly CheckpointMove[]): Promise<void> {
    const moved: StateRow[] = [];
    for (const sql of moveCheckpoints(sink, moves)) moved.push(...(await this.#rows(sql)));
    requireMoved(moves, moved);
  }

  async #insertLetters(sink: string, letters: readonly DeadLetter[], signal: AbortSignal): Promise<void> {
    if (letters.length === 0) return;
    await this.#run(stageLetters);
    await appendRows(this.#connection, STAGED_LETTERS_TABLE, lettersLoad(letters), signal);
    for (const sql of insertLetters(sink)) await this.#run(sql);
  }

  async #closeLetters(sink: string, closed: Flush["closedDeadLetters"], signal: AbortSignal): Promise<void> {
    if (closed.length === 0) return;
    await this.#run(stageClosed);
    await appendRows(this.#connection, STAGED_CLOSED_TABLE, closedLoad(closed), signal);
    for (const sql of closeLetters(sink)) await this.#run(sql);
  }

  async #insertRun({ sink, run }: Flush, merged: number, deadLetters: number): Promise<void> {
    const counts = [run.startedMs, Date.now(), run.events, merged, deadLetters].map(BigInt);
    await this.#run(insertRun, [sink, ...counts, run.firstSequence, run.lastSequence]);
    if (this.#isPruning()) await this.#run(pruneRuns, [sink]);
  }

  /** All of `work` or nothing of it. A COMMIT that fails has not happened: this process is the file's only writer. */
  async #transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.#run("BEGIN TRANSACTION");
    try {
      const result = await work();
      await this.#run("COMMIT");
      this.#wrote = true;
      return result;
    } catch (cause) {
      this.#failed = true;
      await this.#connection.run("ROLLBACK").catch(() => undefined); // a failed COMMIT has rolled back already
      throw cause;
    }
  }

  async #interruptible<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const interrupt = (): void => this.#connection.interrupt();
    signal.addEventListener("abort", interrupt);
    try {
      return await work();
    } catch (cause) {
      throw signal.aborted ? signal.reason : cause;
    } finally {
      signal.removeEventListener("abort", interrupt);
    }
  }

  /** The rows that the statement changed. */
  async #run(sql: string, values?: DuckDBValue[]): Promise<number> {
    return this.#ask(async () => (await this.#connection.run(sql, values)).rowsChanged);
  }

  async #rows(sql: string, values?: DuckDBValue[]): Promise<readonly Row[]> {
    return this.#ask(async () => (await this.#connection.runAndReadAll(sql, values)).getRowObjects());
  }

  async #ask<T>(query: () => Promise<T>): Promise<T> {
    try {
      return await query();
    } catch (cause) {
      this.#failed = true;
      throw new TailraceError("WAREHOUSE_REFUSED", { warehouse: this.#address, reason: reasonOf(cause) }, { cause });
    }
  }
}

/**
 * Whether a statement failed because of a row's values. DuckDB tells its errors' classes only in their messages; these
 * are the classes that values cause (a test captures the messages).
 */
export function isRowsFault(message: string): boolean {
  return /^(Constraint|Conversion|Out of Range|Invalid Input) Error: /.test(message);
}

/** What DuckDB threw, without the code that was put around it. */
function duckdbsOwn(thrown: unknown): unknown {
  return thrown instanceof TailraceError ? thrown.cause : thrown;
}

function lettersLoad(letters: readonly DeadLetter[]): Load {
  return {
    types: (["text", "int4", "int8", "bytea", "text", "text", "text", "bytea", "bytea"] as const).map((kind) => ({ kind })),
    rows: letters.length,
    write: (row, into) => {
      const { topic, partition, offset, keyBytes, sequence, code, message, key, value } = letters[row]!;
      putText(topic, into[0]!);
      into[1]!.int(partition);
      putCount(offset, into[2]!);
      putBytes(keyBytes, into[3]!);
      putText(sequence, into[4]!);
      putText(code, into[5]!);
      putText(message, into[6]!);
      putBytes(key, into[7]!);
      putBytes(value, into[8]!);
    },
  };
}

function closedLoad(closed: Flush["closedDeadLetters"]): Load {
  return {
    types: (["text", "bytea", "text"] as const).map((kind) => ({ kind })),
    rows: closed.length,
    write: (row, into) => {
      const { topic, keyBytes, sequence } = closed[row]!;
      putText(topic, into[0]!);
      putBytes(keyBytes, into[1]!);
      putText(sequence, into[2]!);
    },
  };
}

function toBytes(value: DuckDBValue | undefined): Buffer {
  return Buffer.from(value instanceof DuckDBBlobValue ? value.bytes : []);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
