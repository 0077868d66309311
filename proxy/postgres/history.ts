// What a statement leans on that stands in earlier ones: the text behind EXECUTE and FETCH, and the
// custom settings that dynamic SQL reads. It is part of what people see and sign.
// Invariant: it only ever grows, so nothing an agent does between signing and sending makes two
// different pasts look alike.
import { createHash } from 'node:crypto';
import type { Analysis } from '../effect/effect.ts';
import { LIMITS } from '../limits.ts';
import type { SessionView } from '../operation.ts';
import { OPENED } from './effect/context.ts';
import type { Run } from './owed-reply.ts';
import type { SessionChange } from './statement.ts';

interface Past {
  readonly last: string;
  readonly digest: string;
  readonly times: number;
}

const CUSTOM = 'custom settings';

export class History {
  readonly #past = new Map<string, Past>();

  /** An operation ended: what its completed statements made counts from now on. */
  ran(run: Run): void {
    run.changes.slice(0, run.completed).forEach((changes, index) => {
      for (const change of changes) this.#changed(change, run.texts[index] ?? '');
    });
    if (run.operation?.analysis.complete === false) this.#add(CUSTOM, 'something not understood');
  }

  #changed(change: SessionChange, text: string): void {
    switch (change.kind) {
      case 'prepare':
        return this.#add(`prepared statement ${change.name}`, text);
      case 'declare':
        return this.#add(`cursor ${change.name}`, text);
      case 'set':
        if (!change.name.includes('.') || change.name.startsWith('holdpoint.')) return;
        return this.#add(CUSTOM, `${change.name} = ${change.value ?? 'default'}`);
      case 'reset':
        return change.name.includes('.') ? this.#add(CUSTOM, `${change.name} reset`) : undefined;
      case 'unsettled':
      case 'reset-all':
      case 'discard':
        return this.#add(CUSTOM, change.kind === 'unsettled' ? change.why : change.kind);
      default:
    }
  }

  /** The protocol's Parse gave the name to another text, or is about to. */
  parsed(name: string, text: string): void {
    this.#add(`prepared statement ${name}`, text);
  }

  /** The end of a transaction may have taken settings back. */
  transactionEnded(): void {
    if (this.#past.has(CUSTOM)) this.#add(CUSTOM, 'end of a transaction');
  }

  #add(what: string, text: string): void {
    const before = this.#past.get(what);
    const digest = createHash('sha256')
      .update(`${before?.digest ?? ''}\n${text}`)
      .digest('hex');
    // Past the limit names share one line: too much is void then, never too little.
    const full = before === undefined && this.#past.size >= LIMITS.prepared_statements;
    if (full && what !== CUSTOM) return this.#add(CUSTOM, text);
    const last = text.slice(0, LIMITS.history_characters);
    this.#past.set(what, { last, digest, times: (before?.times ?? 0) + 1 });
  }

  /** What this analysis leans on, as settings of the session; null when on nothing. */
  under(analysis: Analysis): SessionView['settings'] | null {
    if (this.#past.size === 0) return null;
    const names = new Set<string>();
    for (const effect of analysis.effects) {
      for (const { kind, name } of effect.objects) {
        if (kind === 'prepared-statement') names.add(`prepared statement ${name}`);
        if (kind === 'cursor') names.add(`cursor ${name}`).add(`cursor ${OPENED}`);
      }
    }
    if (names.size > 0 || !analysis.complete) names.add(CUSTOM);
    const found: { [what: string]: string } = {};
    for (const name of names) {
      const past = this.#past.get(name);
      if (past === undefined) continue;
      const more = past.times > 1 ? `, and ${past.times - 1} before it` : '';
      found[name] = `${past.last} (${past.digest.slice(0, 32)}${more})`;
    }
    return found;
  }
}
