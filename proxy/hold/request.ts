// An operation that needs people, as the request they are shown: binding, digest, sentences,
// demands.
// Invariant: the binding is made here from the very bytes that would be forwarded, and is all that
// people sign.
import { createHash } from 'node:crypto';
import { digestOf } from '../../approver/binding.ts';
import type {
  Binding,
  HeldParameter,
  HoldRequest,
  RecentOperation,
} from '../../approver/contract.ts';
import { describe } from '../effect/describe.ts';
import type { Operation, Parameter } from '../operation.ts';
import type { HoldVerdict } from '../verdict/verdict.ts';

export interface HeldAs {
  readonly verdict: HoldVerdict;
  /** The policy's digest: `Decision.policy`. */
  readonly policy: string;
  /** Engine identities of what the names mean now; order does not matter. */
  readonly objects: readonly string[];
  /** false inside a transaction: the client gets the hold's error at once. */
  readonly waits: boolean;
  /** What the session did before; shown, not signed. */
  readonly recent?: readonly RecentOperation[];
}

export function bindingOf(
  operation: Operation,
  policy: string,
  objects: readonly string[],
): Binding {
  return {
    v: 1,
    statement: Buffer.from(operation.bytes).toString('base64'),
    parameters: operation.parameters.map(bound),
    target: operation.target.name,
    environment: operation.target.environment,
    database: operation.target.database,
    agent: operation.agent.name,
    settings: { ...operation.session.settings },
    policy,
    objects: [...new Set(objects)].sort(),
  };
}

export function holdRequestOf(operation: Operation, as: HeldAs): HoldRequest {
  const { verdict } = as;
  const binding = bindingOf(operation, as.policy, as.objects);
  const digest = digestOf(binding);
  const asked = Date.parse(operation.asked);
  return {
    id: holdId(digest, operation.id),
    operation: operation.id,
    binding,
    digest,
    statement: Buffer.from(operation.bytes).toString('utf8'),
    parameters: operation.parameters.map((p) => ({ ...bound(p), text: p.text })),
    class: operation.analysis.class,
    effects: operation.analysis.effects,
    sentences: operation.analysis.effects.map((e) => describe(e)),
    rule: verdict.rule,
    reason: verdict.reason,
    demands: verdict.demands,
    target: operation.target,
    agent: operation.agent,
    session: operation.session,
    recent: as.recent ?? [],
    in_transaction: operation.in_transaction,
    transaction_age_ms: operation.transaction_age_ms,
    impact: null,
    asked: new Date(asked).toISOString(),
    expires: new Date(asked + verdict.expires_ms).toISOString(),
    waits_until: as.waits ? new Date(asked + verdict.wait_ms).toISOString() : null,
  };
}

function bound(p: Parameter): Pick<HeldParameter, 'type' | 'format' | 'base64'> {
  const base64 = p.bytes === null ? null : Buffer.from(p.bytes).toString('base64');
  return { type: p.type, format: p.format, base64 };
}

/**
 * `h-` and 16 base32 characters of the binding and the first asking: the same request twice is one
 * hold.
 */
function holdId(digest: string, operation: string): string {
  const hash = createHash('sha256').update(`${digest}\n${operation}`).digest();
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  let id = 'h-';
  for (let i = 0; i < 16; i++) id += letters[(hash[i] ?? 0) % 32];
  return id;
}
