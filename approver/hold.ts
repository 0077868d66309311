// What signatures a hold still wants, and who may give them. Pure: no clock, no store.
// Invariant: a demand is met by that many different people of its group, all of them still signers.

import { channelsOf, type HoldDemand } from '../proxy/verdict/verdict.ts';
import type { HoldRequest } from './contract.ts';
import type { Signature } from './store/holds.ts';
import { foldName, type Signer } from './store/signers.ts';

export interface DemandState extends HoldDemand {
  /** Who has signed for it. */
  readonly signed: readonly string[];
  readonly met: boolean;
  /** Who could still sign for it. */
  readonly able: readonly string[];
}

/** A demand's groups: any one of them will do. */
export function groupsOf(demand: HoldDemand): readonly string[] {
  return demand.group
    .split('|')
    .map((g) => g.trim())
    .filter((g) => g !== '');
}

function inGroup(signer: Signer, demand: HoldDemand): boolean {
  return groupsOf(demand).some((g) => signer.groups.includes(g));
}

/** May this person decide on this hold at all (deny it, or approve it if it is not their own)? */
export function concerns(request: HoldRequest, signer: Signer): boolean {
  return (
    signer.active &&
    signer.roles.includes('signer') &&
    request.demands.some((d) => inGroup(signer, d))
  );
}

/**
 * Why this person's word does not count when it comes this way, or null. Every demand of their
 * groups has to take it: one signature is never half of what was wanted.
 */
export function channelFault(request: HoldRequest, signer: Signer, channel: string): string | null {
  const closed = request.demands.find(
    (d) => inGroup(signer, d) && !channelsOf(d).includes(channel),
  );
  if (!closed) return null;
  const open = channelsOf(closed).join(' or ');
  return `rule ${closed.rule} takes decisions by ${open}, and not by ${channel}`;
}

/**
 * Why this person may not approve it, or null. What an agent states can only take a signer away,
 * never add one.
 */
export function ownHold(request: HoldRequest, signer: Signer): string | null {
  const names = [signer.name, ...signer.identities].map(foldName);
  if (names.includes(foldName(request.agent.name))) {
    return `${signer.name} is the agent that asks: somebody else has to sign`;
  }
  const behalf = request.session.stated.on_behalf_of;
  if (behalf !== null && names.includes(foldName(behalf))) {
    return `the agent asks on behalf of ${signer.name}: somebody else has to sign`;
  }
  return null;
}

/**
 * Each demand with its signatures. One signature counts for every demand whose group the person is
 * in and that takes its channel; within one demand each person counts once.
 */
export function demandStates(
  request: HoldRequest,
  signatures: readonly Signature[],
  signers: readonly Signer[],
): readonly DemandState[] {
  const approvals = signatures.filter((s) => s.decision === 'approve');
  const given = (who: Signer) => approvals.find((s) => foldName(s.signer) === foldName(who.name));
  const usable = signers.filter((s) => concerns(request, s) && ownHold(request, s) === null);
  return request.demands.map((demand) => {
    const able = usable.filter((s) => inGroup(s, demand));
    const channels = channelsOf(demand);
    const counts = (s: Signer) => channels.includes(given(s)?.channel ?? '');
    const signed = able.filter(counts).map((s) => s.name);
    return {
      ...demand,
      signed,
      met: signed.length >= demand.signatures,
      able: able.filter((s) => given(s) === undefined).map((s) => s.name),
    };
  });
}

/** No demand at all is not an approval: somebody has to sign. */
export function approved(states: readonly DemandState[]): boolean {
  return states.length > 0 && states.every((d) => d.met) && states.some((d) => d.signed.length > 0);
}

/** `2 signatures of db-owners (1 given)`, for people and for agents. */
export function waitingFor(states: readonly DemandState[]): string {
  const open = states.filter((d) => !d.met);
  if (open.length === 0) return 'nobody';
  return open
    .map((d) => {
      const n = d.signatures === 1 ? 'a signature' : `${d.signatures} signatures`;
      const given = d.signed.length > 0 ? ` (${d.signed.length} given)` : '';
      const by = d.channels ? ` by ${d.channels.join(' or ')}` : '';
      return `${n} of ${groupsOf(d).join(' or ')}${by}${given}`;
    })
    .join(' and ');
}

/** Same words, before anybody has signed, from the demands alone. */
export function wanted(demands: readonly HoldDemand[]): string {
  return waitingFor(demands.map((d) => ({ ...d, signed: [], met: d.signatures <= 0, able: [] })));
}
