import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Tuple, tupleState } from "../../../src/core/tuple.ts";
import { copySent, foldUnsent } from "../../../src/source/unsent.ts";

/** A column as a test writes it: its value, null, or not sent. */
type Cell = string | null | typeof UNSENT;
const UNSENT = Symbol("unsent");

/** A row as it stands in a message: other bytes before, between and behind its values. */
function tuple(...cells: readonly Cell[]): Tuple {
  const row = new Tuple(cells.length);
  row.columns = cells.length;
  const parts: Buffer[] = [Buffer.from("head")];
  let at = 4;
  for (const [column, cell] of cells.entries()) {
    row.state[column] = cell === null ? tupleState.null : cell === UNSENT ? tupleState.unchanged : tupleState.text;
    if (typeof cell !== "string") continue;
    const value = Buffer.from(cell);
    row.start[column] = at;
    row.length[column] = value.length;
    parts.push(value, Buffer.from("--"));
    at += value.length + 2;
  }
  row.bytes = Buffer.concat(parts);
  return row;
}

function cells(row: Tuple): readonly Cell[] {
  return Array.from({ length: row.columns }, (_, column) => {
    if (row.state[column] === tupleState.null) return null;
    if (row.state[column] === tupleState.unchanged) return UNSENT;
    const start = row.start[column]!;
    return row.bytes.toString("utf8", start, start + row.length[column]!);
  });
}

describe("R-window-toast: a row whose TOASTed values were not sent", () => {
  test("is kept as it came, and outlives the message it came with", () => {
    const row = tuple("7", null, UNSENT, "", "snow ☃");
    const copy = copySent(row);
    row.bytes.fill(0);
    row.state.fill(tupleState.null);
    expect(cells(copy)).toEqual(["7", null, UNSENT, "", "snow ☃"]);
  });

  test("takes the bytes of what was sent, no others", () => {
    expect(copySent(tuple("12", UNSENT, null, "345")).bytes.toString()).toBe("12345");
    expect(copySent(tuple(UNSENT, null)).bytes).toHaveLength(0);
  });
});

describe("R-window-toast: the chunk's row under the updates that its snapshot did not see", () => {
  const chunk = tuple("7", "old name", "10", "a large text");

  test("keeps the column that no update sent, and has the others from the update", () => {
    const folded = foldUnsent(chunk, [3], [tuple("7", "new name", null, UNSENT)], [0]);
    expect(cells(folded)).toEqual(["7", "new name", null, "a large text"]);
  });

  test("has each column from the last update that sent it", () => {
    // The second one leaves the name out, which is TOASTed too by now.
    const updates = [tuple("7", "first", "11", UNSENT), tuple("7", UNSENT, "12", UNSENT)];
    expect(cells(foldUnsent(chunk, [3], updates, [0]))).toEqual(["7", "first", "12", "a large text"]);
    expect(cells(foldUnsent(chunk, [3], updates.toReversed(), [0]))).toEqual(["7", "first", "11", "a large text"]);
  });

  test("has the chunk's key: the update is of the same key, however it writes it, and may leave it out", () => {
    expect(cells(foldUnsent(chunk, [3], [tuple(UNSENT, "n", "1", UNSENT)], [0]))).toEqual(["7", "n", "1", "a large text"]);
    expect(cells(foldUnsent(chunk, [3], [tuple("07", "n", "1", UNSENT)], [0]))).toEqual(["7", "n", "1", "a large text"]);
  });

  test("keeps a null of the chunk", () => {
    expect(cells(foldUnsent(tuple("7", "x", null), [2], [tuple("7", "y", UNSENT)], [0]))).toEqual(["7", "y", null]);
  });

  test("owns its bytes: the chunk's are used for the next one", () => {
    const [row, update] = [tuple("7", "x", "body"), tuple("7", "y", UNSENT)];
    const folded = foldUnsent(row, [2], [update], [0]);
    row.bytes.fill(0);
    update.bytes.fill(0);
    expect(cells(folded)).toEqual(["7", "y", "body"]);
  });

  test("is the row that the database has: as if the updates had been applied to the chunk's row one by one", () => {
    const COLUMNS = 5;
    const value = fc.oneof(fc.string({ maxLength: 6 }), fc.constant(null));
    const update = fc.array(fc.oneof(value, fc.constant<Cell>(UNSENT)), { minLength: COLUMNS, maxLength: COLUMNS });
    const row = fc.array(value, { minLength: COLUMNS, maxLength: COLUMNS });
    fc.assert(
      fc.property(row, fc.array(update, { minLength: 1, maxLength: 4 }), (before, later) => {
        const key = before[0] ?? "k";
        const updates = later.map(([, ...rest]) => [key, ...rest]);
        const kept = Array.from({ length: COLUMNS }, (_, column) => column).filter((column) =>
          updates.every((each) => each[column] === UNSENT),
        );
        const expected = updates.reduce<readonly Cell[]>(
          (now, each) => now.map((cell, column) => (each[column] === UNSENT ? cell : (each[column] ?? null))),
          [key, ...before.slice(1)],
        );
        const folded = foldUnsent(
          tuple(key, ...before.slice(1)),
          kept,
          updates.map((each) => copySent(tuple(...each))),
          [0],
        );
        expect(cells(folded)).toEqual(expected);
      }),
    );
  });
});
