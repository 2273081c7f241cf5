// 64-bit integers as two 32-bit halves, where a BigInt for each value would cost more than the value.

/** A result in two's complement: `high` signed, `low` unsigned 32 bits. Reused: read it before the next call. */
export class Int64 {
  high = 0;
  low = 0;

  /** Sets it to head × factor + tail. |head| < 2^44, 0 < factor ≤ 10^9, |head × factor| < 2^64, |tail| < factor. `high` may pass 32 bits: the caller checks. */
  setProduct(head: number, factor: number, tail: number): void {
    // head in parts of 16 bits, so that every product and sum below is exact in a double
    const headHigh = Math.floor(head / 0x1_0000);
    const upper = headHigh * factor;
    const upperHigh = Math.floor(upper / 0x1_0000);
    const rest = (upper - upperHigh * 0x1_0000) * 0x1_0000 + (head - headHigh * 0x1_0000) * factor + tail;
    this.high = upperHigh + Math.floor(rest / 0x1_0000_0000);
    this.low = rest >>> 0;
  }
}
