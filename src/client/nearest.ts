/** The one of `names` for which `name` is probably a typing mistake; null if none is similar. */
export function nearest(name: string, names: Iterable<string>): string | null {
  // Names and what was typed are short; a limit keeps a pasted novel from costing minutes.
  const typed = name.slice(0, 64).toLowerCase();
  let best: string | null = null;
  // A third of the letters may differ.
  let bestDistance = Math.max(1, Math.floor(typed.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(typed, candidate.toLowerCase());
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

/** Letters to insert, delete or replace to get from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
