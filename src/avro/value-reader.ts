// Avro values of each kind: passed over, or handed to whoever takes a column's values. Nothing is made of them.
import type { ColumnWriter, PointWriter } from "../core/staged-rows.ts";
import { geometricFields, type ColumnType, type FigureKind, type ScalarKind } from "../core/table.ts";
import type { Cursor } from "./cursor.ts";
import { unreadable } from "./shape.ts";

/** For one value that is there (its union's branch is read already). What skip() lets pass, write() reads without an error. */
export type ValueReader = {
  readonly skip: (cursor: Cursor) => void;
  readonly write: (cursor: Cursor, into: ColumnWriter) => void;
};

const bool: ValueReader = { skip: (cursor) => void cursor.boolean(), write: (cursor, into) => into.bool(cursor.boolean()) };
const int: ValueReader = { skip: (cursor) => void cursor.int(), write: (cursor, into) => into.int(cursor.int()) };
const long: ValueReader = {
  skip: (cursor) => cursor.skipLong(),
  write: (cursor, into) => {
    cursor.long();
    into.long(cursor.high, cursor.low);
  },
};
const float: ValueReader = {
  skip: (cursor) => cursor.skip(4),
  write: (cursor, into) => {
    cursor.skip(4);
    into.float(cursor.bytes, cursor.position - 4);
  },
};
const double: ValueReader = {
  skip: (cursor) => cursor.skip(8),
  write: (cursor, into) => {
    cursor.skip(8);
    into.double(cursor.bytes, cursor.position - 8);
  },
};
const decimal: ValueReader = {
  skip: (cursor) => void cursor.unscaled(),
  write: (cursor, into) => {
    const start = cursor.unscaled();
    into.decimal(cursor.bytes, start, cursor.position);
  },
};
const string: ValueReader = {
  skip: (cursor) => void cursor.sized(),
  write: (cursor, into) => {
    const start = cursor.sized();
    into.text(cursor.bytes, start, cursor.position);
  },
};
const bytes: ValueReader = {
  skip: (cursor) => void cursor.sized(),
  write: (cursor, into) => {
    const start = cursor.sized();
    into.bytes(cursor.bytes, start, cursor.position);
  },
};

/* map ::= (count  (string  branch of ["null", "string"]  string?) × count)?  0      one block, as the encoder writes it */
const map: ValueReader = {
  skip: (cursor) => {
    const count = cursor.count(cursor.bytes.length);
    for (let done = 0; done < count; done++) {
      cursor.sized();
      if (cursor.present()) cursor.sized();
    }
    if (count > 0) endBlocks(cursor);
  },
  write: (cursor, into) => {
    const count = cursor.count(cursor.bytes.length);
    const { keys, values } = into.map(count);
    for (let done = 0; done < count; done++) {
      const key = cursor.sized();
      keys.text(cursor.bytes, key, cursor.position);
      if (!cursor.present()) values.null();
      else {
        const value = cursor.sized();
        values.text(cursor.bytes, value, cursor.position);
      }
    }
    if (count > 0) endBlocks(cursor);
    into.endMap();
  },
};

/* record of doubles ::= double × the fields */
function figure(kind: FigureKind): ValueReader {
  const size = 8 * geometricFields[kind].length;
  return {
    skip: (cursor) => cursor.skip(size),
    write: (cursor, into) => {
      cursor.skip(size);
      into.doubles(cursor.bytes, cursor.position - size, cursor.position);
    },
  };
}

/* points ::= (count  (double double) × count)?  0      one block, as the encoder writes it */
const POINT_BYTES = 16;
const polygon: ValueReader = {
  skip: (cursor) => skipPoints(cursor),
  write: (cursor, into) => {
    const count = cursor.count(cursor.bytes.length);
    writePoints(cursor, count, into.points(count));
  },
};
const path: ValueReader = {
  skip: (cursor) => {
    cursor.boolean();
    skipPoints(cursor);
  },
  write: (cursor, into) => {
    const isClosed = cursor.boolean();
    const count = cursor.count(cursor.bytes.length);
    writePoints(cursor, count, into.path(isClosed, count));
  },
};

function skipPoints(cursor: Cursor): void {
  const count = cursor.count(cursor.bytes.length);
  cursor.skip(count * POINT_BYTES);
  if (count > 0) endBlocks(cursor);
}

function writePoints(cursor: Cursor, count: number, into: PointWriter): void {
  for (let done = 0; done < count; done++) {
    cursor.skip(POINT_BYTES);
    into.doubles(cursor.bytes, cursor.position - POINT_BYTES, cursor.position);
  }
  if (count > 0) endBlocks(cursor);
}

/* vector ::= (count  float × count)?  0      one block, as the encoder writes it */
const vector: ValueReader = {
  skip: (cursor) => {
    const count = cursor.count(cursor.bytes.length);
    cursor.skip(count * 4);
    if (count > 0) endBlocks(cursor);
  },
  write: (cursor, into) => {
    const count = cursor.count(cursor.bytes.length);
    const items = into.list(count);
    for (let done = 0; done < count; done++) float.write(cursor, items);
    if (count > 0) endBlocks(cursor);
    into.endList();
  },
};

/** By kind; what a kind brings is said at ColumnWriter's methods. */
const scalars: Readonly<Record<Exclude<ScalarKind, "composite">, ValueReader>> = {
  bool,
  int2: int,
  int4: int,
  int8: long,
  oid: long,
  float4: float,
  float8: double,
  decimal,
  numeric: string,
  money: decimal,
  text: string,
  enum: string,
  json: string,
  jsonb: string,
  jsonpath: string,
  xml: string,
  uuid: string,
  bytea: bytes,
  date: int,
  time: long,
  timetz: string,
  timestamp: long,
  timestamptz: long,
  interval: string,
  inet: string,
  cidr: string,
  macaddr: string,
  macaddr8: string,
  bit: string,
  tsvector: string,
  ltree: string,
  hstore: map,
  pg_lsn: string,
  xid: string,
  xid8: string,
  point: figure("point"),
  line: figure("line"),
  lseg: figure("lseg"),
  box: figure("box"),
  path,
  polygon,
  circle: figure("circle"),
  geometry: bytes,
  vector,
  range: string,
  other: string,
};

export function valueReader(type: ColumnType): ValueReader {
  if (type.kind === "array") return listReader(valueReader(type.element));
  return type.kind === "composite" ? recordReader(type.attributes.map((attribute) => valueReader(attribute.type))) : scalars[type.kind];
}

/* composite ::= (branch of ["null", T]  value) × the attributes */
function recordReader(attributes: readonly ValueReader[]): ValueReader {
  return {
    skip: (cursor) => {
      for (let index = 0; index < attributes.length; index++) if (cursor.present()) attributes[index]!.skip(cursor);
    },
    write: (cursor, into) => {
      const writers = into.record(attributes.length);
      for (let index = 0; index < attributes.length; index++) {
        if (cursor.present()) attributes[index]!.write(cursor, writers[index]!);
        else writers[index]!.null();
      }
      into.endRecord();
    },
  };
}

/* array ::= (count  (branch of ["null", T]  value) × count)?  0      one block, as the encoder writes it */
function listReader(item: ValueReader): ValueReader {
  return {
    skip: (cursor) => {
      const count = cursor.count(cursor.bytes.length);
      for (let done = 0; done < count; done++) if (cursor.present()) item.skip(cursor);
      if (count > 0) endBlocks(cursor);
    },
    write: (cursor, into) => {
      const count = cursor.count(cursor.bytes.length);
      const items = into.list(count);
      for (let done = 0; done < count; done++) {
        if (cursor.present()) item.write(cursor, items);
        else items.null();
      }
      if (count > 0) endBlocks(cursor);
      into.endList();
    },
  };
}

function endBlocks(cursor: Cursor): void {
  if (cursor.byte() !== 0) throw unreadable("an array or map is in several blocks");
}
