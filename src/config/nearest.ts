// "Did you mean …?": the allowed word that a misspelt one is closest to.

/**
 * The candidate nearest to `word`, or null when none is near enough to be meant. Case, `-` and `_` do not count
 * (chunkRows and chunk-rows mean chunk_rows); two letters that changed places count as one mistake.
 */
export function nearestWord(word: string, candidates: readonly string[]): string | null {
  const plain = simplify(word);
  let best: string | null = null;
  let least = Math.max(1, Math.floor(plain.length / 3)) + 1;
  for (const candidate of candidates) {
    const mistakes = distance(plain, simplify(candidate));
    if (mistakes < least) [best, least] = [candidate, mistakes];
  }
  return best;
}

function simplify(word: string): string {
  return word
    .slice(0, 80)
    .toLowerCase()
    .replace(/[-_\s]/g, "");
}

/** Optimal string alignment: insertions, deletions, replacements and swaps of neighbours. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, (before[j - 2] ?? 0) + 1);
      row.push(least);
    }
    [before, previous] = [previous, row];
  }
  return previous[b.length] ?? 0;
}
