// A place in the write-ahead log, and its two notations.

declare const unit: unique symbol;
/** A byte position in the WAL; PostgreSQL prints it as 16/B374D848. Comparable within one epoch only. */
export type Lsn = bigint & { readonly [unit]: "lsn" };

export const ZERO_LSN = 0n as Lsn;

/** The position as a typed value; throws RangeError outside 64 unsigned bits. */
export function toLsn(position: bigint): Lsn {
  if (position < 0n || position > 0xffff_ffff_ffff_ffffn) throw new RangeError(`not an LSN: ${position}`);
  return position as Lsn;
}

/** Reads PostgreSQL's notation (`X/Y`, hex halves); throws RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) throw new RangeError(`not an LSN: ${text}`);
  return toLsn((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`));
}

/** PostgreSQL's notation: upper-case hex halves without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
