// What the server says became of watched operations, told when it is final: at the end of their
// transaction.
// Invariant: each recorded operation gets one outcome; `done` means committed, as far as the server
// said so.
import { LIMITS } from '../limits.ts';
import type { Services } from '../session/flow.ts';
import type { Run } from './owed-reply.ts';
import type { TransactionStatus } from './server-message.ts';

export class Outcomes {
  readonly #services: Services;
  /** Operations at the server now. */
  readonly #running = new Set<Run>();
  /** Ended, in order, in a transaction that is still open. */
  #ended: Run[] = [];
  #savepoints: { readonly name: string; readonly at: number }[] = [];

  constructor(services: Services) {
    this.#services = services;
  }

  get running(): number {
    return this.#running.size;
  }

  started(run: Run): void {
    this.#running.add(run);
  }

  /** false when it had ended already. */
  ended(run: Run): boolean {
    if (!this.#running.delete(run)) return false;
    this.#ended.push(run);
    run.changes.forEach((changes, index) => {
      if (index >= run.completed) return;
      for (const change of changes) this.#transaction(change, run);
    });
    if (this.#ended.length > LIMITS.outcomes_in_transaction) this.#tell();
    return true;
  }

  #transaction(change: Run['changes'][number][number], run: Run): void {
    switch (change.kind) {
      case 'savepoint':
        this.#savepoints.push({ name: change.name, at: this.#ended.length });
        return;
      case 'rollback-to': {
        const point = this.#savepoints.findLast((one) => one.name === change.name);
        return this.#undone(point?.at ?? 0, 'rolled back to a savepoint');
      }
      case 'rollback':
        return this.#undone(0, 'rolled back');
      case 'commit':
        if (run.tag?.endsWith('ROLLBACK') === true) this.#undone(0, 'rolled back');
        return;
      default:
    }
  }

  #undone(from: number, why: string): void {
    for (const run of this.#ended.slice(from)) run.failure ??= why;
  }

  /** The commit of an implicit transaction failed. */
  commitFailed(code: string): void {
    this.#undone(0, code);
  }

  /** ReadyForQuery: outside a transaction everything ended is final. */
  ready(status: TransactionStatus): void {
    if (status === 'I') this.#tell();
  }

  /** Recorded as going on to the server, and then not run. */
  notRun(run: Run, why: string): void {
    this.#record({ ...run, failure: why });
  }

  /**
   * The connection to the server is over: what ran may have been done, what was not committed is
   * gone.
   */
  lost(): void {
    for (const run of this.#running) this.#record({ ...run, failure: LOST });
    this.#running.clear();
    this.#undone(0, 'rolled back');
    this.#tell();
  }

  #tell(): void {
    if (this.#ended.length > 0) {
      for (const run of this.#ended) this.#record(run);
      this.#ended = [];
    }
    if (this.#savepoints.length > 0) this.#savepoints = [];
  }

  #record(run: Run): void {
    const { operation } = run;
    if (operation === null) return;
    const outcome = {
      outcome: run.failure === null ? 'done' : run.failure === LOST ? 'unknown' : 'failed',
      answer:
        run.failure === null || run.tag === null
          ? (run.failure ?? run.tag)
          : `${run.tag}; ${run.failure}`,
      rows: run.failure === null ? run.rows : null,
      duration_ms: Math.round((run.finished ?? performance.now()) - run.began),
    } as const;
    this.#services.record.outcome(operation, outcome);
    if (run.hold !== null) this.#services.holds.outcome(run.hold, operation, outcome);
  }
}

const LOST = 'connection lost';
