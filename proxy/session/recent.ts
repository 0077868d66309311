// What each session did lately, for those who are asked to sign its next step.
// Invariant: bounded for each session and for all together; only normalized text is kept, which has
// none of the statements' values.
import type { RecentOperation } from '../../approver/contract.ts';
import { LIMITS } from '../limits.ts';
import type { Operation } from '../operation.ts';
import type { Decision } from '../verdict/verdict.ts';

type Line = { -readonly [K in keyof RecentOperation]: RecentOperation[K] };

interface Noted {
  readonly operation: string;
  /** Milliseconds since 1970: put into words only for those who look. */
  at: number;
  readonly line: Omit<Line, 'time'>;
}

/** What happened to a decided operation, as its ledger entry calls it. */
type Disposition = RecentOperation['disposition'];

interface Past {
  readonly lines: Noted[];
  /** When it was put last in order. */
  readonly moved: number;
}

export class Recent {
  /** By session, the one that was heard of least lately first, give or take `recent_order_ms`. */
  readonly #sessions = new Map<string, Past>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The returned function notes one more read of this shape. */
  reads(operation: Operation, decision: Decision): () => void {
    const session = operation.session.id;
    const first = lineOf(operation, decision, 'forward', null);
    const { id } = operation;
    return () => {
      const at = this.#now();
      const lines = this.#of(session, at);
      const last = lines.at(-1);
      if (last?.operation === id) {
        last.line.count++;
        last.at = at;
      } else {
        add(lines, { operation: id, at, line: { ...first } });
      }
    };
  }

  decided(
    operation: Operation,
    decision: Decision,
    disposition: Disposition,
    hold: string | null,
  ): void {
    const now = this.#now();
    const lines = this.#of(operation.session.id, now);
    const line = lineOf(operation, decision, disposition, hold);
    // What was held and now runs is one operation still.
    const at = lines.findIndex((l) => l.operation === operation.id);
    if (at >= 0) lines.splice(at, 1);
    add(lines, { operation: operation.id, at: now, line });
  }

  ended(operation: Operation, outcome: RecentOperation['outcome'], rows: number | null): void {
    const noted = this.#sessions
      .get(operation.session.id)
      ?.lines.find((l) => l.operation === operation.id);
    if (noted === undefined) return;
    noted.line.outcome = outcome;
    noted.line.rows = rows;
  }

  /** Oldest first, without the operation that asks. */
  before(operation: Operation): readonly RecentOperation[] {
    const lines = this.#sessions.get(operation.session.id)?.lines ?? [];
    return lines
      .filter((l) => l.operation !== operation.id)
      .map(({ at, line }) => ({ time: new Date(at).toISOString(), ...line }));
  }

  #of(session: string, now: number): Noted[] {
    const known = this.#sessions.get(session);
    // Each read comes by here: the order is not kept to the millisecond.
    if (known !== undefined && now - known.moved < LIMITS.recent_order_ms) return known.lines;
    const lines = known?.lines ?? [];
    this.#sessions.delete(session);
    this.#sessions.set(session, { lines, moved: now });
    if (this.#sessions.size > LIMITS.recent_sessions) {
      const oldest = this.#sessions.keys().next().value;
      if (oldest !== undefined) this.#sessions.delete(oldest);
    }
    return lines;
  }
}

function add(lines: Noted[], noted: Noted): void {
  lines.push(noted);
  if (lines.length > LIMITS.recent_operations) lines.shift();
}

function lineOf(
  operation: Operation,
  decision: Decision,
  disposition: Disposition,
  hold: string | null,
): Noted['line'] {
  const { analysis } = operation;
  const text = analysis.normalized;
  const most = LIMITS.recent_characters;
  // A copy: a slice would keep all of a long text in memory.
  const start = Buffer.from(text.slice(0, most)).toString();
  return {
    class: analysis.class,
    verdict: decision.verdict.kind,
    rule: decision.verdict.rule,
    disposition,
    start: text.length > most ? `${start}…` : start,
    count: 1,
    in_transaction: operation.in_transaction,
    outcome: null,
    rows: null,
    hold,
  };
}
