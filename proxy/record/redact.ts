// What the record says of an operation on a target whose literals stay out of it: shapes and names,
// no values.
// Invariant: where it can't be told apart from a literal, text is left out as a whole; nothing here
// changes what is judged, shown to people or sent.
import { hash } from 'node:crypto';
import type { Analysis, Effect, EffectObject } from '../effect/effect.ts';
import type { Operation } from '../operation.ts';
import type { Decision } from '../verdict/verdict.ts';
import { REDACT_VALUE_CHARS, REDACT_VALUES } from './limits.ts';

const LEFT_OUT = '(left out)';

/**
 * One token that is a literal, a comment, a name or a placeholder. Names come before numbers, so
 * that `t1` stays whole.
 */
const TOKEN = new RegExp(
  [
    String.raw`--[^\n]*|/\*[^]*?\*/`, // comments
    String.raw`(?<quoted>(?:\b[a-zA-Z]{1,2}&?)?'(?:[^'\\]|'')*'|\$(?:[a-zA-Z_]\w*)?\$[^]*?\$\w*\$)`,
    String.raw`(?<name>"(?:[^"]|"")*"|[a-zA-Z_\u0080-\uffff][\w$\u0080-\uffff]*|\$\d+)`,
    String.raw`(?<number>\.?\d[\w.]*)`,
  ].join('|'),
  'g',
);

/** What a setting is given may be a bare word. */
const SETTING = new RegExp(
  String.raw`^\s*(?:set|alter\s+(?:system|role|user|database|function|procedure|routine))\b` +
    String.raw`[^=]*?(?:=|\bto\b)`,
  'i',
);

/** Normalized text without what normalizing left of literals; null where that can't be told. */
function withoutLiterals(normalized: string): string | null {
  const kept = normalized.replace(TOKEN, (...found) => {
    const groups: { quoted?: string; name?: string; number?: string } = found.at(-1);
    if (groups.name !== undefined) return groups.name;
    return groups.quoted === undefined && groups.number === undefined ? ' ' : '?';
  });
  // A quote or a comment's mark that is left was not understood.
  if (/['`\\]|\/\*|\*\/|\$[^\d]/.test(kept)) return null;
  const setting = SETTING.exec(kept)?.[0];
  return (setting === undefined ? kept : `${setting} ?`).replaceAll(/\s+/g, ' ').trim();
}

/** Values in statement and parameters, longest first; null when there are too many. */
function valuesOf({ bytes, parameters }: Operation): readonly string[] | null {
  const text = Buffer.from(bytes).toString('utf8');
  const values = new Set<string>();
  const add = (value: string | null): void => {
    if (value !== null && value.trim().length >= REDACT_VALUE_CHARS) values.add(value.trim());
  };
  // Both sides of every quote: which is inside need not be told.
  for (const part of text.split(/['"`]|\$\w*\$/)) add(part);
  for (const word of text.match(/[\w.@:+/-]*\d[\w.@:+/-]*/g) ?? []) add(word);
  for (const parameter of parameters) add(parameter.text);
  if (values.size > REDACT_VALUES) return null;
  return [...values].sort((a, b) => b.length - a.length);
}

function scrub(text: string, values: readonly string[] | null): string {
  if (values === null) return LEFT_OUT;
  let kept = text;
  for (const value of values) kept = kept.replaceAll(value, '?');
  // Quoted parts of a parser's message are the statement's own words.
  return kept.replaceAll(/'[^']*'|"[^"]*"/g, '?');
}

/** Kinds whose name may be a literal of the statement: a path, a connection string, a number. */
const LITERAL_KINDS: ReadonlySet<EffectObject['kind']> = new Set<EffectObject['kind']>([
  'file',
  'program',
  'slot',
  'server',
  'large-object',
  'process',
  'channel',
  'other',
]);

function effectOf(effect: Effect, values: readonly string[] | null): Effect {
  return {
    ...effect,
    opaque: effect.opaque === null ? null : scrub(effect.opaque, values),
    objects: effect.objects.map((object) => ({
      ...object,
      name: LITERAL_KINDS.has(object.kind) ? LEFT_OUT : object.name,
      via: object.via.map((via) => scrub(via, values)),
    })),
  };
}

function analysisOf(operation: Operation, values: readonly string[] | null): Analysis {
  const { analysis } = operation;
  // What can't be parsed has no literals that could be told from its words.
  const parsed = analysis.effects.every((effect) => !/parse|syntax/i.test(effect.opaque ?? ''));
  const normalized = (parsed ? withoutLiterals(analysis.normalized) : null) ?? LEFT_OUT;
  return {
    class: analysis.class,
    complete: analysis.complete,
    unscoped: analysis.unscoped,
    effects: analysis.effects.map((effect) => effectOf(effect, values)),
    normalized,
    fingerprint: hash('sha256', normalized, 'hex').slice(0, 16),
  };
}

/** The same operation and decision, as they may be recorded. */
export function redacted(operation: Operation, decision: Decision): [Operation, Decision] {
  const values = valuesOf(operation);
  const nothing = { reason: null, task: null, on_behalf_of: null };
  const { verdict, policy } = decision;
  const { id, application, client_address, started, settings } = operation.session;
  // Field by field: what an engine hands over may have getters that a copy would lose.
  const shown: Operation = {
    id: operation.id,
    engine: operation.engine,
    bytes: operation.bytes,
    parameters: operation.parameters,
    analysis: analysisOf(operation, values),
    target: operation.target,
    agent: operation.agent,
    session: { id, application, client_address, started, stated: nothing, settings },
    in_transaction: operation.in_transaction,
    transaction_age_ms: operation.transaction_age_ms,
    asked: operation.asked,
  };
  return [shown, { policy, verdict: { ...verdict, reason: scrub(verdict.reason, values) } }];
}

/** An engine's own word: a tag or a code passes, a sentence that may quote values does not. */
export function redactedAnswer(answer: string | null): string | null {
  return answer === null || /^[\w ;,:()-]{0,200}$/.test(answer) ? answer : LEFT_OUT;
}
