// Random histories of a table, the flushes that a sink could make of them, and what the target must then hold: a model of
// fold, guard, tombstones, floors and dead letters in plain maps, to be compared with what a warehouse did.
import fc from "fast-check";
import type { TargetSpec } from "../../src/core/warehouse.ts";
import { at, change, deletion, type Row } from "./staged.ts";

const KEYS = 6;

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

/** What a sink makes of a range: the last event per key since the last TRUNCATE of the range, unchanged columns inherited. */
export function fold(
  events: readonly Event[],
  from: number,
  to: number,
): { readonly rows: readonly Row[]; readonly truncate: string | null } {
  const rows = new Map<number, Row>();
  let truncate: string | null = null;
  for (let index = from; index < to; index++) {
    const event = events[index]!;
    if (event.op === "truncate") {
      rows.clear();
      truncate = at(index);
    } else if (event.op === "delete") {
      rows.set(event.key, deletion(index, { id: BigInt(event.key) }));
    } else {
      const before = rows.get(event.key);
      const inherited = event.note === null && before !== undefined && before.deleted !== true;
      const note = inherited ? (before.row.note ?? null) : event.note;
      const unsent = event.note === null && (before === undefined || (inherited && before.unchanged?.includes("note") === true));
      rows.set(event.key, change(index, { id: BigInt(event.key), name: event.name, note }, unsent ? ["note"] : []));
    }
  }
  return { rows: [...rows.values()], truncate };
}

/** The source's table after all events: [id, name, note] by id. A row that was deleted is not there. */
export function tableAfter(events: readonly Event[]): string[][] {
  const table = new Map<number, { name: string; note: string }>();
  for (const event of events) {
    if (event.op === "truncate") table.clear();
    else if (event.op === "delete") table.delete(event.key);
    else table.set(event.key, { name: event.name, note: event.note ?? table.get(event.key)!.note });
  }
  return [...table].sort(([a], [b]) => a - b).map(([id, { name, note }]) => [String(id), name, note]);
}

/** Which targets have keys that were deleted, and have not come back: what a hard target keeps tombstones or a floor for. */
export function liveQuery(spec: TargetSpec): string {
  const where = spec.deletes === "soft" ? "WHERE NOT _tailrace_deleted " : "";
  return `SELECT id::text, name, note FROM ${spec.target.schema}.${spec.target.name} o ${where}ORDER BY o.id`;
}
