// From what the policy answered to a verdict, and from several verdicts to the worst.
// Invariant: total; an answer of any other shape than the documented one is a denial with rule
// `policy-error`.
import {
  DEFAULT_EXPIRES_MS,
  DEFAULT_WAIT_MS,
  MAX_ANSWERS,
  MAX_CHANNELS,
  MAX_EXPIRES_MS,
  MAX_SIGNATURES,
  MAX_WAIT_MS,
  MAX_WORDS,
  MIN_EXPIRES_MS,
} from './limits.ts';
import {
  CHANNEL,
  channelsOf,
  type DenyVerdict,
  type HoldDemand,
  type HoldVerdict,
  type Verdict,
} from './verdict.ts';

export const POLICY_ERROR = 'policy-error';

/** What is wrong with an answer; its message is the verdict's reason, so it quotes no data. */
class Odd extends Error {}

export function policyError(why: string): DenyVerdict {
  return { kind: 'deny', rule: POLICY_ERROR, reason: `the policy could not judge this: ${why}` };
}

/** The verdict that the library's `answer` says. */
export function verdictOf(answer: unknown): Verdict {
  try {
    const { kind, said } = fields(answer, 'the answer', ['kind', 'said']);
    if (!Array.isArray(said)) throw new Odd(`${String(kind)} is no set of objects`);
    if (said.length === 0) throw new Odd('it says nothing');
    if (said.length > MAX_ANSWERS) throw new Odd(`more than ${MAX_ANSWERS} rules answered`);
    if (kind === 'allow') return worstOf(said.map(allowOf));
    if (kind === 'hold') return worstOf(said.map(holdOf));
    if (kind === 'deny') return worstOf(said.map(denyOf));
    throw new Odd('it is neither allow, hold nor deny');
  } catch (error) {
    if (error instanceof Odd) return policyError(error.message);
    return policyError('an odd answer');
  }
}

const RANK: { readonly [K in Verdict['kind']]: number } = { allow: 0, hold: 1, deny: 2 };

/**
 * The worst kind, and all that was said of that kind: every reason, every demand, the shortest
 * times.
 */
export function worstOf(verdicts: readonly Verdict[]): Verdict {
  const worst = Math.max(...verdicts.map((v) => RANK[v.kind]));
  const same = verdicts
    .filter((v) => RANK[v.kind] === worst)
    .sort((a, b) => (a.rule < b.rule ? -1 : a.rule > b.rule ? 1 : 0));
  const [first] = same;
  if (first === undefined) return policyError('nothing was judged');
  // A failure hides nothing behind another rule's name.
  const named = same.find((v) => v.rule === POLICY_ERROR) ?? first;
  const { kind, rule } = named;
  const reason = [...new Set(same.map((v) => v.reason))].join('; ');
  if (kind !== 'hold') return { kind, rule, reason };
  const holds = same.filter((v) => v.kind === 'hold');
  return {
    kind,
    rule,
    reason,
    demands: mergeDemands(holds.flatMap((h) => h.demands)),
    expires_ms: Math.min(...holds.map((h) => h.expires_ms)),
    wait_ms: Math.min(...holds.map((h) => h.wait_ms)),
  };
}

/**
 * All demands, and for one group and the same channels the larger number: two rules that want one
 * db-owner want the same one. A demand that any signers of another would meet as well is not told
 * beside it.
 */
function mergeDemands(demands: readonly HoldDemand[]): readonly HoldDemand[] {
  const byPeople = new Map<string, HoldDemand>();
  for (const demand of demands) {
    const people = [demand.group, ...channelsOf(demand)].join('\n');
    const known = byPeople.get(people);
    if (known === undefined || known.signatures < demand.signatures) byPeople.set(people, demand);
  }
  const all = [...byPeople.values()];
  const implied = (demand: HoldDemand): boolean =>
    all.some(
      (other) =>
        other !== demand && other.signatures >= demand.signatures && isWithin(other, demand),
    );
  return all.filter((demand) => !implied(demand)).sort((a, b) => (a.group < b.group ? -1 : 1));
}

/** Every signature that counts for `inner` counts for `outer` too. */
function isWithin(inner: HoldDemand, outer: HoldDemand): boolean {
  const groups = new Set(outer.group.split('|'));
  const channels = new Set(channelsOf(outer));
  return (
    inner.group.split('|').every((group) => groups.has(group)) &&
    channelsOf(inner).every((channel) => channels.has(channel))
  );
}

function allowOf(said: unknown): Verdict {
  const { rule, reason } = fields(said, 'an object in allow', ['rule', 'reason']);
  return { kind: 'allow', rule: words(rule, 'rule'), reason: words(reason, 'reason') };
}

function denyOf(said: unknown): Verdict {
  const { rule, reason } = fields(said, 'an object in deny', ['rule', 'reason']);
  return { kind: 'deny', rule: words(rule, 'rule'), reason: words(reason, 'reason') };
}

const HOLD_FIELDS = [
  'rule',
  'reason',
  'group',
  'signatures',
  'channels',
  'expires',
  'wait',
] as const;

function holdOf(said: unknown): HoldVerdict {
  const hold = fields(said, 'an object in hold', HOLD_FIELDS);
  const rule = words(hold.rule, 'rule');
  const demand = { rule, group: groups(hold.group), signatures: signatures(hold.signatures) };
  const { channels: named } = hold;
  return {
    kind: 'hold',
    rule,
    reason: words(hold.reason, 'reason'),
    demands: [named === undefined ? demand : { ...demand, channels: channels(named) }],
    expires_ms: duration(
      hold.expires,
      'expires',
      DEFAULT_EXPIRES_MS,
      MIN_EXPIRES_MS,
      MAX_EXPIRES_MS,
    ),
    wait_ms: duration(hold.wait, 'wait', DEFAULT_WAIT_MS, 0, MAX_WAIT_MS),
  };
}

/**
 * The object's fields; a field that is not known is refused, for a misspelt `signatures` would ask
 * for fewer.
 */
function fields<K extends string>(
  value: unknown,
  what: string,
  known: readonly K[],
): { readonly [F in K]?: unknown } {
  if (value === undefined) throw new Odd('it is undefined');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Odd(`${what} is no object`);
  }
  for (const name of Object.keys(value)) {
    if (!known.some((k) => k === name)) throw new Odd(`${what} has an unknown field`);
  }
  return value as { readonly [F in K]?: unknown };
}

function words(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.trim() === '') throw new Odd(`\`${what}\` is no text`);
  if (value.length > MAX_WORDS) throw new Odd(`\`${what}\` is longer than ${MAX_WORDS} characters`);
  return value;
}

function groups(value: unknown): string {
  const names = words(value, 'group')
    .split('|')
    .map((name) => name.trim());
  if (names.includes('')) throw new Odd('`group` names an empty group');
  return [...new Set(names)].sort().join('|');
}

function signatures(value: unknown): number {
  if (value === undefined) return 1;
  if (
    typeof value === 'number' &&
    Number.isInteger(value) &&
    value >= 1 &&
    value <= MAX_SIGNATURES
  ) {
    return value;
  }
  throw new Odd(`\`signatures\` is no number from 1 to ${MAX_SIGNATURES}`);
}

function channels(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) throw new Odd('`channels` is no list of names');
  if (value.length > MAX_CHANNELS) throw new Odd(`\`channels\` has over ${MAX_CHANNELS} names`);
  for (const name of value) {
    if (typeof name !== 'string' || !CHANNEL.test(name)) {
      throw new Odd('`channels` names no way to sign: page, cli, slack, teams or callback:NAME');
    }
  }
  return [...new Set(value as readonly string[])].sort();
}

const UNITS: { readonly [unit: string]: number } = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `45s`, `30m`, `1h30m`: as Go and Prometheus write it. */
export function parseDuration(text: string): number | null {
  if (!/^(\d+(ms|s|m|h|d))+$/.test(text)) return null;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    total += Number(count) * (UNITS[unit ?? ''] ?? Number.NaN);
  }
  return Number.isSafeInteger(total) ? total : null;
}

function duration(
  value: unknown,
  what: string,
  otherwise: number,
  least: number,
  most: number,
): number {
  if (value === undefined) return otherwise;
  const ms = typeof value === 'string' ? parseDuration(value) : null;
  if (ms === null) throw new Odd(`\`${what}\` is no duration like \`45s\` or \`30m\``);
  if (ms < least || ms > most) throw new Odd(`\`${what}\` is not between ${least} and ${most} ms`);
  return ms;
}
