// Who stands in which group now: duty schedules, escalation after a time, delegation with an end.
// Invariant: only groups are lent; a person stays one person, and what was lent is in their
// signature.
import { z } from 'zod';
import { DELEGATION_MOST_MS } from './limits.ts';
import { foldName, type Signer, type SignerStore } from './store/signers.ts';

const time = z.iso.datetime({ offset: true });

const ofDay = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'write a time like 22:00');

/** Hours of a day, past midnight where `to` is not after `from`; of every day or of those named. */
const quiet = z.strictObject({
  from: ofDay,
  to: ofDay,
  zone: z.string().refine(isZone, 'write a time zone like Europe/Berlin'),
  days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).exactOptional(),
});

function isZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== null;
  } catch {
    return false;
  }
}

export const routing = z.strictObject({
  /** Groups whose one member is whoever is on duty. */
  schedules: z
    .array(
      z.strictObject({
        group: z.string().min(1),
        people: z.array(z.string()).min(1),
        start: time,
        turn_hours: z
          .number()
          .positive()
          .max(24 * 90),
        overrides: z
          .array(z.strictObject({ person: z.string(), from: time, to: time }))
          .default([]),
      }),
    )
    .default([]),
  /** After so long unsigned, members of `to` may sign for `group` too. */
  escalations: z
    .array(
      z.strictObject({
        group: z.string().min(1),
        after_minutes: z.number().nonnegative(),
        to: z.string().min(1),
      }),
    )
    .default([]),
  /** Those who could sign are reminded so long before a hold escalates or ends; 0 is never. */
  reminders: z
    .strictObject({
      before_minutes: z
        .number()
        .nonnegative()
        .max(24 * 60)
        .default(5),
      /** When nobody is reminded. */
      quiet: z.array(quiet).default([]),
    })
    .prefault({}),
});
export type Routing = z.infer<typeof routing>;

export const NO_ROUTING: Routing = routing.parse({});

/** From configuration data; throws what is wrong with it in words. */
export function parseRouting(data: unknown): Routing {
  const parsed = routing.safeParse(data);
  if (parsed.success) return parsed.data;
  throw new Error(`routing: ${z.prettifyError(parsed.error)}`);
}

export interface Delegation {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** Milliseconds since 1970. */
  readonly until: number;
}

export function mayDelegate(now: number, until: number): boolean {
  return until > now && until - now <= DELEGATION_MOST_MS;
}

/** Who is on duty in a schedule at a time. */
export function onDuty(schedule: Routing['schedules'][number], now: number): string | null {
  for (const o of schedule.overrides) {
    if (Date.parse(o.from) <= now && now < Date.parse(o.to)) return o.person;
  }
  const start = Date.parse(schedule.start);
  if (now < start) return null;
  const turn = Math.floor((now - start) / (schedule.turn_hours * 3_600_000));
  return schedule.people[turn % schedule.people.length] ?? null;
}

/** Everybody with their groups as they are at one moment. */
export class Roster {
  readonly #signers: readonly Signer[];
  readonly #delegations: readonly Delegation[];
  readonly #routing: Routing;
  readonly #now: number;

  constructor(
    signers: readonly Signer[],
    delegations: readonly Delegation[],
    rules: Routing,
    now: number,
  ) {
    this.#routing = rules;
    this.#now = now;
    this.#signers = signers.map((s) => ({ ...s, groups: this.#duty(s) }));
    this.#delegations = delegations.filter((d) => d.until > now);
  }

  /** Everybody, with the groups they may sign for on a hold asked at that time. */
  at(hold: { readonly asked: number }): readonly Signer[] {
    return this.#signers.map((s) => this.#for(s, hold.asked));
  }

  /** One person so; whoever is not on the roster has no group. */
  who(hold: { readonly asked: number }, person: Signer): Signer {
    const found = this.#signers.find((s) => s.name === person.name);
    return found ? this.#for(found, hold.asked) : { ...person, groups: [] };
  }

  #duty(s: Signer): readonly string[] {
    const scheduled = this.#routing.schedules;
    const own = s.groups.filter((g) => !scheduled.some((d) => d.group === g));
    const duties = scheduled.filter((d) => {
      const person = onDuty(d, this.#now);
      return person !== null && foldName(person) === foldName(s.name);
    });
    return [...own, ...duties.map((d) => d.group)];
  }

  #for(s: Signer, asked: number): Signer {
    // What was lent is not lent on: only the lender's own groups.
    const lent = this.#delegations
      .filter((d) => d.to === s.name)
      .flatMap((d) => this.#signers.find((l) => l.name === d.from && l.active)?.groups ?? []);
    const groups = new Set([...s.groups, ...lent]);
    for (const e of this.#routing.escalations) {
      const late = this.#now - asked >= e.after_minutes * 60_000;
      if (late && groups.has(e.to)) groups.add(e.group);
    }
    return { ...s, groups: [...groups] };
  }
}

export async function loadRoster(
  signers: SignerStore,
  rules: Routing,
  now: number,
): Promise<Roster> {
  return new Roster(await signers.list(), await signers.delegations(now), rules, now);
}
