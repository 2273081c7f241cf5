// mirrors src/config/nearest.ts

import { expect, test } from "vitest";

import { nearestWord } from "../../../src/config/nearest.ts";

test.each([
  ["chunk_row", "chunk_rows"],
  ["chunkRows", "chunk_rows"],
  ["CHUNK-ROWS", "chunk_rows"],
  ["paralell", "parallel"],
  ["mdoe", "mode"],
  ["colour", null],
  ["", null],
])("the word nearest to %j is %j", (word, nearest) => {
  expect(nearestWord(word, ["mode", "parallel", "chunk_rows"])).toBe(nearest);
});
