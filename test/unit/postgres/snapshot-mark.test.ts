// The mark as a message's bytes.
import { expect, test } from "vitest";
import { encodeMark, markSql, readMark, type Mark, type MessagePlace } from "../../../src/postgres/snapshot-mark.ts";

const mark: Mark = { source: "shop", nonce: "5f0c", kind: "chunk" };

function message(prefix: string, content: string): [Buffer, MessagePlace] {
  const prefixLength = Buffer.byteLength(prefix);
  const place = { prefixStart: 1, prefixLength, contentStart: 2 + prefixLength, contentLength: Buffer.byteLength(content) };
  return [Buffer.from(`M${prefix}\0${content}`), place];
}

test("a mark is read back", () => {
  expect(readMark(...message("tailrace", encodeMark(mark)))).toEqual(mark);
  expect(readMark(...message("tailrace", encodeMark({ ...mark, kind: "opening", source: "größe" })))).toEqual({
    ...mark,
    kind: "opening",
    source: "größe",
  });
});

test("others' messages are none, whatever their prefix and content", () => {
  for (const [prefix, content] of [
    ["tailrace2", encodeMark(mark)],
    ["failrace", encodeMark(mark)],
    ["", encodeMark(mark)],
    ["tailrace", "no JSON"],
    ["tailrace", "null"],
    ["tailrace", "7"],
    ["tailrace", ""],
    ["tailrace", JSON.stringify({ ...mark, kind: "other" })],
    ["tailrace", JSON.stringify({ ...mark, nonce: 5 })],
    ["tailrace", JSON.stringify({ source: "shop", kind: "chunk" })],
  ] as const)
    expect(readMark(...message(prefix, content)), `${prefix} ${content}`).toBeNull();
});

test("R-chunk: it is transactional, and a quote in a source's name stays in its string", () => {
  expect(markSql({ ...mark, source: "it's" })).toBe(
    `SELECT pg_logical_emit_message(true, 'tailrace', '{"source":"it''s","nonce":"5f0c","kind":"chunk"}')`,
  );
});
