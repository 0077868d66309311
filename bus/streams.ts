// The durable subjects, as JetStream streams. Both buses keep exactly these.
// Invariant: a request's subject is in no stream, else JetStream's own acknowledgement would answer
// the request.

export interface Stream {
  readonly name: string;
  readonly subjects: readonly string[];
  /** How long messages are kept for a consumer that is away. */
  readonly keepMs: number;
  /** Keep only the newest message of each subject. */
  readonly lastOnly: boolean;
}

const DAY = 24 * 60 * 60 * 1000;

export const STREAMS: readonly Stream[] = [
  {
    name: 'HOLDPOINT_REQUESTED',
    subjects: ['holdpoint.holds.requested'],
    keepMs: 7 * DAY,
    lastOnly: false,
  },
  {
    name: 'HOLDPOINT_DECIDED',
    subjects: ['holdpoint.holds.decided.>'],
    keepMs: 7 * DAY,
    lastOnly: false,
  },
  {
    name: 'HOLDPOINT_OUTCOME',
    subjects: ['holdpoint.holds.outcome'],
    keepMs: 7 * DAY,
    lastOnly: false,
  },
  {
    name: 'HOLDPOINT_TOLD',
    subjects: ['holdpoint.holds.told'],
    keepMs: 60_000,
    lastOnly: true,
  },
  {
    name: 'HOLDPOINT_MODES',
    subjects: ['holdpoint.modes', 'holdpoint.modes.>'],
    keepMs: 365 * DAY,
    lastOnly: true,
  },
];

/** NATS' own rule: `*` is one token, `>` is one or more at the end. */
export function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.');
  const given = subject.split('.');
  for (const [i, token] of wanted.entries()) {
    if (token === '>') return given.length > i;
    const at = given[i];
    if (at === undefined || (token !== '*' && token !== at)) return false;
  }
  return wanted.length === given.length;
}

/** The stream that carries a subject (or a pattern such as `holdpoint.holds.decided.>`). */
export function streamOf(subject: string): Stream {
  const found = STREAMS.find((s) => s.subjects.some((p) => p === subject || matches(p, subject)));
  if (found) return found;
  throw new Error(`no durable stream carries ${subject}: name it in bus/streams.ts`);
}
