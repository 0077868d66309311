// Lists in pages: a limit, and a cursor that says after whom to go on.
// Invariant: following the cursors shows each that was there all along exactly once.
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import { PAGE_MOST } from '../limits.ts';

export const pageQuery = z.object({
  cursor: z.string().max(400).optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_MOST).default(PAGE_MOST),
});
export type PageQuery = z.infer<typeof pageQuery>;

/** For the answer: null when nothing follows. */
export const cursor = z.string().nullable();

/** A part of what is in the order of its names. */
export function pageOf<T>(
  all: readonly T[],
  nameOf: (item: T) => string,
  q: PageQuery,
): { readonly items: readonly T[]; readonly cursor: string | null } {
  const after = q.cursor === undefined ? null : readCursor(q.cursor);
  const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = all.toSorted((a, b) => order(nameOf(a), nameOf(b)));
  const rest = after === null ? sorted : sorted.filter((item) => nameOf(item) > after);
  const items = rest.slice(0, q.limit);
  const last = items.at(-1);
  const more = rest.length > items.length && last !== undefined;
  return { items, cursor: more ? writeCursor(nameOf(last)) : null };
}

export function writeCursor(name: string): string {
  return Buffer.from(name).toString('base64url');
}

export function readCursor(text: string): string {
  const name = Buffer.from(text, 'base64url').toString('utf8');
  if (name !== '' && writeCursor(name) === text) return name;
  throw new ApproverError('bad-request', 'cursor: take it from the page before');
}
