// What comes round by the clock: acts of the command line, the desk's sweep, reminders, and how
// long a neighbour is away.
// Invariant: one turn at a time; an outage is told once when it has lasted, and once when it ends.
import { type ActParts, takeActs } from './acts.ts';
import type { Desk } from './desk.ts';
import { ACTS_KEEP_MS, OUTAGE_MS, REMIND_MS, SWEEP_MS } from './limits.ts';
import type { Reminders } from './remind.ts';
import type { Alert } from './webhook/dispatch.ts';

export interface SweepParts extends ActParts {
  readonly desk: Desk;
  readonly reminders: Reminders;
  /** Each neighbour by name, and why it is away now; null when it is there. */
  readonly away: () => { readonly [neighbour: string]: string | null };
  readonly alert: (alert: Alert) => Promise<void>;
}

/** The returned function ends it and waits for the turn under way. */
export function startSweep(p: SweepParts): () => Promise<void> {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let reminded = Number.NEGATIVE_INFINITY;
  const outages = new Outages(p);
  const work = async () => {
    await takeActs(p);
    await p.desk.sweep();
    await outages.look();
    if (Math.abs(p.now() - reminded) < REMIND_MS) return;
    reminded = p.now();
    await p.store.answers.forget(reminded);
    await p.store.acts.forget(reminded - ACTS_KEEP_MS);
    await p.reminders.turn();
  };
  const turn = () => {
    running = work()
      .catch((e: unknown) => p.log('the sweep failed', { error: String(e) }))
      .then(() => {
        if (!stopped) timer = setTimeout(turn, SWEEP_MS);
      });
  };
  turn();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}

class Outages {
  readonly #p: SweepParts;
  readonly #since = new Map<string, { readonly at: number; told: boolean }>();

  constructor(parts: SweepParts) {
    this.#p = parts;
  }

  async look(): Promise<void> {
    const now = this.#p.now();
    for (const [name, why] of Object.entries(this.#p.away())) {
      const outage = this.#since.get(name);
      if (why === null) {
        this.#since.delete(name);
        if (outage?.told) await this.#tell(name, outage.at, 'is there again', null);
      } else if (!outage) {
        this.#since.set(name, { at: now, told: false });
      } else if (!outage.told && now - outage.at >= OUTAGE_MS) {
        outage.told = true;
        await this.#tell(name, outage.at, 'is away: changes are refused', why);
      }
    }
  }

  async #tell(name: string, since: number, what: string, why: string | null): Promise<void> {
    const { instance, alert } = this.#p;
    const detail = { since: new Date(since).toISOString(), seen_by: instance, why };
    await alert({
      id: `${name} ${instance} ${since} ${what}`,
      what: `the ${name} ${what}`,
      detail,
    });
  }
}
