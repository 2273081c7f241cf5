// A column's writer for its type, and the writers of arrays: each element by the writer of its kind.
import type { ColumnType, ScalarKind, ScalarType } from "../core/table.ts";
import { binaryForm } from "./encoder-binary.ts";
import { binaryComposite, textComposite } from "./encoder-composite.ts";
import { BACKSLASH, COMMA, countParts, QUOTE } from "./quoted-text.ts";
import { rangeWriter } from "./encoder-range.ts";
import { textForm } from "./encoder-text.ts";
import { malformed, outOfRange, type ValueColumn, type ValueWriter } from "./value-writer.ts";

const NO_UNION_BRANCH = 0x00;
const SECOND_UNION_BRANCH = 0x02;

/** PostgreSQL's MAXDIM. */
const MAX_DIMENSIONS = 6;

const OPEN = 0x7b;
const CLOSE = 0x7d;
const BRACKET = 0x5b;
const EQUALS = 0x3d;
/** pg_type.typdelim where it is no comma; of geometry since a geometry's own text may have commas. */
const delimiters: ReadonlyMap<ScalarKind, number> = new Map([
  ["box", 0x3b],
  ["geometry", 0x3a],
]);
const NULL_TEXT = Buffer.from("NULL");

/** What writes a column's binary form. */
export function binaryWriter(type: ColumnType): ValueWriter {
  return type.kind === "array" ? binaryArray(binaryScalar(type.element)) : binaryScalar(type);
}

function binaryScalar(type: ScalarType): ValueWriter {
  if (type.kind === "composite")
    return binaryComposite(
      type,
      type.attributes.map((attribute) => binaryWriter(attribute.type)),
    );
  return type.kind === "range" ? rangeWriter(type.typeName) : binaryForm[type.kind];
}

/** What writes a column's text form. */
export function textWriter(type: ColumnType): ValueWriter {
  return type.kind === "array" ? textArray(textScalar(type.element), delimiters.get(type.element.kind) ?? COMMA) : textScalar(type);
}

function textScalar(type: ScalarType): ValueWriter {
  if (type.kind !== "composite") return textForm[type.kind];
  return textComposite(
    type,
    type.attributes.map((attribute) => textWriter(attribute.type)),
  );
}

/*
 * array ::= dimensions Int32  nulls Int32  element type Int32  (size Int32  lower bound Int32) × dimensions
 *           (length Int32 (−1: null)  value) × the sizes' product      (array_send)
 * In Avro one block: count, (branch of ["null", T], value) × count, 0; an empty array is 0 alone.
 */
function binaryArray(writeElement: ValueWriter): ValueWriter {
  return (bytes, start, length, out, column) => {
    const end = start + length;
    const dimensions = length < 12 ? -1 : bytes.readInt32BE(start);
    let at = start + 12 + 8 * dimensions;
    if (dimensions < 0 || dimensions > MAX_DIMENSIONS || at > end) throw malformed(column, "a binary array");
    let count = dimensions === 0 ? 0 : 1;
    for (let dimension = 0; dimension < dimensions; dimension++) count *= bytes.readInt32BE(start + 12 + 8 * dimension);
    if (count < 0 || count > length) throw malformed(column, "a binary array");
    if (count > 0) {
      if (dimensions > 1) throw manyDimensions(column);
      if (bytes.readInt32BE(start + 16) !== 1) throw otherBound(column);
      out.varint(count);
      for (let done = 0; done < count; done++) {
        const size = at + 4 > end ? -2 : bytes.readInt32BE(at);
        at += 4;
        if (size < -1 || size > end - at) throw malformed(column, "a binary array");
        if (size === -1) {
          out.byte(NO_UNION_BRANCH);
          continue;
        }
        out.byte(SECOND_UNION_BRANCH);
        writeElement(bytes, at, size, out, column);
        at += size;
      }
    }
    if (at !== end) throw malformed(column, "a binary array");
    out.byte(0);
  };
}

/*
 * array   ::= ['[' lower ':' upper ']' … '='] '{' [element {',' element}] '}'      (array_out; with another delimiter for some types)
 * element ::= 'NULL' | '"' {character | '\' character} '"' | character {character}, of which none is one of {}",\ and white space
 * The bounds are printed when a lower one is not 1.
 */
function textArray(writeElement: ValueWriter, delimiter: number): ValueWriter {
  const elements: Elements = { write: writeElement, delimiter, unescaped: Buffer.alloc(0) };
  return (bytes, start, length, out, column) => {
    const last = start + length - 1;
    if (length > 0 && bytes[start] === BRACKET) throw isManyBounds(bytes, start, last) ? manyDimensions(column) : otherBound(column);
    if (length < 2 || bytes[start] !== OPEN || bytes[last] !== CLOSE) throw malformed(column, "an array");
    if (bytes[start + 1] === OPEN) throw manyDimensions(column);
    if (length > 2) writeElements(bytes, start + 1, last, out, column, elements);
    out.byte(0);
  };
}

/** `unescaped` holds an element that is quoted with escapes, while it is written: each array's own, for an element may have arrays in it. */
type Elements = { readonly write: ValueWriter; readonly delimiter: number; unescaped: Buffer };

/** The elements of `bytes[start, end)`, at least one. */
function writeElements(...[bytes, start, end, out, column, elements]: [...Parameters<ValueWriter>, Elements]): void {
  const { delimiter, write } = elements;
  const count = countParts(bytes, start, end, delimiter);
  out.varint(count);
  let at = start;
  for (let done = 0; done < count; done++) {
    if (done > 0 && bytes[at++] !== delimiter) throw malformed(column, "an array");
    const isQuoted = bytes[at] === QUOTE;
    const from = isQuoted ? at + 1 : at;
    let hasEscapes = false;
    for (at = from; at < end && bytes[at] !== (isQuoted ? QUOTE : delimiter); at++) {
      if (bytes[at] !== BACKSLASH) continue;
      hasEscapes = true;
      at++;
    }
    if (isQuoted ? at >= end : at === from || hasEscapes) throw malformed(column, "an array");
    if (!isQuoted && isNull(bytes, from, at)) out.byte(NO_UNION_BRANCH);
    else {
      out.byte(SECOND_UNION_BRANCH);
      if (hasEscapes) {
        const size = unescape(bytes, from, at, elements); // first: it may make `unescaped` anew
        write(elements.unescaped, 0, size, out, column);
      } else write(bytes, from, at - from, out, column);
    }
    if (isQuoted) at++;
  }
  if (at !== end) throw malformed(column, "an array");
}

function isNull(bytes: Buffer, start: number, end: number): boolean {
  return end - start === NULL_TEXT.length && bytes.compare(NULL_TEXT, 0, NULL_TEXT.length, start, end) === 0;
}

/** Puts the characters into `unescaped`; how many bytes they are. */
function unescape(bytes: Buffer, start: number, end: number, into: { unescaped: Buffer }): number {
  if (into.unescaped.length < end - start) into.unescaped = Buffer.allocUnsafe((end - start) * 2);
  const { unescaped } = into;
  let size = 0;
  for (let at = start; at < end; at++) {
    if (bytes[at] === BACKSLASH) at++;
    unescaped[size++] = bytes[at]!;
  }
  return size;
}

function isManyBounds(bytes: Buffer, start: number, last: number): boolean {
  let bounds = 0;
  for (let at = start; at < last && bytes[at] !== EQUALS; at++) if (bytes[at] === BRACKET) bounds++;
  return bounds > 1;
}

function manyDimensions(column: ValueColumn): Error {
  return outOfRange(column, "the array has more than one dimension, and Avro's have one");
}

function otherBound(column: ValueColumn): Error {
  return outOfRange(column, "the array's first index is not 1, and Avro's have no other");
}
