// What the policy is asked and what it may answer.
// Invariant: the stage is total: every failure is a `deny` with rule `policy-error`.
import type { Analysis, Effect } from '../effect/effect.ts';
import type { AgentView, EngineName, SessionView, TargetView } from '../operation.ts';

/** `normal`, or what an operator or a freeze window has set for all, a target or an agent. */
export const MODES = ['normal', 'freeze', 'read-only', 'killed'] as const;
export type Mode = (typeof MODES)[number];

export interface AllowVerdict {
  readonly kind: 'allow';
  readonly rule: string;
  readonly reason: string;
}
export interface HoldVerdict {
  readonly kind: 'hold';
  readonly rule: string;
  readonly reason: string;
  /** Every demand of every hold rule that fired; all must be met. */
  readonly demands: readonly HoldDemand[];
  /** How long an unsigned hold, or an approved but unused one, lives. */
  readonly expires_ms: number;
  /** How long the client's connection waits before it gets the hold's error. */
  readonly wait_ms: number;
}
export interface DenyVerdict {
  readonly kind: 'deny';
  readonly rule: string;
  readonly reason: string;
}
export type Verdict = AllowVerdict | HoldVerdict | DenyVerdict;

/** Signatures wanted from one group; `group` may name several separated by `|` (any of them). */
export interface HoldDemand {
  readonly rule: string;
  readonly group: string;
  readonly signatures: number;
  /** The ways of signing that count for it; none said: {@link KEY_CHANNELS}. */
  readonly channels?: readonly string[];
}

/** Signatures by a person's own key. */
export const KEY_CHANNELS: readonly string[] = ['cli', 'page'];

/** The ways of signing: a person's own key, or a click that the approver attests. */
export const CHANNEL = /^(?:page|cli|slack|teams|callback:[a-z0-9][a-z0-9-]{0,60})$/;

export function channelsOf(demand: Pick<HoldDemand, 'channels'>): readonly string[] {
  return demand.channels ?? KEY_CHANNELS;
}

/**
 * `input` of the policy, for one distinct effect of an operation. Field names are the contract with
 * security's Rego.
 */
export interface PolicyInput {
  readonly effect: Effect;
  readonly operation: {
    readonly id: string;
    readonly engine: EngineName;
    readonly statement: string;
    readonly sha256: string;
    readonly normalized: string;
    readonly fingerprint: string;
    readonly class: Analysis['class'];
    readonly complete: boolean;
    readonly unscoped: boolean;
    readonly in_transaction: boolean;
    readonly parameters: readonly (string | null)[];
  };
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly session: SessionView;
  readonly mode: Mode;
  readonly impact: null;
  /** RFC 3339, UTC. A policy that reads it gives up the verdict cache. */
  readonly time: string;
}

/** The answer for a whole operation: the worst verdict over its effects. */
export interface Decision {
  readonly verdict: Verdict;
  /** SHA-256 (hex) of policy text, data and shipped library: names the policy that decided. */
  readonly policy: string;
}
