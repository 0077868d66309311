// Decisions that come in by a chat or another program: taken once, from people we know, where the
// policy takes them.
// Invariant: nobody learns of a hold that does not concern them, and nobody approves here what the
// channel does not show whole.
import type { Desk } from '../desk.ts';
import { ApproverError } from '../errors.ts';
import { channelFault, concerns, ownHold } from '../hold.ts';
import { INBOUND_SKEW_MS } from '../limits.ts';
import type { ApproverKey } from '../receipt.ts';
import { loadRoster, type Routing } from '../routing.ts';
import type { Hold } from '../store/holds.ts';
import type { Store } from '../store.ts';
import { attest, type Said } from './attest.ts';
import type { Integrations } from './integrations.ts';
import type { Sender } from './send.ts';
import type { Verified } from './verify.ts';

export interface InboundParts {
  readonly store: Store;
  readonly desk: Desk;
  readonly key: ApproverKey;
  readonly integrations: Integrations;
  readonly sender: Sender;
  readonly now: () => number;
  readonly routing: () => Routing;
  /** Where people look at holds. */
  readonly page: () => string;
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export class Inbound {
  readonly #p: InboundParts;

  constructor(parts: InboundParts) {
    this.#p = parts;
  }

  get parts(): InboundParts {
    return this.#p;
  }

  /** Throws unless it is from whom it says and comes for the first time. */
  async take(channel: string, verified: Verified): Promise<void> {
    if (!verified.ok) {
      this.#p.log('a request on a channel was refused', { channel, why: verified.why });
      throw new ApproverError('bad-signature', `the request is not taken: ${verified.why}`);
    }
    const now = this.#p.now();
    const kept = { kind: 'inbound', signer: null, detail: '', created: now } as const;
    const mark = markOf(channel, verified);
    const expires = now + 2 * INBOUND_SKEW_MS;
    if (await this.#p.store.signers.keepSecret(mark, { ...kept, expires })) return;
    throw new ApproverError('replayed', 'this very request was taken before');
  }

  /** It could not be done for a while: the same request may come again. */
  async giveBack(channel: string, verified: Verified): Promise<void> {
    await this.#p.store.signers.takeSecret('inbound', markOf(channel, verified), this.#p.now());
  }

  /** The hold that was meant, if this account may decide on it here; else throws why not. */
  async standing(said: Omit<Said, 'binding'>): Promise<Hold> {
    const { store, routing, now } = this.#p;
    const hold = await store.holds.resolve(said.hold);
    const person = await store.signers.byIdentity(said.account);
    const roster = await loadRoster(store.signers, routing(), now());
    const standing = hold && person && roster.who(hold, person);
    // Who is linked to nobody is told so by attest.ts, whatever they ask for.
    if (person && (!hold || !standing || !concerns(hold.request, standing))) {
      throw new ApproverError('not-found', `there is no hold ${said.hold} that concerns you`);
    }
    if (!hold || !standing) {
      await attest(this.#p.key, store.signers, { ...said, binding: '' }, now());
      throw new ApproverError('not-found', `there is no hold ${said.hold} that concerns you`);
    }
    const closed = channelFault(hold.request, standing, said.channel);
    if (closed !== null) throw new ApproverError('wrong-channel', closed);
    const own = said.decision === 'approve' ? ownHold(hold.request, standing) : null;
    if (own !== null) throw new ApproverError('self-approval', own);
    return hold;
  }

  async decide(said: Said): Promise<Hold> {
    const { store, key, now, desk } = this.#p;
    await this.standing(said);
    return await desk.decide(await attest(key, store.signers, said, now()));
  }

  urlOf(hold: string): string {
    return `${this.#p.page()}/holds/${hold}`;
  }
}

function markOf(channel: string, verified: Verified): string {
  return `${channel}\n${verified.ok ? verified.mark : ''}`;
}
