// Which holds a list wants, as a WHERE that both databases understand.
// Invariant: what a person typed is only ever a parameter.
import type { HoldState } from '../contract.ts';
import type { Value } from './db.ts';

export interface HoldFilter {
  readonly states?: readonly HoldState[];
  readonly agent?: string;
  readonly target?: string;
  readonly session?: string;
  readonly class?: string;
  readonly rule?: string;
  /** Text that statement, agent, rule or id contains. */
  readonly search?: string;
  readonly from?: number;
  readonly to?: number;
  /** Newest first unless true. */
  readonly oldestFirst?: boolean;
  /** Goes on after this place: `asked` and id of the last hold seen. */
  readonly after?: { readonly asked: number; readonly id: string };
  readonly limit: number;
}

export function conditions(f: Omit<HoldFilter, 'limit'>): { where: string; values: Value[] } {
  const parts: string[] = [];
  const values: Value[] = [];
  const add = (sql: string, ...v: readonly Value[]) => {
    parts.push(sql);
    values.push(...v);
  };
  if (f.states?.length) add(`state IN (${f.states.map(() => '?').join(', ')})`, ...f.states);
  if (f.agent !== undefined) add('agent = ?', f.agent);
  if (f.target !== undefined) add('target = ?', f.target);
  if (f.session !== undefined) add('session = ?', f.session);
  if (f.class !== undefined) add('class = ?', f.class);
  if (f.rule !== undefined) add('rule = ?', f.rule);
  if (f.from !== undefined) add('asked >= ?', f.from);
  if (f.to !== undefined) add('asked < ?', f.to);
  if (f.search) {
    const like = `%${searchable(f.search).replaceAll(/[\\%_]/g, (c) => `\\${c}`)}%`;
    const any = ['statement', 'agent', 'target', 'rule', 'id'];
    add(
      `(${any.map((c) => `LOWER(${c}) LIKE ? ESCAPE '\\'`).join(' OR ')})`,
      ...any.map(() => like),
    );
  }
  if (f.after) {
    const sign = f.oldestFirst ? '>' : '<';
    const { asked, id } = f.after;
    add(`(asked ${sign} ? OR (asked = ? AND id ${sign} ?))`, asked, asked, id);
  }
  return { where: parts.length > 0 ? `WHERE ${parts.join(' AND ')}` : '', values };
}

/** PostgreSQL's text holds no NUL; the exact bytes are in the request. */
export function searchable(statement: string): string {
  return statement.replaceAll('\0', '\ufffd').toLowerCase();
}
