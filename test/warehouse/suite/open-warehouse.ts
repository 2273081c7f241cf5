// What each test of the suite begins with: a new place with a session and a worker in it.
import { afterEach, beforeEach } from "vitest";
import type { TableName } from "../../../src/core/table.ts";
import type { FlushResult, TargetSpec, WarehouseSession } from "../../../src/core/warehouse.ts";
import type { Place, WarehouseKind } from "../places.ts";
import { tableFlush, targetSpec, Worker, type Row } from "../staged.ts";

const { signal } = new AbortController();
export const TARGET: TableName = { schema: "analytics", name: "orders" };
export const COLUMNS = { id: { kind: "int8" }, name: { kind: "text" }, note: { kind: "text" } } as const;
export const hard = targetSpec(TARGET, ["id"], COLUMNS, "hard");
export const soft = targetSpec(TARGET, ["id"], COLUMNS, "soft");

/** `place`, `session` and `worker` are those of the test that runs. The functions may be taken off it. */
export class OpenWarehouse {
  readonly kind: WarehouseKind;
  place!: Place;
  session!: WarehouseSession;
  worker!: Worker;

  constructor(kind: WarehouseKind) {
    this.kind = kind;
  }

  readonly begin = async (): Promise<void> => {
    this.place = await this.kind.make();
    this.session = await this.place.warehouse.open(signal);
    await this.session.prepare();
    this.worker = new Worker();
    await this.worker.acquire(this.session);
  };

  readonly end = async (): Promise<void> => {
    await this.session[Symbol.asyncDispose]();
    await this.place[Symbol.asyncDispose]();
  };

  /** Makes the target and merges rows into it. `truncate`: text form of a TRUNCATE's sequence. */
  readonly merge = async (spec: TargetSpec, rows: readonly Row[], truncate: string | null = null): Promise<FlushResult> => {
    await this.session.ensureTarget(spec);
    return this.worker.merge(this.session, [tableFlush(spec, rows, truncate)]);
  };

  /** Ends the session, asks, and begins another one: DuckDB's file has one holder. */
  readonly sql = async (text: string): Promise<(string | null)[][]> => {
    await this.session[Symbol.asyncDispose]();
    const rows = await this.place.sql(text);
    this.session = await this.place.warehouse.open(signal);
    return rows;
  };

  /** id, name and note of TARGET, by id. */
  readonly rows = (): Promise<(string | null)[][]> => this.sql("SELECT id::text, name, note FROM analytics.orders o ORDER BY o.id");

  /** The same with the mark of soft deletes. */
  readonly softRows = (): Promise<(string | null)[][]> =>
    this.sql("SELECT id::text, name, note, _tailrace_deleted::text FROM analytics.orders o ORDER BY o.id");

  /** Offset, code, and the bytes in hex, of a sink's open letters, in sequence order. */
  readonly openLetters = (sink = "lake"): Promise<(string | null)[][]> => {
    const hex = (column: string): string => (this.kind.name === "postgres" ? `upper(encode(${column}, 'hex'))` : `hex(${column})`);
    const columns = ["log_offset::text", "code", "message", ...["key_body", "key", "value"].map(hex)];
    return this.sql(`SELECT ${columns.join(", ")} FROM _tailrace.dead_letters WHERE sink = '${sink}' AND state = 'open' ORDER BY sequence`);
  };

  /** Their offsets alone. */
  readonly openOffsets = async (): Promise<number[]> => (await this.openLetters()).map(([offset]) => Number(offset));

  /** The sequences of all tombstones. */
  readonly tombstones = (): Promise<(string | null)[][]> => this.sql("SELECT sequence FROM _tailrace.tombstones ORDER BY 1");
}

/** For the tests of the `describe` that calls it. */
export function openWarehouse(kind: WarehouseKind): OpenWarehouse {
  const warehouse = new OpenWarehouse(kind);
  beforeEach(warehouse.begin);
  afterEach(warehouse.end);
  return warehouse;
}
