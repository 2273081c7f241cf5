// Geometric types: in both of PostgreSQL's forms they are numbers with something between them, in Avro records of doubles. All
// numbers are float8; in text they are the shortest digits that read back the same.
import type { ByteWriter } from "../core/byte-writer.ts";
import { geometricFields, type FigureKind } from "../core/table.ts";
import { writeNan8, writeReversed } from "./floats.ts";
import { malformed, type ValueColumn, type ValueWriter } from "./value-writer.ts";

const DOUBLE_BYTES = 8;
const POINT_BYTES = 2 * DOUBLE_BYTES;
/** `(`, `)`, `[`, `]`, `{`, `}`, `<`, `>` and the comma: what stands between numbers. */
const BETWEEN = new Set([...Buffer.from("()[]{}<>,")]);
const BRACKET = 0x5b;

/* point, line, lseg, box, circle ::= float8 × the fields      (point_send, line_send, lseg_send, box_send, circle_send) */
function binaryFigure(kind: FigureKind): ValueWriter {
  const size = geometricFields[kind].length * DOUBLE_BYTES;
  return (bytes, start, length, out, column) => {
    if (length !== size) throw malformed(column, `a binary ${kind}`);
    for (let at = start; at < start + length; at += DOUBLE_BYTES) writeFloat8(bytes, at, out);
  };
}

/* path    ::= closed Int8  points Int32  (float8 float8) × points      (path_send)
 * polygon ::= points Int32  (float8 float8) × points      (poly_send) */
function binaryPoints(hasEnds: boolean): ValueWriter {
  const head = hasEnds ? 5 : 4;
  return (bytes, start, length, out, column) => {
    const count = length < head ? -1 : bytes.readInt32BE(start + head - 4);
    if (count < 0 || length !== head + count * POINT_BYTES) throw malformed(column, hasEnds ? "a binary path" : "a binary polygon");
    if (hasEnds) out.byte(bytes[start] === 0 ? 0 : 1);
    if (count > 0) out.varint(count);
    for (let at = start + head; at < start + length; at += DOUBLE_BYTES) writeFloat8(bytes, at, out);
    out.byte(0);
  };
}

/* point ::= '(' x ',' y ')'    line ::= '{' a ',' b ',' c '}'    lseg ::= '[' point ',' point ']'    box ::= point ',' point
 * circle ::= '<' point ',' radius '>' */
function textFigure(kind: FigureKind): ValueWriter {
  const count = geometricFields[kind].length;
  return (bytes, start, length, out, column) => {
    if (countNumbers(bytes, start, length) !== count) throw malformed(column, `a ${kind}`);
    writeNumbers(bytes, start, length, out, column);
  };
}

/* path ::= '(' point {',' point} ')', closed, or '[' point {',' point} ']', open    polygon ::= '(' point {',' point} ')' */
function textPoints(hasEnds: boolean): ValueWriter {
  return (bytes, start, length, out, column) => {
    const numbers = countNumbers(bytes, start, length);
    if (length === 0 || numbers % 2 !== 0) throw malformed(column, "a path or polygon");
    if (hasEnds) out.byte(bytes[start] === BRACKET ? 0 : 1);
    if (numbers > 0) out.varint(numbers / 2);
    writeNumbers(bytes, start, length, out, column);
    out.byte(0);
  };
}

function writeFloat8(bytes: Buffer, at: number, out: ByteWriter): void {
  if (Number.isNaN(bytes.readDoubleBE(at))) writeNan8(out);
  else writeReversed(bytes, at, DOUBLE_BYTES, out);
}

function countNumbers(bytes: Buffer, start: number, length: number): number {
  let count = 0;
  let isInside = false;
  for (let at = start; at < start + length; at++) {
    const isBetween = BETWEEN.has(bytes[at]!);
    if (!isBetween && !isInside) count++;
    isInside = !isBetween;
  }
  return count;
}

function writeNumbers(bytes: Buffer, start: number, length: number, out: ByteWriter, column: ValueColumn): void {
  const end = start + length;
  for (let at = start; at < end;) {
    if (BETWEEN.has(bytes[at]!)) {
      at++;
      continue;
    }
    const from = at;
    while (at < end && !BETWEEN.has(bytes[at]!)) at++;
    const text = bytes.toString("latin1", from, at);
    const value = Number(text);
    if (!Number.isNaN(value)) {
      out.ensure(DOUBLE_BYTES);
      out.position = out.bytes.writeDoubleLE(value, out.position);
    } else if (text === "NaN") writeNan8(out);
    else throw malformed(column, "a geometric value");
  }
}

export const geometricForms = {
  binary: {
    point: binaryFigure("point"),
    line: binaryFigure("line"),
    lseg: binaryFigure("lseg"),
    box: binaryFigure("box"),
    circle: binaryFigure("circle"),
    path: binaryPoints(true),
    polygon: binaryPoints(false),
  },
  text: {
    point: textFigure("point"),
    line: textFigure("line"),
    lseg: textFigure("lseg"),
    box: textFigure("box"),
    circle: textFigure("circle"),
    path: textPoints(true),
    polygon: textPoints(false),
  },
} as const;
