// R-window-toast: rows whose TOASTed values were not sent, kept until the chunk that holds those values comes by its mark.
import { Tuple, tupleState } from "../core/tuple.ts";

/** A copy that owns its bytes: of the values that were sent. */
export function copySent(tuple: Tuple): Tuple {
  const copy = new Tuple(tuple.columns);
  copy.columns = tuple.columns;
  let bytes = 0;
  for (let column = 0; column < tuple.columns; column++) if (isSent(tuple, column)) bytes += tuple.length[column]!;
  copy.bytes = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (let column = 0; column < tuple.columns; column++) {
    copy.state[column] = tuple.state[column]!;
    if (!isSent(tuple, column)) continue;
    copy.start[column] = at;
    copy.length[column] = tuple.length[column]!;
    at += tuple.bytes.copy(copy.bytes, at, tuple.start[column], tuple.start[column]! + tuple.length[column]!);
  }
  return copy;
}

/**
 * A chunk's row under the updates that its snapshot did not see, oldest first: `kept` columns, and the key's, are the
 * chunk's; every other one is of the last update that sent it. The result owns its bytes.
 */
export function foldUnsent(row: Tuple, kept: readonly number[], updates: readonly Tuple[], keyColumns: readonly number[]): Tuple {
  const from: Tuple[] = [];
  for (let column = 0; column < row.columns; column++) {
    const last = updates.findLast((update) => update.state[column] !== tupleState.unchanged);
    from.push(kept.includes(column) || keyColumns.includes(column) || last === undefined ? row : last);
  }
  const folded = new Tuple(row.columns);
  folded.columns = row.columns;
  const values = from.map((tuple, column) =>
    isSent(tuple, column) ? tuple.bytes.subarray(tuple.start[column], tuple.start[column]! + tuple.length[column]!) : null,
  );
  folded.bytes = Buffer.concat(values.filter((value) => value !== null));
  let at = 0;
  for (const [column, value] of values.entries()) {
    folded.state[column] = from[column]!.state[column]!;
    if (value === null) continue;
    folded.start[column] = at;
    folded.length[column] = value.length;
    at += value.length;
  }
  return folded;
}

function isSent(tuple: Tuple, column: number): boolean {
  return tuple.state[column] === tupleState.binary || tuple.state[column] === tupleState.text;
}
