// Random histories of a table, with changes that the log lost and snapshots that mend it, the flushes that a sink makes of
// them by its own fold, and what the target must then hold: a model in plain maps, to be compared with what a warehouse did.
import fc from "fast-check";
import { partsOf } from "../../src/core/sequence.ts";
import type { Sweep, TableFlush, TargetSpec } from "../../src/core/warehouse.ts";
import { truncatePartition } from "../../src/sink/fold.ts";
import { binary, column, int8, NULL, table, text, tuple, UNCHANGED } from "../unit/avro/rows.ts";
import { Folding, sequenceOf, type RowEvent } from "../unit/sink/folding.ts";
import { targetSpec } from "./staged.ts";

const KEYS = 6;
/** The columns of every history's table, the key first. */
const COLUMNS = [column("id", "int8", 1), column("name", "text"), column("note", "text")];

export type Event =
  | { readonly op: "insert"; readonly key: number; readonly name: string; readonly note: string }
  /** `note` null: it was not sent. */
  | { readonly op: "update"; readonly key: number; readonly name: string; readonly note: string | null }
  | { readonly op: "delete"; readonly key: number }
  | { readonly op: "truncate" }
  /** The opening mark of a snapshot; rows that it reads; its end. */
  | { readonly op: "opening" }
  | { readonly op: "read"; readonly key: number; readonly name: string; readonly note: string }
  | { readonly op: "end"; readonly opening: number };

/** Flushes cover [from, to) of the history; they overlap, come twice, and begin again at earlier places. */
export type History = {
  readonly events: readonly Event[];
  readonly flushes: readonly (readonly [from: number, to: number])[];
  /** The source's table afterwards, [id, name, note] by id. */
  readonly table: readonly (readonly string[])[];
};

/** What the source's table does: an update or delete is of a row that is there, an insert of one that is not. */
export function histories(events: { readonly min: number; readonly max: number }): fc.Arbitrary<History> {
  const step = fc.tuple(fc.nat(KEYS - 1), fc.nat(19), fc.boolean());
  return fc
    .array(step, { minLength: events.min, maxLength: events.max, size: "max" })
    .map(toEvents)
    .chain(({ events: made, table }) =>
      fc
        .array(fc.tuple(fc.nat(made.length), fc.nat(made.length)), { maxLength: 8 })
        .map((cuts) => ({ events: made, table, flushes: coverAll(made.length, cuts) })),
    );
}

type Steps = readonly (readonly [key: number, what: number, sent: boolean])[];

function toEvents(steps: Steps): Pick<History, "events" | "table"> {
  const source = new Source();
  for (const [key, what, sent] of steps) source.step(key, what, sent);
  source.endSnapshot();
  const table = [...source.rows].sort(([a], [b]) => a - b).map(([id, { name, note }]) => [String(id), name, note]);
  return { events: source.events, table };
}

/** A table whose changes become events, but for those of a gap: then a snapshot reads its rows while changes go on. */
class Source {
  readonly events: Event[] = [];
  readonly rows = new Map<number, { name: string; note: string }>();
  /** Keys whose row in the target may be another: their updates bring every column, as the source's window sees to. */
  readonly #unsure = new Set<number>();
  #snapshot: { readonly opening: number; readonly unread: Set<number> } | null = null;

  step(key: number, what: number, sent: boolean): void {
    const name = `n${this.events.length}`;
    const note = `long ${this.events.length}`;
    const before = this.rows.get(key);
    if (what === 0) {
      this.rows.clear();
      this.#unsure.clear();
      this.events.push({ op: "truncate" });
    } else if (what === 1) this.#loseChanges(key);
    else if (what < 5 && this.#snapshot !== null) this.#readOne();
    else if (before === undefined) {
      this.#unsure.delete(key);
      this.rows.set(key, { name, note });
      this.events.push({ op: "insert", key, name, note });
    } else if (what < 9) {
      this.rows.delete(key);
      this.#unsure.delete(key);
      this.events.push({ op: "delete", key });
    } else {
      const brings = sent || this.#unsure.delete(key);
      this.rows.set(key, { name, note: brings ? note : before.note });
      this.events.push({ op: "update", key, name, note: brings ? note : null });
    }
  }

  endSnapshot(): void {
    while (this.#snapshot !== null) this.#readOne();
  }

  /** Rows come, change and go without events; a snapshot begins, in place of one that goes on. */
  #loseChanges(seed: number): void {
    const lost = `lost ${this.events.length}`;
    for (let key = 0; key < KEYS; key++) {
      const kind = (key + seed) % 3;
      if (kind === 0 && this.rows.delete(key)) this.#unsure.add(key);
      else if (kind === 0 || (kind === 1 && this.rows.has(key))) {
        this.rows.set(key, { name: lost, note: lost });
        this.#unsure.add(key);
      }
    }
    this.#snapshot = { opening: this.events.length, unread: new Set(this.rows.keys()) };
    this.events.push({ op: "opening" });
  }

  #readOne(): void {
    const { opening, unread } = this.#snapshot!;
    for (const key of unread) {
      unread.delete(key);
      const row = this.rows.get(key);
      if (row === undefined) continue;
      this.#unsure.delete(key);
      this.events.push({ op: "read", key, ...row });
      return;
    }
    this.#snapshot = null;
    this.events.push({ op: "end", opening });
  }
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
export function flushOf(
  spec: TargetSpec,
  events: readonly Event[],
  from: number,
  to: number,
): { readonly table: TableFlush; readonly sweeps: readonly Sweep[] } {
  const folding = new Folding(table(COLUMNS, spec.target.name, spec.target.schema), spec.deletes);
  const sweeps: Sweep[] = [];
  let truncate: string | null = null;
  for (let index = from; index < to; index++) {
    const event = events[index]!;
    if (event.op === "opening") continue;
    if (event.op === "end") sweeps.push({ target: spec.target, deletes: spec.deletes, opening: sequenceOf(event.opening) });
    else if (event.op === "truncate") {
      truncate = sequenceOf(index);
      truncatePartition(folding.fold, 0, partsOf(truncate));
    } else folding.take(toRowEvent(event, index));
  }
  return { table: { ...folding.staged(), truncate }, sweeps };
}

type KeyedEvent = Extract<Event, { readonly key: number }>;

function toRowEvent(event: KeyedEvent, commit: number): RowEvent {
  const id = binary(int8(BigInt(event.key)));
  if (event.op === "delete") return { op: "d", row: tuple(id, NULL, NULL), commit };
  const op = ({ insert: "c", update: "u", read: "r" } as const)[event.op];
  return { op, row: tuple(id, text(event.name), event.note === null ? UNCHANGED : text(event.note)), commit };
}

/** Avro body of a key, in hex. */
export function keyHex(id: number): string {
  return (id * 2).toString(16).padStart(2, "0").toUpperCase(); // zigzag
}

/**
 * What a target must hold after all events, [id, name, note] by id: with soft deletes every row that it ever had, with its
 * last values and whether it is deleted.
 */
export function targetAfter(events: readonly Event[], deletes: "hard" | "soft"): string[][] {
  const rows = new Map<number, { name: string; note: string; deleted: boolean; index: number }>();
  const remove = (key: number): void => {
    const row = rows.get(key);
    if (deletes === "hard") rows.delete(key);
    else if (row === undefined) rows.set(key, { name: "null", note: "null", deleted: true, index: 0 });
    else row.deleted = true;
  };
  for (const [index, event] of events.entries()) {
    if (event.op === "truncate") for (const key of [...rows.keys()]) remove(key);
    else if (event.op === "end") {
      for (const [key, row] of rows) if (row.index < event.opening) remove(key);
    } else if (event.op === "delete") remove(event.key);
    else if (event.op !== "opening")
      rows.set(event.key, { name: event.name, note: event.note ?? rows.get(event.key)!.note, deleted: false, index });
  }
  const byId = [...rows].sort(([a], [b]) => a - b);
  return byId.map(([id, { name, note, deleted }]) => [String(id), name, note, ...(deletes === "soft" ? [String(deleted)] : [])]);
}

/** All rows of a target, as `targetAfter` has them. */
export function targetQuery({ target, deletes }: TargetSpec): string {
  const deleted = deletes === "soft" ? ", _tailrace_deleted::text" : "";
  return `SELECT id::text, coalesce(name, 'null'), coalesce(note, 'null')${deleted} FROM ${target.schema}.${target.name} o ORDER BY o.id`;
}
