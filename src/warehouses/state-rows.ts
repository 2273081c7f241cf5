// Rows of the tables in schema _tailrace, as they come from a warehouse's client, and what the sink makes of them.
import { TailraceError } from "../core/errors.ts";
import {
  metadataColumns,
  type Checkpoint,
  type CheckpointMove,
  type Flush,
  type KeptLetter,
  type OpenKey,
  type Sweep,
} from "../core/warehouse.ts";

/** Flushes of a process between two looks for runs that are too many: a look reads all that are kept, milliseconds. */
export const RUNS_BETWEEN_PRUNINGS = 100;

/** A function that is true at the first call and at every `n`th from there. */
export function everyNth(n: number): () => boolean {
  let calls = 0;
  return () => calls++ % n === 0;
}

/** Columns by name. Numbers may be of any type that Number() takes. */
export type StateRow = Readonly<Record<string, unknown>>;

/** A row of `checkpoints`. */
export function toCheckpoint(row: StateRow): Checkpoint {
  return {
    topic: String(row.topic),
    partition: Number(row.partition),
    topicId: String(row.topic_id),
    nextOffset: Number(row.next_offset),
    sequence: String(row.sequence),
  };
}

/** A row of a warehouse's `readOpenKeys`. `keyBytes`: its column `key_body`, as bytes. */
export function toOpenKey(row: StateRow, keyBytes: Buffer): OpenKey {
  const last = String(row.last);
  const lastDead = String(row.last_dead);
  return { topic: String(row.topic), keyBytes, last, lastDead: lastDead === last ? last : lastDead }; // one string: there may be many keys
}

/** A row of a warehouse's `listLetters` or `findLetter`. `bytes`: how its client gives them. */
export function toLetter<T>(row: Readonly<Record<string, T>>, bytes: (value: T) => Buffer): KeptLetter {
  const blob = (value: T | undefined): Buffer | null => (value === null || value === undefined ? null : bytes(value));
  return {
    topic: String(row.topic),
    partition: Number(row.partition),
    offset: Number(row.log_offset),
    keyBytes: blob(row.key_body),
    sequence: String(row.sequence),
    code: String(row.code),
    message: String(row.message),
    key: blob(row.key),
    value: blob(row.value),
    state: String(row.state),
    createdMs: Math.floor(Number(row.created_ms)),
  };
}

/** R-checkpoint: throws CHECKPOINT_MOVED when the row of `workers` has another fence than the flush. */
export function requireFence({ sink, fence, checkpoints }: Flush, worker: StateRow | undefined): void {
  if (Number(worker?.fence) !== fence) throw checkpointMoved(checkpoints[0] ?? { topic: `sink ${sink}`, partition: -1 });
}

/** R-checkpoint: throws CHECKPOINT_MOVED when one of the moves is not among the rows of `checkpoints` that were moved. */
export function requireMoved(moves: readonly CheckpointMove[], moved: readonly StateRow[]): void {
  const places = new Set(moved.map(({ topic, partition }) => `${Number(partition)} ${String(topic)}`));
  const left = moves.find(({ topic, partition }) => !places.has(`${partition} ${topic}`));
  if (left !== undefined) throw checkpointMoved(left);
}

/** Whether a target of these columns (none: it does not exist) is one that a merge has made or fitted. */
export function isMergedInto({ deletes }: Pick<Sweep, "deletes">, columns: readonly { readonly name: string }[]): boolean {
  const { sequence, deleted } = metadataColumns;
  return (deletes === "hard" ? [sequence] : [sequence, deleted]).every((needed) => columns.some(({ name }) => name === needed));
}

/** Whether a merge of hard deletes has made the target of a sweep of soft ones, which has nothing to mark its rows by. */
export function lacksMark(sweep: Pick<Sweep, "deletes">, columns: readonly { readonly name: string }[]): boolean {
  return isMergedInto({ deletes: "hard" }, columns) && !isMergedInto(sweep, columns);
}

/**
 * Whether the row of `floors` (undefined: there is none) says that nothing is left below a sweep's opening: ends are said
 * again after a crash, and to look for rows to delete takes as long as to read the whole target.
 */
export function isSwept({ opening }: Pick<Sweep, "opening">, floor: StateRow | undefined): boolean {
  return floor !== undefined && String(floor.sequence) >= opening;
}

function checkpointMoved({ topic, partition }: Pick<CheckpointMove, "topic" | "partition">): TailraceError {
  return new TailraceError("CHECKPOINT_MOVED", { topic, partition });
}
