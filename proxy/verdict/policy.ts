// The policy in force: opened from security's files, asked for decisions, swapped when the files
// change.
// Invariant: there is always one whole policy in force; a change that can't be used leaves it there
// and is told aloud.
import type { Operation, TargetView } from '../operation.ts';
import { PolicyRejected } from './compile.ts';
import { type PolicyData, parseData } from './data.ts';
import type { Judge } from './decide.ts';
import { messageOf } from './evaluate.ts';
import { effectiveMode, nextBoundary, windowAt } from './freeze.ts';
import type { DependsOn } from './input.ts';
import { MAX_TIMER_MS } from './limits.ts';
import { digestOf, judgeOf, load, type PolicyFiles, readSources, type Sources } from './load.ts';
import type { Decision, Mode } from './verdict.ts';
import { type Watching, watchFiles } from './watch.ts';

export interface PolicyOptions extends PolicyFiles {
  /** Where compiled policies are kept between starts. */
  readonly stateDirectory: string;
  /**
   * A changed policy that was not taken: the old one stays in force. The message says why; the
   * digest names what was refused (null when it could not be read).
   */
  readonly onRejected?: (message: string, digest: string | null) => void;
  /** false: files are read once. */
  readonly watch?: boolean;
  /** Milliseconds since 1970; given by tests. */
  readonly now?: () => number;
}

export interface PolicyChange {
  readonly digest: string;
  /** The digest before; the same one when only a freeze window opened or closed. */
  readonly previous: string;
  readonly version: number;
}

/** What the session room asks. */
export interface Policy {
  /**
   * Total: a failure is a denial with rule `policy-error`. Freeze windows are applied to `mode`
   * here.
   */
  decide(operation: Operation, mode: Mode): Decision;
  /** The same, from the whole input and past every cache. */
  decideFresh(operation: Operation, mode: Mode): Decision;
  /** The mode with freeze windows applied: what the ledger's entry should name. */
  effectiveMode(target: TargetView, mode: Mode): Mode;
  /** Why a target is frozen by a window now; null when it is not. */
  freezeReason(target: TargetView): string | null;
  /** SHA-256 (hex) of policy text, data and library. */
  readonly digest: string;
  /**
   * Goes up whenever a decision may come out differently: a reload, a freeze window that opens or
   * closes.
   */
  readonly version: number;
  /**
   * No verdict follows from parameters, time, the session or the statement's own text: one may be
   * kept with a prepared statement while analysis, target, agent, mode, `in_transaction` and
   * `version` are the same.
   */
  readonly keeps: boolean;
  readonly dependsOn: DependsOn;
  onChange(listener: (change: PolicyChange) => void): () => void;
  /** Looks at the files now; resolves when they are in force or were rejected. */
  reload(): Promise<void>;
  close(): void;
}

interface InForce {
  readonly digest: string;
  readonly sources: Sources;
  readonly data: PolicyData;
  readonly judge: Judge;
}

/** Opens the policy; rejects with `PolicyRejected` when it can't be used. */
export async function openPolicy(options: PolicyOptions): Promise<Policy> {
  const sources = await readOrWhy(options);
  if (typeof sources === 'string') throw new PolicyRejected(sources);
  return new ReloadingPolicy(options, await prepare(sources, options));
}

/** The files' texts, or why they can't be read. */
async function readOrWhy(options: PolicyOptions): Promise<Sources | string> {
  try {
    return await readSources(options);
  } catch (error) {
    return `the policy's files can't be read: ${messageOf(error)}`;
  }
}

function sameSources(one: Sources | string, other: Sources | string): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

async function prepare(sources: Sources, options: PolicyOptions): Promise<InForce> {
  const data = dataOf(sources);
  const compiled = await load(sources, options.stateDirectory);
  return { digest: digestOf(sources), sources, data, judge: judgeOf(compiled, data, sources) };
}

function dataOf(sources: Sources): PolicyData {
  try {
    return parseData(sources.data);
  } catch (cause) {
    throw new PolicyRejected(messageOf(cause), { cause });
  }
}

class ReloadingPolicy implements Policy {
  readonly #options: PolicyOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<(change: PolicyChange) => void>();
  readonly #watching: Watching | null;
  #current: InForce;
  #version = 1;
  #boundary: NodeJS.Timeout | null = null;
  #reloading: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(options: PolicyOptions, current: InForce) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#current = current;
    const files = [options.rego, options.data ?? '', options.tests ?? ''].filter((f) => f !== '');
    this.#watching = options.watch === false ? null : watchFiles(files, () => void this.reload());
    this.#awaitBoundary();
  }

  get digest(): string {
    return this.#current.digest;
  }

  get version(): number {
    return this.#version;
  }

  get dependsOn(): DependsOn {
    return this.#current.judge.dependsOn;
  }

  get keeps(): boolean {
    return this.#current.judge.keeps;
  }

  decide(operation: Operation, mode: Mode): Decision {
    const { judge } = this.#current;
    return judge.decide(operation, this.effectiveMode(operation.target, mode));
  }

  decideFresh(operation: Operation, mode: Mode): Decision {
    const { judge } = this.#current;
    return judge.decideFresh(operation, this.effectiveMode(operation.target, mode));
  }

  effectiveMode(target: TargetView, mode: Mode): Mode {
    const { freeze } = this.#current.data;
    return freeze.length === 0 ? mode : effectiveMode(freeze, target, this.#now(), mode);
  }

  freezeReason(target: TargetView): string | null {
    return windowAt(this.#current.data.freeze, target, this.#now())?.reason ?? null;
  }

  onChange(listener: (change: PolicyChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** One reload at a time; a change that comes meanwhile is looked at right after. */
  reload(): Promise<void> {
    this.#again = true;
    this.#reloading ??= this.#reloadUntilQuiet().finally(() => {
      this.#reloading = null;
    });
    return this.#reloading;
  }

  close(): void {
    this.#closed = true;
    this.#watching?.close();
    if (this.#boundary !== null) clearTimeout(this.#boundary);
    this.#listeners.clear();
  }

  async #reloadUntilQuiet(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#reloadOnce();
    }
  }

  async #reloadOnce(): Promise<void> {
    const sources = await readOrWhy(this.#options);
    try {
      if (typeof sources === 'string') throw new PolicyRejected(sources);
      const previous = this.#current;
      if (sameSources(sources, previous.sources)) return;
      const next = await prepare(sources, this.#options);
      if (this.#closed) return;
      this.#current = next;
      if (next.digest === previous.digest) return;
      this.#changed(previous.digest);
      this.#awaitBoundary();
    } catch (error) {
      if (this.#closed) return;
      // Half-written when it was read: what is there by now is looked at before anybody is told.
      if (!sameSources(sources, await readOrWhy(this.#options))) {
        this.#again = true;
        return;
      }
      const why = error instanceof Error ? error.message : messageOf(error);
      const old = this.#current.digest.slice(0, 12);
      this.#options.onRejected?.(
        `the changed policy is not taken, the old one (${old}…) stays in force: ${why}`,
        typeof sources === 'string' ? null : digestOf(sources),
      );
    }
  }

  #changed(previous: string): void {
    this.#version++;
    const change: PolicyChange = { digest: this.digest, previous, version: this.#version };
    for (const listener of this.#listeners) listener(change);
  }

  /**
   * `decide` looks at the clock itself; this tells those who keep decisions that a window opened or
   * closed.
   */
  #awaitBoundary(): void {
    if (this.#boundary !== null) clearTimeout(this.#boundary);
    this.#boundary = null;
    const now = this.#now();
    const next = nextBoundary(this.#current.data.freeze, now);
    if (next === null || this.#closed) return;
    this.#boundary = setTimeout(
      () => {
        if (this.#now() >= next) this.#changed(this.digest);
        this.#awaitBoundary();
      },
      Math.min(next - now, MAX_TIMER_MS),
    );
    this.#boundary.unref();
  }
}
