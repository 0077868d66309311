// An operation's decision as a ledger entry: who asked what, what it would do, what was decided and
// by which policy.
// Invariant: an entry always fits the ledger; what is cut is replaced by its SHA-256, never dropped
// unseen.
import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import type { Asked, DecisionEntry, StatementRecord } from '../../ledger/contract.ts';
import type { Effect } from '../effect/effect.ts';
import type { Operation, Parameter, Stated } from '../operation.ts';
import type { Decision, Mode } from '../verdict/verdict.ts';
import {
  EFFECTS_KEPT,
  ENTRY_BYTES,
  NORMALIZED_CHARS,
  OBJECTS_KEPT,
  PARAMETER_TEXT_CHARS,
  PARAMETERS_KEPT,
  STATED_CHARS,
  STATEMENT_INLINE_BYTES,
} from './limits.ts';
import { redacted } from './redact.ts';

/**
 * What the ledger keeps of literals, by target: `full` the statement and its values; `sealed` the
 * normalized text, and beside the log all of it encrypted; `none` the normalized text alone.
 */
export type Literals = StatementRecord['literals'];

export interface DecisionDetail {
  readonly disposition: DecisionEntry['disposition'];
  readonly mode: Mode;
  /** `proxy/<instance>`. */
  readonly by: string;
  readonly hold?: string | null;
  readonly binding?: string | null;
  readonly receipt?: string | null;
  readonly literals?: Literals;
  /** The encrypted body where literals are `sealed`. */
  readonly sealed?: Uint8Array | null;
  readonly now?: Date;
}

export interface DecisionRecord {
  readonly entry: DecisionEntry;
  /** The statement's bytes, or all of it sealed, where the entry has only the digest; else null. */
  readonly body: Uint8Array | null;
}

export function asked(operation: Operation): Asked {
  return {
    operation: operation.id,
    session: operation.session.id,
    agent: operation.agent.name,
    target: operation.target.name,
    environment: operation.target.environment,
    engine: operation.engine,
    database: operation.target.database,
  };
}

/**
 * Text that JSON can carry: lone surrogates replaced, and cut with a mark that says how much is
 * missing.
 */
export function cut(text: string, chars: number): string {
  const whole = text.toWellFormed();
  if (whole.length <= chars) return whole;
  return `${whole.slice(0, chars).toWellFormed()}… (${whole.length - chars} characters more)`;
}

function sha256(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}

function parameterOf(
  parameter: Parameter,
  literals: Literals,
  chars: number,
): StatementRecord['parameters'][number] {
  const { type, format, bytes, text } = parameter;
  const fits = text === null || text.length <= chars;
  const shown = literals === 'full' && fits ? (text?.toWellFormed() ?? null) : null;
  // The digest of a short value gives the value away, so without literals there is none.
  const digest = bytes === null || literals !== 'full' || fits ? null : sha256(bytes);
  return { type, format, text: shown, sha256: digest };
}

function parametersOf(
  operation: Operation,
  literals: Literals,
  tight: boolean,
): StatementRecord['parameters'] {
  const chars = tight ? 64 : PARAMETER_TEXT_CHARS;
  const kept = tight ? operation.parameters.slice(0, PARAMETERS_KEPT) : operation.parameters;
  const records = kept.map((parameter) => parameterOf(parameter, literals, chars));
  const more = operation.parameters.length - kept.length;
  if (more === 0) return records;
  const all = operation.parameters.map((p) =>
    p.bytes === null ? null : Buffer.from(p.bytes).toString('base64'),
  );
  const digest = literals === 'full' ? sha256(JSON.stringify(all)) : null;
  return [
    ...records,
    {
      type: `${more} more; SHA-256 of all as a JSON array of base64`,
      format: 'text',
      text: null,
      sha256: digest,
    },
  ];
}

function effectsOf(effects: readonly Effect[], tight: boolean): readonly Effect[] {
  if (!tight) return effects;
  const more = effects.length - EFFECTS_KEPT;
  return effects.slice(0, EFFECTS_KEPT).map((effect, at) => {
    const over = effect.objects.length - OBJECTS_KEPT;
    const notes = [
      ...(effect.opaque === null ? [] : [cut(effect.opaque, 200)]),
      ...(over > 0 ? [`${over} more objects`] : []),
      ...(more > 0 && at === EFFECTS_KEPT - 1 ? [`${more} more effects`] : []),
    ];
    const objects = effect.objects.slice(0, OBJECTS_KEPT).map((object) => ({
      ...object,
      columns: object.columns.slice(0, 8),
      via: object.via.slice(0, 4).map((via) => cut(via, 128)),
    }));
    return { ...effect, objects, opaque: notes.length === 0 ? null : notes.join('; ') };
  });
}

function statedOf(stated: Stated): Stated {
  const short = (text: string | null): string | null =>
    text === null ? null : cut(text, STATED_CHARS);
  return {
    reason: short(stated.reason),
    task: short(stated.task),
    on_behalf_of: short(stated.on_behalf_of),
  };
}

function build(
  operation: Operation,
  decision: Decision,
  detail: DecisionDetail,
  tight: boolean,
): DecisionRecord {
  const { bytes, analysis } = operation;
  const { literals = 'full' } = detail;
  const inline = literals === 'full' && bytes.length <= (tight ? 2_048 : STATEMENT_INLINE_BYTES);
  const utf8 = isUtf8(bytes);
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const body = literals === 'full' ? (inline ? null : bytes) : (detail.sealed ?? null);
  const statement: StatementRecord = {
    literals,
    // The digest of a short statement gives its values away: without literals there is none.
    sha256: literals === 'full' ? sha256(bytes) : body === null ? null : sha256(body),
    bytes: bytes.length,
    text: inline && utf8 ? view.toString('utf8') : null,
    base64: inline && !utf8 ? view.toString('base64') : null,
    fingerprint: analysis.fingerprint,
    normalized: cut(analysis.normalized, tight ? 1_024 : NORMALIZED_CHARS),
    parameters: parametersOf(operation, literals, tight),
  };
  const verdict = { ...decision.verdict, reason: cut(decision.verdict.reason, STATED_CHARS) };
  const entry: DecisionEntry = {
    v: 1,
    time: (detail.now ?? new Date()).toISOString(),
    by: detail.by,
    kind: 'decision',
    ...asked(operation),
    class: analysis.class,
    effects: effectsOf(analysis.effects, tight),
    statement,
    verdict,
    disposition: detail.disposition,
    policy: decision.policy,
    mode: detail.mode,
    stated: statedOf(operation.session.stated),
    in_transaction: operation.in_transaction,
    hold: detail.hold ?? null,
    binding: detail.binding ?? null,
    receipt: detail.receipt ?? null,
  };
  return { entry, body };
}

/** The entry of one decision, and the statement's bytes when they are stored beside the log. */
export function decisionEntry(
  operation: Operation,
  decision: Decision,
  detail: DecisionDetail,
): DecisionRecord {
  const whole = (detail.literals ?? 'full') === 'full';
  const [shown, judged] = whole ? [operation, decision] : redacted(operation, decision);
  const record = build(shown, judged, detail, false);
  if (Buffer.byteLength(JSON.stringify(record.entry)) <= ENTRY_BYTES) return record;
  return build(shown, judged, detail, true);
}

/** Idempotence keys: the operation and the phase it is in. */
export function decisionKey(entry: DecisionEntry): string {
  return `${entry.operation}/decision/${entry.disposition}`;
}
