// Geometric types, those of PostGIS and pgvector's vector: in both of PostgreSQL's forms numbers with something between them, in Avro
// records of doubles, EWKB and an array of floats. All numbers but a vector's are float8; in text they are the shortest digits that read back the same.
import type { ByteWriter } from "../core/byte-writer.ts";
import { geometricFields, type FigureKind } from "../core/table.ts";
import { hexNibble } from "../core/ascii.ts";
import { writeNan8, writeReversed } from "./floats.ts";
import { malformed, writeBytes, type ValueColumn, type ValueWriter } from "./value-writer.ts";

const DOUBLE_BYTES = 8;
const FLOAT_BYTES = 4;
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
  eachNumber(bytes, start, length, column, (value) => {
    if (Number.isNaN(value)) return writeNan8(out);
    out.ensure(DOUBLE_BYTES);
    out.position = out.bytes.writeDoubleLE(value, out.position);
  });
}

function eachNumber(bytes: Buffer, start: number, length: number, column: ValueColumn, take: (value: number) => void): void {
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
    if (Number.isNaN(value) && text !== "NaN") throw malformed(column, "a list of numbers");
    take(value);
  }
}

/* geometry, geography of PostGIS ::= EWKB, printed in hex      (geometry_send, geometry_out and those of geography) */
const printedEwkb: ValueWriter = (bytes, start, length, out, column) => {
  if (length % 2 !== 0) throw malformed(column, "EWKB in hex");
  out.varint(length / 2);
  out.ensure(length / 2);
  for (let at = start; at < start + length; at += 2) {
    const byte = (hexNibble(bytes[at]!) << 4) | hexNibble(bytes[at + 1]!);
    if (byte < 0) throw malformed(column, "EWKB in hex");
    out.bytes[out.position++] = byte;
  }
};

/* vector of pgvector ::= dimensions Int16  unused Int16  float4 × dimensions      (vector_send) */
const binaryVector: ValueWriter = (bytes, start, length, out, column) => {
  const dimensions = length < 4 ? -1 : bytes.readInt16BE(start);
  if (dimensions < 0 || length !== 4 + dimensions * FLOAT_BYTES) throw malformed(column, "a binary vector");
  if (dimensions > 0) out.varint(dimensions);
  for (let at = start + 4; at < start + length; at += FLOAT_BYTES) writeReversed(bytes, at, FLOAT_BYTES, out);
  out.byte(0);
};

/* vector ::= '[' float4 {',' float4} ']'      (vector_out) */
const printedVector: ValueWriter = (bytes, start, length, out, column) => {
  if (length < 2 || bytes[start] !== BRACKET) throw malformed(column, "a vector");
  const dimensions = countNumbers(bytes, start, length);
  if (dimensions > 0) out.varint(dimensions);
  eachNumber(bytes, start, length, column, (value) => {
    out.ensure(FLOAT_BYTES);
    out.position = out.bytes.writeFloatLE(value, out.position);
  });
  out.byte(0);
};

export const geometricForms = {
  binary: {
    geometry: writeBytes,
    vector: binaryVector,
    point: binaryFigure("point"),
    line: binaryFigure("line"),
    lseg: binaryFigure("lseg"),
    box: binaryFigure("box"),
    circle: binaryFigure("circle"),
    path: binaryPoints(true),
    polygon: binaryPoints(false),
  },
  text: {
    geometry: printedEwkb,
    vector: printedVector,
    point: textFigure("point"),
    line: textFigure("line"),
    lseg: textFigure("lseg"),
    box: textFigure("box"),
    circle: textFigure("circle"),
    path: textPoints(true),
    polygon: textPoints(false),
  },
} as const;
