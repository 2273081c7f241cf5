// Which partition a key goes to: murmur2 as Java's default partitioner has it (org.apache.kafka.common.utils.Utils).

/** The 32-bit hash (signed) of `bytes[start, end)`. */
export function murmur2(bytes: Buffer, start: number, end: number): number {
  let hash = 0x9747b28c ^ (end - start);
  let at = start;
  for (const last = end - 3; at < last; at += 4) {
    let word = byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24);
    word = Math.imul(word, 0x5bd1e995);
    word ^= word >>> 24;
    hash = Math.imul(hash, 0x5bd1e995) ^ Math.imul(word, 0x5bd1e995);
  }
  const rest = end - at;
  if (rest === 3) hash ^= byteAt(bytes, at + 2) << 16;
  if (rest >= 2) hash ^= byteAt(bytes, at + 1) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ byteAt(bytes, at), 0x5bd1e995);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0x5bd1e995);
  return hash ^ (hash >>> 15);
}

/** The partition of a key, of `count` partitions: the hash made positive, modulo the count. */
export function partitionOf(bytes: Buffer, start: number, end: number, count: number): number {
  return (murmur2(bytes, start, end) & 0x7fff_ffff) % count;
}

function byteAt(bytes: Buffer, at: number): number {
  return bytes[at]!;
}
