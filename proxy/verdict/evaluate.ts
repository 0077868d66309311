// One compiled policy at work: a WASM instance that is asked, watched, and replaced when it
// trapped.
// Invariant: `ask` answers or throws, in bounded time and memory; after a throw the next question
// meets a fresh instance.
import { createRequire } from 'node:module';
import { Script } from 'node:vm';
import type * as OpaWasm from '@open-policy-agent/opa-wasm';
import {
  EVALUATION_TIMEOUT_MS,
  MAX_INPUT_BYTES,
  MAX_POLICY_PAGES,
  MAX_TRUSTED_KINDS,
  SLOW_EVALUATION_MS,
  WATCHED_EVALUATIONS,
} from './limits.ts';
import { type WasmInstance, type WasmMemory, type WasmModule, wasm } from './wasm.ts';

/**
 * Its module form leaves `loadPolicySync` out; a replacement after a trap has to be synchronous.
 */
const opaWasm = createRequire(import.meta.url)('@open-policy-agent/opa-wasm') as typeof OpaWasm;

/**
 * Built-ins that OPA leaves to its host and that opa-wasm implements the way OPA itself does. Not
 * among them: those of JavaScript's own regular expressions and YAML, which differ from OPA's, and
 * all that read a clock or the world.
 */
export const SUPPORTED_BUILTINS: ReadonlySet<string> = new Set(['sprintf', 'json.is_valid']);

/** The names of the built-ins that a module wants from its host. */
export function requiredBuiltins(bytes: Uint8Array): readonly string[] {
  const { instance, memory } = bare(new wasm.Module(bytes));
  const { builtins, opa_json_dump } = instance.exports as {
    builtins: () => number;
    opa_json_dump: (address: number) => number;
  };
  const at = opa_json_dump(builtins());
  const heap = new Uint8Array(memory.buffer);
  const names: unknown = JSON.parse(
    new TextDecoder().decode(heap.subarray(at, heap.indexOf(0, at))),
  );
  return typeof names === 'object' && names !== null ? Object.keys(names) : [];
}

function bare(module: WasmModule): {
  instance: WasmInstance;
  memory: WasmMemory;
} {
  const memory = new wasm.Memory({ initial: 5, maximum: MAX_POLICY_PAGES });
  const none = (): never => {
    throw new Error('no built-in is called while a module is only looked at');
  };
  const names = ['abort', 'println', 'builtin0', 'builtin1', 'builtin2', 'builtin3', 'builtin4'];
  const env = Object.fromEntries(names.map((name) => [`opa_${name}`, none]));
  return { instance: new wasm.Instance(module, { env: { memory, ...env } }), memory };
}

/**
 * Runs a function under V8's own watchdog, the only one that can stop WASM; it costs a thread
 * (about 0.1 ms).
 */
const WATCHED = Symbol.for('holdpoint.verdict.watched');
const callWatched = new Script('globalThis[Symbol.for("holdpoint.verdict.watched")]()');

function underWatch<T>(work: () => T): T {
  const scope = globalThis as { [WATCHED]?: () => T };
  scope[WATCHED] = work;
  try {
    return callWatched.runInThisContext({ timeout: EVALUATION_TIMEOUT_MS }) as T;
  } finally {
    delete scope[WATCHED];
  }
}

export class Evaluator {
  readonly #module: WasmModule;
  readonly #data: ArrayBuffer;
  readonly #alwaysWatch: boolean;
  /** Kinds of question that were quick under the watch: how often, and the longest input so far. */
  readonly #trusted = new Map<string, { times: number; longest: number }>();
  #loaded: OpaWasm.LoadedPolicy | null;
  #replaced = 0;

  /**
   * `unbounded`: the policy calls built-ins whose work is not bounded by its input's size (see
   * compile.ts).
   */
  constructor(bytes: Uint8Array, data: unknown, unbounded: boolean) {
    this.#module = new wasm.Module(bytes);
    this.#data = utf8(JSON.stringify(data));
    this.#alwaysWatch = unbounded;
    this.#loaded = this.#load();
  }

  /** How many instances were lost to a trap. */
  get replaced(): number {
    return this.#replaced;
  }

  /**
   * The value of an entrypoint, undefined when the policy leaves it so. `kind` groups questions
   * that take the same way through the policy: each kind is watched until it was quick a few times,
   * and again whenever an input is longer.
   */
  ask(entrypoint: string, input: string, kind: string): unknown {
    const bytes = utf8(input);
    if (bytes.byteLength > MAX_INPUT_BYTES) {
      throw new Error(`the input is larger than ${MAX_INPUT_BYTES} bytes`);
    }
    // Asking for the thread's time costs more than a short evaluation: only where it may be needed.
    const worked = this.#needsWatch(kind, bytes.byteLength) ? threadMilliseconds() : 0;
    try {
      return this.#askOnce(entrypoint, bytes, kind);
    } catch (error) {
      // Stopped by the clock although this thread hardly ran: the machine was busy, not the policy.
      const starved = isTimeout(error) && threadMilliseconds() - worked < EVALUATION_TIMEOUT_MS / 2;
      if (!starved) throw error;
      return this.#askOnce(entrypoint, bytes, kind);
    }
  }

  #askOnce(entrypoint: string, bytes: ArrayBuffer, kind: string): unknown {
    this.#loaded ??= this.#load();
    const loaded = this.#loaded;
    try {
      const results: unknown = this.#needsWatch(kind, bytes.byteLength)
        ? this.#watch(kind, bytes.byteLength, () => loaded.evaluate(bytes, entrypoint) as unknown)
        : (loaded.evaluate(bytes, entrypoint) as unknown);
      return resultOf(results);
    } catch (error) {
      this.#loaded = null;
      this.#replaced++;
      this.#trusted.delete(kind);
      throw error;
    }
  }

  #load(): OpaWasm.LoadedPolicy {
    const loaded = opaWasm.loadPolicySync(this.#module, { initial: 5, maximum: MAX_POLICY_PAGES });
    loaded.setData(this.#data);
    return loaded;
  }

  #needsWatch(kind: string, length: number): boolean {
    if (this.#alwaysWatch) return true;
    const known = this.#trusted.get(kind);
    return known === undefined || known.times < WATCHED_EVALUATIONS || length > known.longest;
  }

  #watch(kind: string, length: number, work: () => unknown): unknown {
    const started = performance.now();
    const answer = underWatch(work);
    if (performance.now() - started > SLOW_EVALUATION_MS) return answer;
    const known = this.#trusted.get(kind) ?? { times: 0, longest: 0 };
    if (this.#trusted.size >= MAX_TRUSTED_KINDS) this.#trusted.clear();
    // An input half as long again is no new kind of work.
    this.#trusted.set(kind, {
      times: known.times + 1,
      longest: Math.max(known.longest, Math.ceil(length * 1.5), 1024),
    });
    return answer;
  }
}

/** CPU time of this thread: what the policy used, however busy the machine is. */
export function threadMilliseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
}

function utf8(text: string): ArrayBuffer {
  const bytes = new TextEncoder().encode(text);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

function resultOf(results: unknown): unknown {
  if (!Array.isArray(results)) throw new Error('the module answers no result set');
  if (results.length === 0) return undefined;
  if (results.length > 1) throw new Error('the module answers more than one result');
  return (results[0] as { result?: unknown }).result;
}

/** opa's module throws texts and plain objects as well as errors. */
export function messageOf(error: unknown): string {
  if (typeof error === 'string') return error.slice(0, 200);
  if (typeof error === 'object' && error !== null && 'message' in error) {
    return isTimeout(error) ? 'it took too long' : String(error.message).slice(0, 200);
  }
  return 'it failed';
}
