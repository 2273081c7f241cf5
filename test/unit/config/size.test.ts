// mirrors src/config/size.ts

import { describe, expect, test } from "vitest";

import { parseSize } from "../../../src/config/size.ts";

describe("a size is a whole number of bytes, in powers of 1024", () => {
  test.each([
    ["0B", 0],
    ["17B", 17],
    ["1KiB", 1_024],
    ["512MiB", 536_870_912],
    ["10GiB", 10_737_418_240],
    ["2TiB", 2_199_023_255_552],
    ["007GiB", 7_516_192_768],
  ])("%s", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(["", "1", "GiB", "-1GiB", "1.5GiB", "1 GiB", "1GiB ", "1GB", "1gib", "1kb", "1e3MiB", "1234567MiB"])("%j is none", (text) => {
    expect(parseSize(text)).toBeNull();
  });
});
