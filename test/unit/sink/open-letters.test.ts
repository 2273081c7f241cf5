import { describe, expect, test } from "vitest";
import { OpenLetters } from "../../../src/sink/open-letters.ts";

const letter = (key: string | null, sequence: string, code = "ROW_REFUSED", topic = "t") => ({
  topic,
  keyBytes: key === null ? null : Buffer.from(key),
  sequence,
  code,
});

function opened(letters: readonly ReturnType<typeof letter>[]): OpenLetters {
  const open = new OpenLetters([]);
  for (const one of letters) open.open(one);
  return open;
}

describe("open letters (R-dead)", () => {
  test("are of a topic and a key, and none is of no key", () => {
    const letters = opened([letter("a", "1"), letter(null, "2"), letter("a", "3", "ROW_REFUSED", "u")]);
    expect([letters.has("t", "a"), letters.has("t", "b"), letters.has("u", "a"), letters.size]).toEqual([true, false, true, 2]);
    expect([letters.close("t", "a"), letters.close("t", "a"), letters.size]).toEqual([true, false, 1]);
  });

  test("that wait for a snapshot are counted apart, unless the key has another", () => {
    const letters = opened([letter("a", "1", "AWAITS_SNAPSHOT"), letter("b", "1", "AWAITS_SNAPSHOT")]);
    expect([letters.size, letters.awaiting, letters.isAwaiting("t", "a")]).toEqual([0, 2, true]);
    letters.open(letter("a", "2"));
    letters.open(letter("a", "3", "AWAITS_SNAPSHOT"));
    expect([letters.size, letters.awaiting, letters.isAwaiting("t", "a"), letters.isAwaiting("t", "c")]).toEqual([1, 1, false, false]);
  });

  test("R-tombstone: a floor closes keys whose last letter is below it, and of others the letters below", () => {
    const letters = opened([
      letter("below", "1"),
      letter("at", "5"),
      letter("both", "1"),
      letter("both", "6", "AWAITS_SNAPSHOT"),
      letter("other", "1", "ROW_REFUSED", "u"),
    ]);
    letters.closeBelow("t", "5");
    letters.closeBelow("no such topic", "9");
    expect(["below", "at", "both"].map((key) => letters.has("t", key))).toEqual([false, true, true]);
    expect([letters.isAwaiting("t", "both"), letters.has("u", "other")]).toEqual([true, true]);
  });

  test("that a warehouse has are the same as those opened one by one", () => {
    const keys = [
      { topic: "t", keyBytes: Buffer.from("dead"), last: "3", lastDead: "1" },
      { topic: "t", keyBytes: Buffer.from("awaits"), last: "2", lastDead: "" },
    ];
    const letters = new OpenLetters(keys);
    expect([letters.size, letters.awaiting]).toEqual([1, 1]);
    letters.closeBelow("t", "2");
    expect(["dead", "awaits"].map((key) => letters.isAwaiting("t", key))).toEqual([true, true]);
  });
});
