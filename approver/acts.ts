// Acts of the command line, done by the approver: checked, put on record, and then only done.
// Invariant: no record, no act, as on the page; a crash between the two does it later, once.
import type { LedgerWriter } from '../ledger/contract.ts';
import { ApproverError } from './errors.ts';
import { ACTS_AT_ONCE } from './limits.ts';
import { reasonOf } from './settle.ts';
import type { Act, WaitingAct } from './store/acts.ts';
import type { Store } from './store.ts';

export interface ActParts {
  readonly store: Store;
  readonly ledger: LedgerWriter;
  readonly instance: string;
  readonly now: () => number;
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

/** Does what waits. Without a ledger it waits on; what fails is in nobody's way. */
export async function takeActs(p: ActParts): Promise<void> {
  try {
    for (const waiting of await p.store.acts.waiting(ACTS_AT_ONCE)) {
      if (!(await takeAct(p, waiting))) return;
    }
  } catch (e) {
    p.log('acts of the command line can’t be done now', { why: reasonOf(e) });
  }
}

/** false while it can't be recorded. */
async function takeAct(p: ActParts, waiting: WaitingAct): Promise<boolean> {
  const { acts } = p.store;
  try {
    await check(p.store, waiting.act);
    if (!(await record(p, waiting))) return false;
    await perform(p.store, waiting.act, p.now());
    await acts.remove(waiting.id);
  } catch (e) {
    if (!(e instanceof ApproverError)) throw e;
    await acts.fail(waiting.id, e.message);
  }
  return true;
}

async function record(p: ActParts, { id, act, who }: WaitingAct): Promise<boolean> {
  const time = new Date(p.now()).toISOString();
  const detail = { by: 'command line' };
  const entry = { v: 1, kind: 'administration', time, by: p.instance } as const;
  const said = { ...entry, act: act.kind, who, what: whatOf(act), detail };
  try {
    await p.ledger.append([{ key: `act/${id}`, entry: said }]);
    return true;
  } catch (e) {
    p.log('an act of the command line waits for the ledger', { act: act.kind, why: reasonOf(e) });
    return false;
  }
}

function whatOf(act: Act): string {
  switch (act.kind) {
    case 'signer added': {
      const key = act.key ? `, key ${act.key.thumbprint}` : '';
      return `${act.name}: ${act.groups.join(', ')} (${act.roles.join(', ')})${key}`;
    }
    case 'key revoked':
      return act.thumbprint;
    case 'account linked':
      return `${act.account} to ${act.name}`;
    case 'account unlinked':
      return `${act.account} from ${act.name}`;
    case 'signer invited':
      return act.name;
  }
}

/** Throws what would keep it from being done, so that no record says that it was. */
async function check({ signers }: Store, act: Act): Promise<void> {
  if (act.kind === 'key revoked') {
    const key = await signers.key(act.thumbprint);
    if (key) return;
    throw new ApproverError('not-found', `no key ${act.thumbprint}: holdpoint signer list`);
  }
  if (act.kind === 'signer added') {
    signers.checkName(act.name);
    const key = act.key && (await signers.key(act.key.thumbprint));
    const person = await signers.get(act.name);
    for (const identity of act.identities) {
      const owner = await signers.byIdentity(identity);
      if (!owner || owner.name === person?.name) continue;
      throw new ApproverError('conflict', `${identity} is already a name of ${owner.name}`);
    }
    if (key && (key.revoked !== null || key.signer !== person?.name)) {
      throw new ApproverError(
        'conflict',
        'this key is already registered, for somebody else or as a revoked one: make a new key',
      );
    }
    return;
  }
  const person = await signers.get(act.name);
  if (!person) {
    throw new ApproverError('not-found', `there is no signer ${act.name}: holdpoint signer add`);
  }
  if (act.kind === 'account linked') {
    const owner = await signers.byIdentity(act.account);
    if (!owner || owner.name === person.name) return;
    throw new ApproverError(
      'conflict',
      `${act.account} is linked to ${owner.name}: unlink it first`,
    );
  }
}

async function perform({ signers }: Store, act: Act, now: number): Promise<void> {
  switch (act.kind) {
    case 'signer added': {
      const { key, name, ...rest } = act;
      const person = await signers.put(name, rest, now);
      if (!key) return;
      const fixed = { method: 'ed25519', credential: null, detail: '{}', counter: 0 } as const;
      await signers.addKey({ ...key, ...fixed, signer: person.name, created: now });
      return;
    }
    case 'key revoked':
      await signers.revokeKey(act.thumbprint, now);
      return;
    case 'account linked':
      return await signers.link(act.name, act.account);
    case 'account unlinked':
      await signers.unlink(act.name, act.account);
      return;
    case 'signer invited':
      return await signers.keepInvite(act.hash, act.name, now, act.expires);
  }
}
