// Random histories of a table, the flushes that a sink makes of them by its own fold, and what the target must then hold: a
// model in plain maps, to be compared with what a warehouse did.
import fc from "fast-check";
import type { LogRecord } from "../../src/core/event-log.ts";
import { parseSequence } from "../../src/core/sequence.ts";
import type { TableFlush, TargetSpec } from "../../src/core/warehouse.ts";
import { foldChange, truncateRow, type Change, type FoldedRow } from "../../src/sink/fold.ts";
import { stage, type EventColumn } from "../../src/sink/staging.ts";
import { at, keyBytes, targetSpec } from "./staged.ts";

const KEYS = 6;
/** The columns of every history's table, the key first. */
const COLUMNS: readonly EventColumn[] = [
  { name: "id", type: { kind: "int8" }, keyPosition: 1 },
  { name: "name", type: { kind: "text" }, keyPosition: 0 },
  { name: "note", type: { kind: "text" }, keyPosition: 0 },
];
const OUTSIDE_KEY = [1, 2];
const NOTE = 2;
const NO_RECORD: LogRecord = { offset: 0, timestamp: 0, key: null, value: null, headers: [] };

export type Event =
  | { readonly op: "insert"; readonly key: number; readonly name: string; readonly note: string }
  /** `note` null: it was not sent. */
  | { readonly op: "update"; readonly key: number; readonly name: string; readonly note: string | null }
  | { readonly op: "delete"; readonly key: number }
  | { readonly op: "truncate" };

/** Flushes cover [from, to) of the history; they overlap, come twice, and begin again at earlier places. */
export type History = { readonly events: readonly Event[]; readonly flushes: readonly (readonly [from: number, to: number])[] };

/** What the source's table does: an update or delete is of a row that is there, an insert of one that is not. */
export function histories(events: { readonly min: number; readonly max: number }): fc.Arbitrary<History> {
  const step = fc.tuple(fc.nat(KEYS - 1), fc.nat(19), fc.boolean());
  return fc
    .array(step, { minLength: events.min, maxLength: events.max, size: "max" })
    .map(toEvents)
    .chain((made) =>
      fc
        .array(fc.tuple(fc.nat(made.length), fc.nat(made.length)), { maxLength: 8 })
        .map((cuts) => ({ events: made, flushes: coverAll(made.length, cuts) })),
    );
}

function toEvents(steps: readonly (readonly [key: number, what: number, sent: boolean])[]): Event[] {
  const live = new Set<number>();
  return steps.map(([key, what, sent], index): Event => {
    if (what === 0) {
      live.clear();
      return { op: "truncate" };
    }
    if (!live.has(key)) {
      live.add(key);
      return { op: "insert", key, name: `n${index}`, note: `long ${index}` };
    }
    if (what < 7) {
      live.delete(key);
      return { op: "delete", key };
    }
    return { op: "update", key, name: `n${index}`, note: sent ? `long ${index}` : null };
  });
}

/** Random ranges with the gaps between them filled in, so that no event is left out before a later one is flushed. */
function coverAll(length: number, cuts: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const flushes: (readonly [number, number])[] = [];
  let done = 0;
  for (const [a, b] of cuts) {
    const from = Math.min(a, b, done);
    const to = Math.max(a, b);
    if (to > from) flushes.push([from, to]);
    done = Math.max(done, to);
  }
  return done < length ? [...flushes, [done, length]] : flushes;
}

export function historySpec(name: string, deletes: "hard" | "soft"): TargetSpec {
  const columns = COLUMNS.map((column) => [column.name, column.type] as const);
  return targetSpec({ schema: "history", name }, ["id"], Object.fromEntries(columns), deletes);
}

/** What a sink makes of a range of the history. */
export function flushOf(spec: TargetSpec, events: readonly Event[], from: number, to: number): TableFlush {
  const rows = new Map<number, FoldedRow>();
  let truncate: string | null = null;
  for (let index = from; index < to; index++) {
    const event = events[index]!;
    if (event.op === "truncate") {
      truncate = at(index);
      if (spec.deletes === "hard") rows.clear();
      else for (const row of rows.values()) truncateRow(row, parseSequence(truncate));
    } else {
      const key = keyBytes(spec, { id: BigInt(event.key) });
      const kept = spec.deletes === "hard" ? null : OUTSIDE_KEY;
      rows.set(event.key, foldChange(rows.get(event.key), toChange(event, index), key, 0, kept));
    }
  }
  return { ...stage(spec.target, spec.deletes, COLUMNS, [...rows.values()]), truncate };
}

function toChange(event: Exclude<Event, { op: "truncate" }>, index: number): Change {
  const common = { sequence: parseSequence(at(index)), commitMicros: 0n, record: NO_RECORD };
  const id = BigInt(event.key);
  if (event.op === "delete") return { ...common, op: "d", values: [id, null, null], unchanged: [] };
  const op = event.op === "insert" ? "c" : "u";
  return { ...common, op, values: [id, event.name, event.note], unchanged: event.note === null ? [NOTE] : [] };
}

/**
 * What a target must hold after all events, [id, name, note] by id: the source's table, and with soft deletes every row
 * that it ever had, with its last values and whether it is deleted.
 */
export function targetAfter(events: readonly Event[], deletes: "hard" | "soft"): string[][] {
  const rows = new Map<number, { name: string; note: string; deleted: boolean }>();
  const remove = (key: number): void => {
    if (deletes === "hard") rows.delete(key);
    else rows.get(key)!.deleted = true;
  };
  for (const event of events) {
    if (event.op === "truncate") for (const key of [...rows.keys()]) remove(key);
    else if (event.op === "delete") remove(event.key);
    else rows.set(event.key, { name: event.name, note: event.note ?? rows.get(event.key)!.note, deleted: false });
  }
  const byId = [...rows].sort(([a], [b]) => a - b);
  return byId.map(([id, { name, note, deleted }]) => [String(id), name, note, ...(deletes === "soft" ? [String(deleted)] : [])]);
}

/** All rows of a target, as `targetAfter` has them. */
export function targetQuery({ target, deletes }: TargetSpec): string {
  const deleted = deletes === "soft" ? ", _tailrace_deleted::text" : "";
  return `SELECT id::text, name, note${deleted} FROM ${target.schema}.${target.name} o ORDER BY o.id`;
}
