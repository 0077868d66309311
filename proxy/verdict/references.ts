// Which parts of `input` a policy can read, taken from the syntax tree that `opa parse` gives.
// Invariant: never too few; whatever is not plainly a path of constants counts as its whole known
// prefix.

/** A path below `input`; the empty path is all of it. */
export type Path = readonly string[];

interface Node {
  readonly [key: string]: unknown;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The constant path of a reference that starts at `input`; null when it starts elsewhere. */
export function inputPath(term: unknown): Path | null {
  if (!isNode(term)) return null;
  if (term.type === 'var') return term.value === 'input' ? [] : null;
  if (term.type !== 'ref' || !Array.isArray(term.value)) return null;
  const [head, ...rest] = term.value as unknown[];
  if (!isNode(head) || head.type !== 'var' || head.value !== 'input') return null;
  const path: string[] = [];
  for (const part of rest) {
    if (!isNode(part) || part.type !== 'string' || typeof part.value !== 'string') break;
    path.push(part.value);
  }
  return path;
}

/** Every path of `input` that occurs anywhere in the tree, none of them below another. */
export function references(tree: unknown): readonly Path[] {
  const found: Path[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const child of node) visit(child);
      return;
    }
    if (!isNode(node)) return;
    const path = inputPath(node);
    if (path !== null) found.push(path);
    if (node.type === 'ref' && Array.isArray(node.value)) {
      // The head is the reference itself; brackets may hold references of their own.
      for (const part of (node.value as unknown[]).slice(path === null ? 0 : 1)) visit(part);
      return;
    }
    for (const child of Object.values(node)) visit(child);
  };
  visit(tree);
  return shortest(found);
}

/** Drops every path that another one contains; sorted, so that the result is always the same. */
export function shortest(paths: readonly Path[]): readonly Path[] {
  const byKey = new Map(paths.map((path) => [JSON.stringify(path), path]));
  const covered = (path: Path): boolean =>
    path.some((_, length) => byKey.has(JSON.stringify(path.slice(0, length))));
  return [...byKey.entries()]
    .filter(([, path]) => !covered(path))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, path]) => path);
}
