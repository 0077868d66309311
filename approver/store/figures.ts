// Counts over a time, for the dashboard.
// Invariant: every answer is bounded, however many holds there are.
import { FIGURES_WAITS } from '../limits.ts';
import { type Db, integer, text } from './db.ts';

export interface Figures {
  /** One line a day (UTC) and state. */
  readonly days: readonly { readonly day: string; readonly state: string; readonly n: number }[];
  readonly by: {
    readonly [column in (typeof COLUMNS)[number]]: readonly {
      readonly value: string;
      readonly state: string;
      readonly n: number;
    }[];
  };
  /** From asking to the decision, in milliseconds; null when nothing was decided. */
  readonly waiting: { readonly median: number | null; readonly p95: number | null };
  readonly signers: readonly {
    readonly signer: string;
    readonly decision: string;
    readonly n: number;
  }[];
}

const COLUMNS = ['class', 'agent', 'target', 'rule'] as const;
const DAY = 86_400_000;

export async function figures(db: Db, from: number): Promise<Figures> {
  const days = await db.all(
    `SELECT asked / ${DAY} AS day, state AS st, COUNT(*) AS n FROM holds WHERE asked >= ?
     GROUP BY asked / ${DAY}, state ORDER BY day`,
    from,
  );
  const by: { [column: string]: Figures['by']['class'] } = {};
  for (const column of COLUMNS) by[column] = await tally(db, column, from);
  const waits = await db.all(
    `SELECT decided - asked AS ms FROM holds WHERE asked >= ? AND decided IS NOT NULL
       AND state IN ('approved', 'denied', 'redeemed') ORDER BY asked DESC LIMIT ?`,
    from,
    FIGURES_WAITS,
  );
  const sorted = waits.map((r) => integer(r, 'ms')).toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.floor((sorted.length - 1) * q)] ?? null;
  const signers = await db.all(
    `SELECT s.signer AS signer, s.decision AS decision, COUNT(*) AS n FROM signatures s
     JOIN holds h ON h.id = s.hold WHERE h.asked >= ?
     GROUP BY s.signer, s.decision ORDER BY n DESC LIMIT 50`,
    from,
  );
  return {
    days: days.map((r) => ({
      day: new Date(integer(r, 'day') * DAY).toISOString().slice(0, 10),
      state: text(r, 'st'),
      n: integer(r, 'n'),
    })),
    by: by as Figures['by'],
    waiting: { median: at(0.5), p95: at(0.95) },
    signers: signers.map((r) => ({
      signer: text(r, 'signer'),
      decision: text(r, 'decision'),
      n: integer(r, 'n'),
    })),
  };
}

async function tally(db: Db, column: (typeof COLUMNS)[number], from: number) {
  const rows = await db.all(
    `SELECT ${column} AS value, state AS st, COUNT(*) AS n FROM holds WHERE asked >= ?
     GROUP BY ${column}, state ORDER BY n DESC LIMIT 60`,
    from,
  );
  return rows.map((r) => ({ value: text(r, 'value'), state: text(r, 'st'), n: integer(r, 'n') }));
}
