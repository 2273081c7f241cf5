import { describe, expect, test } from "vitest";
import { SnapshotBoard, type SnapshotStatus } from "../../../src/source/snapshot-status.ts";
import { TableSnapshot } from "../../../src/source/snapshot-progress.ts";

const NOBODY: ReadonlySet<string> = new Set();
const orders = { schema: "public", name: "orders" };
const begin = (kind: "table" | "rereads" = "table"): TableSnapshot => TableSnapshot.begin(orders, kind, "first start");

/** How the only snapshot stands. */
function look(board: SnapshotBoard, snapshot: TableSnapshot, now = 0, paused = NOBODY): SnapshotStatus {
  const [status] = board.look([snapshot], paused, now);
  return status!;
}

describe("what status says of a snapshot", () => {
  test("its table, and how far it is", () => {
    const snapshot = begin();
    snapshot.estimatedRows = 1_000;
    snapshot.durable(snapshot.carve(snapshot.take()!, ["400"]), "opening", 400);
    expect(look(new SnapshotBoard(), snapshot)).toEqual({
      table: "public.orders",
      state: "reading",
      rows: 400,
      estimatedRows: 1_000,
      chunks: 1,
      rowsPerSecond: 0,
      waitingFor: null,
    });
  });

  test("that it waits, and for whom, until it goes on; no other table waits for that", () => {
    const board = new SnapshotBoard();
    const other = TableSnapshot.begin({ schema: "public", name: "items" }, "table", "first start");
    board.waiting("public.orders", "open transactions: PID 12");
    expect(board.look([begin(), other], NOBODY, 0).map(({ state, waitingFor }) => [state, waitingFor])).toEqual([
      ["waiting", "open transactions: PID 12"],
      ["reading", null],
    ]);
    board.waiting("public.orders", null);
    expect(look(board, begin())).toMatchObject({ state: "reading", waitingFor: null });
  });

  test("that an operator holds it, whatever else it would wait for", () => {
    const board = new SnapshotBoard();
    board.waiting("public.orders", "the stream");
    expect(look(board, begin(), 0, new Set(["public.orders"])).state).toBe("paused");
    expect(look(board, begin(), 0, new Set(["public.items"])).state).toBe("waiting");
  });

  test("R-window-toast: that only changed keys are read again", () => {
    const snapshot = begin("rereads");
    snapshot.queue([{ form: "text", value: "Nw==" }], 755);
    expect(look(new SnapshotBoard(), snapshot).state).toBe("rereading");
  });

  test("R-sweep: that all is read, and its end has to be said in a barrier still", () => {
    const snapshot = begin();
    snapshot.durable(snapshot.take()!, "opening", 10);
    expect(look(new SnapshotBoard(), snapshot).state).toBe("ending");
  });
});

describe("rows per second", () => {
  /** Makes as many rows durable. */
  const read = (snapshot: TableSnapshot, rows: number): void => snapshot.counted(rows);

  test("are counted over the last ten seconds, from one look to the next", () => {
    const board = new SnapshotBoard();
    const snapshot = begin();
    expect(look(board, snapshot, 1_000).rowsPerSecond).toBe(0);
    read(snapshot, 500);
    expect(look(board, snapshot, 1_500).rowsPerSecond).toBe(1_000);
    expect(look(board, snapshot, 6_000).rowsPerSecond).toBe(100);
    read(snapshot, 1_000);
    expect(look(board, snapshot, 11_500).rowsPerSecond).toBe(100);
  });

  test("of two looks at once are none, and of a table that began anew are none below zero", () => {
    const board = new SnapshotBoard();
    const snapshot = begin();
    read(snapshot, 500);
    look(board, snapshot, 1_000);
    expect(look(board, snapshot, 1_000).rowsPerSecond).toBe(0);
    snapshot.beginAnew();
    expect(look(board, snapshot, 2_000).rowsPerSecond).toBe(0);
  });

  test("of one table say nothing of another", () => {
    const board = new SnapshotBoard();
    const [first, other] = [begin(), TableSnapshot.begin({ schema: "public", name: "items" }, "table", "first start")];
    board.look([first, other], NOBODY, 0);
    read(other, 50);
    expect(board.look([first, other], NOBODY, 1_000).map(({ rowsPerSecond }) => rowsPerSecond)).toEqual([0, 50]);
  });
});
