// Quiet nudges: those who could sign are reminded before a hold escalates and before it ends.
// Invariant: at most once for each stage of a hold; in quiet hours not at all, and afterwards only
// if it still waits.

import { groupsOf } from './hold.ts';
import { REMIND_BATCH } from './limits.ts';
import type { Routing } from './routing.ts';
import type { Hold } from './store/holds.ts';
import type { Store } from './store.ts';
import type { Alert } from './webhook/dispatch.ts';

interface Parts {
  readonly store: Store;
  readonly now: () => number;
  readonly routing: () => Routing;
  readonly remind: (hold: string, stage: string) => Promise<void>;
  readonly alert: (alert: Alert) => Promise<void>;
}

const MINUTE = 60_000;

export class Reminders {
  readonly #p: Parts;

  constructor(parts: Parts) {
    this.#p = parts;
  }

  async turn(): Promise<void> {
    const { reminders, escalations } = this.#p.routing();
    const now = this.#p.now();
    const lead = reminders.before_minutes * MINUTE;
    const silent = lead === 0 || isQuiet(reminders.quiet, now);
    for (const e of escalations) {
      const after = e.after_minutes * MINUTE;
      await this.#escalated(e, now - after);
      // Of a short time the half is left, not a lead that began before it.
      if (!silent) await this.#before(e, now - after + Math.min(lead, after / 2));
    }
    if (silent) return;
    const { stages } = this.#p.store;
    for (const hold of await stages.ending('end', now, lead, REMIND_BATCH)) {
      if (await stages.reach(hold.id, 'end')) await this.#p.remind(hold.id, 'end');
    }
  }

  async #before(e: Routing['escalations'][number], by: number): Promise<void> {
    const { stages } = this.#p.store;
    const stage = `before ${e.group} > ${e.to}`;
    for (const hold of await stages.askedBy(stage, by, REMIND_BATCH)) {
      const first = await stages.reach(hold.id, stage);
      const past = hold.asked + e.after_minutes * MINUTE <= this.#p.now();
      if (first && !past && asks(hold, e.group)) await this.#p.remind(hold.id, stage);
    }
  }

  async #escalated(e: Routing['escalations'][number], by: number): Promise<void> {
    const { stages } = this.#p.store;
    const stage = `escalated ${e.group} > ${e.to}`;
    for (const hold of await stages.askedBy(stage, by, REMIND_BATCH)) {
      if (asks(hold, e.group)) {
        const detail = { hold: hold.id, agent: hold.request.agent.name, from: e.group, to: e.to };
        const what = `a hold has waited ${e.after_minutes} minutes and escalates`;
        await this.#p.alert({ id: `${stage} ${hold.id}`, what, detail });
      }
      await stages.reach(hold.id, stage);
    }
  }
}

function asks(hold: Hold, group: string): boolean {
  return hold.request.demands.some((d) => groupsOf(d).includes(group));
}

type Quiet = Routing['reminders']['quiet'];

const DAYS: readonly string[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** A span that goes past midnight belongs to the day on which it began. */
export function isQuiet(spans: Quiet, now: number): boolean {
  return spans.some(({ from, to, days, zone }) => {
    const { day, minute } = local(now, zone);
    const [start, end] = [minuteOf(from), minuteOf(to)];
    const on = (d: number) =>
      days === undefined || days.some((n) => DAYS.indexOf(n) === (d + 7) % 7);
    if (start < end) return on(day) && minute >= start && minute < end;
    return (on(day) && minute >= start) || (on(day - 1) && minute < end);
  });
}

function minuteOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  return hours * 60 + minutes;
}

function local(now: number, zone: string): { readonly day: number; readonly minute: number } {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const part = new Map(format.formatToParts(now).map((p) => [p.type, p.value]));
  const day = DAYS.indexOf(part.get('weekday')?.toLowerCase() ?? '');
  return { day, minute: Number(part.get('hour')) * 60 + Number(part.get('minute')) };
}
