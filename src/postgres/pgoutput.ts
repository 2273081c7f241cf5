// Reader of pgoutput's messages, protocol version 1: in place, into objects that are used again for every message.
import { TailraceError } from "../core/errors.ts";
import { Tuple, tupleState } from "../core/tuple.ts";

/** The first byte of a message. */
export const messageTag = {
  begin: 0x42,
  commit: 0x43,
  insert: 0x49,
  update: 0x55,
  delete: 0x44,
  truncate: 0x54,
  relation: 0x52,
  type: 0x59,
  origin: 0x4f,
  message: 0x4d,
} as const;
export type MessageTag = (typeof messageTag)[keyof typeof messageTag];

/** What stands before the new tuple: nothing, the old key, or the whole old row (its byte on the wire). */
export const oldKind = { none: 0, key: 0x4b, row: 0x4f } as const;
export type OldKind = (typeof oldKind)[keyof typeof oldKind];

/** A RELATION message: the shape that the rows after it have. Made anew for each, so it may be kept. */
export type Relation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relreplident: `d`efault, `n`othing, `f`ull, `i`ndex. */
  readonly identity: "d" | "n" | "f" | "i";
  readonly columns: readonly RelationColumn[];
};

export type RelationColumn = {
  readonly name: string;
  /** Part of the replica identity; with identity full every column is. */
  readonly identity: boolean;
  readonly typeOid: number;
  readonly typeModifier: number;
};

const NEW_TUPLE = 0x4e;
const CASCADE = 1;
const RESTART_IDENTITY = 2;
const TRANSACTIONAL = 1;

/**
 * `read` takes one message apart; the fields then hold that message until the next call, and the tuples hold views of the
 * bytes given. Fields that a message does not have keep older values. 64-bit numbers are in two halves of 32 bits: `High`
 * and `Low` of an LSN unsigned, `High` of a time signed. Times are microseconds since 2000-01-01 UTC.
 */
export class PgoutputReader {
  // BEGIN
  finalLsnHigh = 0;
  finalLsnLow = 0;
  xid = 0;
  // COMMIT
  commitLsnHigh = 0;
  commitLsnLow = 0;
  /** Where the transaction ends: what is acknowledged. */
  endLsnHigh = 0;
  endLsnLow = 0;
  // BEGIN and COMMIT
  commitTimeHigh = 0;
  commitTimeLow = 0;
  // INSERT, UPDATE, DELETE
  relationOid = 0;
  oldKind: OldKind = oldKind.none;
  readonly oldTuple = new Tuple();
  readonly newTuple = new Tuple();
  // TRUNCATE
  /** `truncated[0, truncatedCount)` are relation OIDs. */
  truncated = new Uint32Array(16);
  truncatedCount = 0;
  truncateCascade = false;
  truncateRestartIdentity = false;
  // RELATION, TYPE
  relation: Relation = { oid: 0, schema: "", name: "", identity: "n", columns: [] };
  type = { oid: 0, schema: "", name: "" };
  // ORIGIN, MESSAGE
  originName = "";
  /** Of ORIGIN the commit's LSN at the origin, of MESSAGE its own. */
  messageLsnHigh = 0;
  messageLsnLow = 0;
  messageTransactional = false;
  /** Places in the bytes given: others' messages must not cost a string. */
  prefixStart = 0;
  prefixLength = 0;
  contentStart = 0;
  contentLength = 0;

  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #at = 0;

  /** The one whole message in `bytes[start, end)`; the bytes stay the caller's. Throws STREAM_PROTOCOL on anything but a whole, known message. */
  read(bytes: Buffer, start = 0, end = bytes.length): MessageTag {
    if (end <= start) throw unreadable("an empty message");
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#at = start + 1;
    const tag = bytes[start] as MessageTag;
    switch (tag) {
      case messageTag.insert:
        this.#insert();
        break;
      case messageTag.update:
        this.#update();
        break;
      case messageTag.delete:
        this.#delete();
        break;
      case messageTag.begin:
        this.#begin();
        break;
      case messageTag.commit:
        this.#commit();
        break;
      case messageTag.truncate:
        this.#truncate();
        break;
      case messageTag.relation:
        this.#relation();
        break;
      case messageTag.type:
        this.#type();
        break;
      case messageTag.origin:
        this.#origin();
        break;
      case messageTag.message:
        this.#message();
        break;
      default:
        throw unreadable(`unknown message ${show(tag)}`);
    }
    if (this.#at !== end) throw unreadable(`${end - this.#at} bytes after the end of message ${show(tag)}`);
    return tag;
  }

  // PostgreSQL manual, "Logical Replication Message Formats"; protocol 1, so no message carries a transaction id of its own.
  // Int16 to Int64 are big-endian, String ends with a zero byte.

  /* Begin ::= 'B'  final_lsn Int64  commit_time Int64  xid Int32 */
  #begin(): void {
    this.finalLsnHigh = this.#uint32();
    this.finalLsnLow = this.#uint32();
    this.commitTimeHigh = this.#uint32() | 0;
    this.commitTimeLow = this.#uint32();
    this.xid = this.#uint32();
  }

  /* Commit ::= 'C'  flags Int8 (unused)  commit_lsn Int64  end_lsn Int64  commit_time Int64 */
  #commit(): void {
    this.#uint8();
    this.commitLsnHigh = this.#uint32();
    this.commitLsnLow = this.#uint32();
    this.endLsnHigh = this.#uint32();
    this.endLsnLow = this.#uint32();
    this.commitTimeHigh = this.#uint32() | 0;
    this.commitTimeLow = this.#uint32();
  }

  /* Insert ::= 'I'  relation_oid Int32  'N' TupleData */
  #insert(): void {
    this.relationOid = this.#uint32();
    this.oldKind = oldKind.none;
    if (this.#uint8() !== NEW_TUPLE) throw unreadable("an INSERT without a new row");
    this.#tuple(this.newTuple);
  }

  /* Update ::= 'U'  relation_oid Int32  [ ( 'K' | 'O' ) TupleData ]  'N' TupleData */
  #update(): void {
    this.relationOid = this.#uint32();
    let kind = this.#uint8();
    this.oldKind = oldKind.none;
    if (kind === oldKind.key || kind === oldKind.row) {
      this.oldKind = kind;
      this.#tuple(this.oldTuple);
      kind = this.#uint8();
    }
    if (kind !== NEW_TUPLE) throw unreadable("an UPDATE without a new row");
    this.#tuple(this.newTuple);
  }

  /* Delete ::= 'D'  relation_oid Int32  ( 'K' | 'O' ) TupleData */
  #delete(): void {
    this.relationOid = this.#uint32();
    const kind = this.#uint8();
    if (kind !== oldKind.key && kind !== oldKind.row) throw unreadable("a DELETE without an old row");
    this.oldKind = kind;
    this.#tuple(this.oldTuple);
  }

  /* Truncate ::= 'T'  relations Int32  options Int8 (1 = CASCADE, 2 = RESTART IDENTITY)  { relation_oid Int32 } */
  #truncate(): void {
    const count = this.#uint32();
    const options = this.#uint8();
    if (count > (this.#end - this.#at) / 4) throw this.#cut();
    if (count > this.truncated.length) this.truncated = new Uint32Array(count);
    this.truncatedCount = count;
    this.truncateCascade = (options & CASCADE) !== 0;
    this.truncateRestartIdentity = (options & RESTART_IDENTITY) !== 0;
    for (let i = 0; i < count; i++) this.truncated[i] = this.#uint32();
  }

  /* Relation ::= 'R'  oid Int32  schema String (empty: pg_catalog)  name String  replica_identity Int8  columns Int16
   *              { flags Int8 (1 = part of the identity)  name String  type_oid Int32  type_modifier Int32 } */
  #relation(): void {
    const oid = this.#uint32();
    const schema = this.#string();
    const name = this.#string();
    const identity = String.fromCharCode(this.#uint8());
    if (identity !== "d" && identity !== "n" && identity !== "f" && identity !== "i")
      throw unreadable(`replica identity ${JSON.stringify(identity)}`);
    const columns: RelationColumn[] = [];
    for (let rest = this.#uint16(); rest > 0; rest--) {
      const flags = this.#uint8();
      columns.push({ name: this.#string(), identity: (flags & 1) !== 0, typeOid: this.#uint32(), typeModifier: this.#uint32() | 0 });
    }
    this.relation = { oid, schema: schema === "" ? "pg_catalog" : schema, name, identity, columns };
  }

  /* Type ::= 'Y'  oid Int32  schema String (empty: pg_catalog)  name String */
  #type(): void {
    const oid = this.#uint32();
    const schema = this.#string();
    this.type = { oid, schema: schema === "" ? "pg_catalog" : schema, name: this.#string() };
  }

  /* Origin ::= 'O'  lsn Int64  name String */
  #origin(): void {
    this.messageLsnHigh = this.#uint32();
    this.messageLsnLow = this.#uint32();
    this.originName = this.#string();
  }

  /* Message ::= 'M'  flags Int8 (1 = transactional)  lsn Int64  prefix String  length Int32  content Byte[length] */
  #message(): void {
    this.messageTransactional = (this.#uint8() & TRANSACTIONAL) !== 0;
    this.messageLsnHigh = this.#uint32();
    this.messageLsnLow = this.#uint32();
    this.prefixStart = this.#at;
    this.prefixLength = this.#zeroAt() - this.#at;
    this.#at += this.prefixLength + 1;
    this.contentLength = this.#uint32();
    this.contentStart = this.#at;
    if (this.contentLength > this.#end - this.#at) throw this.#cut();
    this.#at += this.contentLength;
  }

  /* TupleData ::= columns Int16  { 'n' | 'u' | ( 't' | 'b' ) length Int32 value Byte[length] } */
  #tuple(into: Tuple): void {
    const bytes = this.#bytes;
    const end = this.#end;
    const columns = this.#uint16();
    if (columns > into.state.length) throw unreadable(`a row of ${columns} columns`);
    into.bytes = bytes;
    into.columns = columns;
    let at = this.#at;
    for (let column = 0; column < columns; column++) {
      if (at >= end) throw this.#cut();
      const state = bytes[at++]!;
      into.state[column] = state;
      if (state === tupleState.binary || state === tupleState.text) {
        if (at + 4 > end) throw this.#cut();
        const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
        at += 4;
        if (length < 0 || length > end - at) throw this.#cut();
        into.start[column] = at;
        into.length[column] = length;
        at += length;
      } else if (state !== tupleState.null && state !== tupleState.unchanged) {
        throw unreadable(`unknown column state ${show(state)}`);
      }
    }
    this.#at = at;
  }

  #uint8(): number {
    if (this.#at >= this.#end) throw this.#cut();
    return this.#bytes[this.#at++]!;
  }

  #uint16(): number {
    return (this.#uint8() << 8) | this.#uint8();
  }

  #uint32(): number {
    const at = this.#at;
    const bytes = this.#bytes;
    if (at + 4 > this.#end) throw this.#cut();
    this.#at = at + 4;
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  #string(): string {
    const end = this.#zeroAt();
    const text = this.#bytes.toString("utf8", this.#at, end);
    this.#at = end + 1;
    return text;
  }

  /** Where the zero byte of a String is. */
  #zeroAt(): number {
    const at = this.#bytes.indexOf(0, this.#at);
    if (at === -1 || at >= this.#end) throw this.#cut();
    return at;
  }

  #cut(): TailraceError {
    return unreadable(`message ${show(this.#bytes[this.#start] ?? 0)} of ${this.#end - this.#start} bytes is cut short`);
  }
}

function unreadable(reason: string): TailraceError {
  return new TailraceError("STREAM_PROTOCOL", { reason });
}

function show(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}
