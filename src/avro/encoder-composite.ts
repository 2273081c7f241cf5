// Composites in both wire forms, as Avro records: each attribute by the writer of its type.
//
// In Avro (branch of ["null", T], value) × the attributes. A value that shows another shape than the type's is refused as such
// (COMPOSITE_CHANGED): no message of the stream tells of an ALTER TYPE (adr/0018).
import type { CompositeType } from "../core/table.ts";
import { BACKSLASH, COMMA, countParts, QUOTE } from "./quoted-text.ts";
import { attributeColumns, malformed, otherShape, type ValueColumn, type ValueWriter } from "./value-writer.ts";

const NO_UNION_BRANCH = 0x00;
const SECOND_UNION_BRANCH = 0x02;

const OPEN = 0x28;
const CLOSE = 0x29;

/* composite ::= attributes Int32  (type UInt32  length Int32 (−1: null)  value) × attributes      (record_send)
 * The type is the attribute's own, of a domain the domain's. Dropped attributes are left out. */
export function binaryComposite(type: CompositeType, writers: readonly ValueWriter[]): ValueWriter {
  const columnsOf = attributesOnce(type);
  const types = type.attributes.map(({ typeOid }) => typeOid);
  return (bytes, start, length, out, column) => {
    const columns = columnsOf(column);
    const end = start + length;
    const count = length < 4 ? -1 : bytes.readInt32BE(start);
    if (count < 0) throw malformed(column, "a binary composite");
    if (count !== types.length) throw otherCount(column, type, count);
    let at = start + 4;
    for (let index = 0; index < count; index++) {
      const size = at + 8 > end ? -2 : bytes.readInt32BE(at + 4);
      if (size < -1 || size > end - at - 8) throw malformed(column, "a binary composite");
      if (bytes.readUInt32BE(at) !== types[index])
        throw otherShape(columns[index]!, `the value is of type ${bytes.readUInt32BE(at)}, the attribute of ${types[index]}`);
      at += 8;
      if (size === -1) {
        out.byte(NO_UNION_BRANCH);
        continue;
      }
      out.byte(SECOND_UNION_BRANCH);
      writers[index]!(bytes, at, size, out, columns[index]!);
      at += size;
    }
    if (at !== end) throw malformed(column, "a binary composite");
  };
}

/*
 * composite ::= '(' [attribute] {',' [attribute]} ')'      (record_out; one that is not there is null)
 * attribute ::= '"' {character | '""' | '\\'} '"' | character {character}, of which none is one of "\(), and white space
 */
export function textComposite(type: CompositeType, writers: readonly ValueWriter[]): ValueWriter {
  const columnsOf = attributesOnce(type);
  /** Holds an attribute that has doubled characters, while it is written: each composite's own, for an attribute may have composites in it. */
  let unescaped = Buffer.alloc(0);
  return (bytes, start, length, out, column) => {
    const columns = columnsOf(column);
    const last = start + length - 1;
    if (length < 2 || bytes[start] !== OPEN || bytes[last] !== CLOSE) throw malformed(column, "a composite");
    const count = countParts(bytes, start + 1, last, COMMA);
    if (count !== writers.length) throw otherCount(column, type, count);
    let at = start + 1;
    for (let index = 0; index < count; index++) {
      if (index > 0 && bytes[at++] !== COMMA) throw malformed(column, "a composite");
      const isQuoted = bytes[at] === QUOTE;
      const from = isQuoted ? at + 1 : at;
      let doubled = 0;
      for (at = from; at < last; at++) {
        const character = bytes[at];
        if (character === COMMA && !isQuoted) break;
        if (character !== BACKSLASH && character !== QUOTE) continue;
        if (character === QUOTE && isQuoted && bytes[at + 1] !== QUOTE) break;
        if (!isQuoted || bytes[at + 1] !== character) throw malformed(column, "a composite");
        doubled++;
        at++;
      }
      if (isQuoted && at >= last) throw malformed(column, "a composite");
      if (!isQuoted && at === from) out.byte(NO_UNION_BRANCH);
      else {
        out.byte(SECOND_UNION_BRANCH);
        const size = at - from - doubled;
        if (doubled === 0) writers[index]!(bytes, from, size, out, columns[index]!);
        else {
          if (unescaped.length < size) unescaped = Buffer.allocUnsafe(size * 2);
          for (let read = from, to = 0; to < size; read++) {
            const character = bytes[read]!;
            unescaped[to++] = character;
            if (character === QUOTE || character === BACKSLASH) read++;
          }
          writers[index]!(unescaped, 0, size, out, columns[index]!);
        }
      }
      if (isQuoted) at++;
    }
    if (at !== last) throw malformed(column, "a composite");
  };
}

/** A writer is one column's: what its attributes are called in errors is made once. */
function attributesOnce(type: CompositeType): (column: ValueColumn) => readonly ValueColumn[] {
  let known: ValueColumn | null = null;
  let columns: readonly ValueColumn[] = [];
  return (column) => {
    if (column !== known) {
      known = column;
      columns = attributeColumns(type, column);
    }
    return columns;
  };
}

function otherCount(column: ValueColumn, { schema, name, attributes }: CompositeType, count: number): Error {
  return otherShape(column, `the value has ${count} attributes, type ${schema}.${name} has ${attributes.length}`);
}
