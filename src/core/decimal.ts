// The text of a decimal, for warehouses whose widest decimal type is too narrow for it or that read it as text.

/** The digits of `unscaled` × 10^−`scale`, all `scale` fraction digits written: (−5n, 2) is "-0.05". */
export function decimalText(unscaled: bigint, scale: number): string {
  const text = unscaled.toString();
  if (scale === 0) return text;
  const negative = unscaled < 0n;
  const digits = (negative ? text.slice(1) : text).padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${negative ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** The integer whose big-endian two's complement stands in [start, end), at least one byte. */
export function unscaledOf(bytes: Buffer, start: number, end: number): bigint {
  return BigInt.asIntN((end - start) * 8, BigInt(`0x${bytes.toString("hex", start, end)}`));
}
