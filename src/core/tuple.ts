// One row of a pgoutput message, by place: the bytes stay where the socket put them.

/** How a column stands in a tuple: TupleData's tags of the manual's "Logical Replication Message Formats". */
export const tupleState = { null: 0x6e, unchanged: 0x75, text: 0x74, binary: 0x62 } as const;

/**
 * A view of one tuple, filled again for each message. `bytes` is owned by the protocol's parser and valid only until
 * the message's handler returns.
 */
export class Tuple {
  bytes: Buffer = Buffer.alloc(0);
  columns = 0;
  /** One of tupleState, per column. */
  state: Uint8Array;
  /** Offset of the column's value in `bytes`; undefined for null and unchanged ones. */
  start: Int32Array;
  /** Length of the value in bytes. */
  length: Int32Array;

  /** `capacity`: columns; a PostgreSQL table has at most 1600. */
  constructor(capacity = 1664) {
    this.state = new Uint8Array(capacity);
    this.start = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
  }
}
