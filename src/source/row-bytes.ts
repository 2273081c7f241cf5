// A row's values as the bytes that they came as.
import { tupleState, type Tuple } from "../core/tuple.ts";

/**
 * Whether two rows have the same key. An UPDATE also sends the old key when only its TOASTed bytes were looked at, so the values
 * decide: as they arrived, which is the same bytes for the same value within one stream. What `b` does not bring is as in `a`.
 */
export function sameKey(keyIndexes: readonly number[], a: Tuple, b: Tuple): boolean {
  for (const column of keyIndexes) {
    if (b.state[column] === tupleState.unchanged) continue;
    const start = a.start[column] ?? 0;
    const length = a.length[column] ?? 0;
    const other = b.start[column] ?? 0;
    if (length !== b.length[column] || a.bytes.compare(b.bytes, other, other + length, start, start + length) !== 0) return false;
  }
  return true;
}

/** Where a row's values stand in its bytes. */
export function extent(tuple: Tuple): [start: number, end: number] {
  let start = -1;
  let end = 0;
  for (let column = 0; column < tuple.columns; column++) {
    if (tuple.state[column] !== tupleState.binary && tuple.state[column] !== tupleState.text) continue;
    if (start < 0) start = tuple.start[column]!;
    end = tuple.start[column]! + tuple.length[column]!;
  }
  return [Math.max(start, 0), end];
}
