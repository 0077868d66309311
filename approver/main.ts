// The approver as a service: store, desk, bus and HTTP put together, and taken apart again.
// Invariant: it hears requests only once it can answer for them, and close() leaves nothing
// running.

import { randomBytes, randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import type { JSONWebKeySet } from 'jose';
import type { Bus, Subscription } from '../bus/bus.ts';
import type { LedgerWriter } from '../ledger/contract.ts';
import { MODE_CHANGED } from '../proxy/contract.ts';
import { takeActs } from './acts.ts';
import { Streams } from './api/events.ts';
import type { OidcSettings } from './api/oidc.ts';
import { serve } from './api/server.ts';
import {
  HOLD_FIND,
  HOLD_OUTCOME,
  HOLD_REDEEM,
  HOLD_REQUESTED,
  HOLD_STATE,
  HOLD_TOLD,
  type HoldOutcome,
  type RedeemHold,
} from './contract.ts';
import { Desk } from './desk.ts';
import { ApproverError } from './errors.ts';
import { INVITE_MS } from './limits.ts';
import { type ApproverKey, approverKey } from './receipt.ts';
import { Reminders } from './remind.ts';
import {
  parseFind,
  parseMode,
  parseOutcome,
  parseRedeem,
  parseRequest,
  parseState,
  parseTold,
} from './request.ts';
import { NO_ROUTING, type Routing } from './routing.ts';
import type { DeskEvent } from './settle.ts';
import type { PasskeyRules } from './sign.ts';
import type { Store } from './store.ts';
import { type SweepParts, startSweep } from './sweep.ts';
import { type Alert, Dispatcher, type DispatcherParts } from './webhook/dispatch.ts';
import { Integrations } from './webhook/integrations.ts';
import { Sealer } from './webhook/secret.ts';
import { Sender } from './webhook/send.ts';

export interface ApproverSettings {
  readonly store: Store;
  readonly bus: Bus;
  readonly ledger: LedgerWriter;
  /** PEM file of the approver's own Ed25519 key; made when it is not there. */
  readonly keyFile: string;
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly tls?: { readonly cert: string; readonly key: string };
  };
  /**
   * How people reach it; `http://localhost:PORT` when not given. Passkeys belong to its host name.
   */
  readonly publicUrl?: string;
  /** The ledger's public key (`<name>+<id>+<key>`): the page checks proofs with it. */
  readonly ledgerKey?: string;
  readonly oidc?: OidcSettings;
  /** Duty schedules and escalation (`parseRouting`); asked at every decision, so it may change. */
  readonly routing?: () => Routing;
  readonly instance?: string;
  /** Webhooks may be sent to private addresses (and plain http) where their operator says so. */
  readonly privateWebhooks?: boolean;
  /** Reverse proxies (addresses, networks) whose word for a caller's address is taken. */
  readonly trustProxy?: readonly string[];
  readonly now?: () => number;
  readonly log?: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export interface Approver {
  /** The address people open. */
  readonly url: string;
  readonly port: number;
  readonly desk: Desk;
  readonly webhooks: Dispatcher;
  readonly integrations: Integrations;
  jwks(): Promise<JSONWebKeySet>;
  /** A one-time link that signs this person in, to enrol a passkey. */
  invite(signer: string): Promise<string>;
  close(): Promise<void>;
}

export async function startApprover(settings: ApproverSettings): Promise<Approver> {
  const { store, bus, ledger } = settings;
  const now = settings.now ?? Date.now;
  const log = settings.log ?? (() => {});
  const instance = `approver/${settings.instance ?? 'embedded'}`;
  const key = await approverKey(settings.keyFile);
  const jwk = JSON.stringify({ ...key.jwk, kid: key.kid, alg: 'EdDSA', use: 'sig' });
  await store.signers.addApproverKey(key.kid, jwk, now());
  await takeActs({ store, ledger, instance, now, log });
  // Filled below: the port is known only once it listens, and passkeys belong to the address.
  const origins: string[] = [];
  const passkeys = { origins, rpId: 'localhost' };
  const routing = settings.routing ?? (() => NO_ROUTING);
  const streams = new Streams();
  const page = () => origins[0] ?? '';
  const allowPrivate = settings.privateWebhooks === true;
  const out = messengers({ store, now, routing, allowPrivate, page, log }, key);
  const { dispatcher, integrations } = out;
  const told = teller(bus, streams, dispatcher);
  const link = async (name: string) => `${page()}/#invite=${await makeInvite(store, name, now())}`;
  const rooms = { store, ledger, instance, passkeys, now, routing, log };
  const desk = new Desk({ ...rooms, bus, key, told: told.tell });
  if (settings.publicUrl !== undefined) setOrigin(settings.publicUrl, origins, passkeys);
  const app = await serve(
    {
      ...rooms,
      ...out,
      desk,
      streams,
      key,
      origins,
      oidc: settings.oidc ?? null,
      trustProxy: settings.trustProxy ?? [],
      invite: link,
      ledgerKey: settings.ledgerKey ?? null,
      unavailable: () => bus.unavailable ?? ledger.unavailable,
    },
    settings.listen,
  ).catch(async (e: unknown) => {
    await dispatcher.close();
    throw e;
  });
  const { port } = app.server.address() as AddressInfo;
  const local = `${settings.listen.tls ? 'https' : 'http'}://localhost:${port}`;
  if (settings.publicUrl === undefined) setOrigin(local, origins, passkeys);
  origins.push(local, local.replace('localhost', '127.0.0.1'));
  const subscriptions = await hear(desk, store, dispatcher, bus, log);
  const others = await told.listen();
  const away = () => ({ ledger: ledger.unavailable, bus: bus.unavailable });
  const stopSweep = sweeping({ ...rooms, desk, away }, dispatcher);
  return {
    url: origins[0] ?? local,
    port,
    desk,
    webhooks: dispatcher,
    integrations,
    jwks: async () => ({ keys: (await store.signers.approverKeys()).map((k) => JSON.parse(k)) }),
    invite: link,
    close: async () => {
      for (const s of [others, ...subscriptions]) await s.close();
      await stopSweep();
      streams.close();
      await dispatcher.close();
      await app.close();
    },
  };
}

/** Tells the pages here, the other replicas for theirs, and the webhooks. */
function teller(bus: Bus, streams: Streams, dispatcher: Dispatcher) {
  const replica = randomUUID();
  return {
    tell: (event: DeskEvent): Promise<void> => {
      streams.tell(event);
      // A bus that is away costs other replicas' pages a moment, not the decision.
      void bus.publish(HOLD_TOLD, { ...event, replica }, randomUUID()).catch(() => {});
      return dispatcher.tell(event);
    },
    listen: (): Promise<Subscription> =>
      bus.listen(HOLD_TOLD, async (_subject, body) => {
        const event = parseTold(body);
        if (event && event.replica !== replica) streams.tell(event);
      }),
  };
}

/** What goes out, and what it is signed and sealed with. */
function messengers(
  p: Omit<DispatcherParts, 'sealer' | 'sender' | 'integrations'>,
  key: ApproverKey,
) {
  const sealer = new Sealer(key.private);
  const out = {
    ...p,
    sealer,
    sender: new Sender(),
    integrations: new Integrations({ ...p, sealer }),
  };
  return { ...out, dispatcher: new Dispatcher(out) };
}

function sweeping(
  p: Omit<SweepParts, 'reminders' | 'alert'> & { readonly routing: () => Routing },
  dispatcher: Dispatcher,
): () => Promise<void> {
  const alert = (a: Alert) => dispatcher.alert(a);
  const remind = (hold: string, stage: string) => dispatcher.remind(hold, stage);
  return startSweep({ ...p, alert, reminders: new Reminders({ ...p, remind, alert }) });
}

function setOrigin(url: string, origins: string[], passkeys: { rpId: string }): void {
  const { origin, hostname } = new URL(url);
  origins.push(origin);
  passkeys.rpId = hostname;
}

async function makeInvite(store: Store, signer: string, now: number): Promise<string> {
  const person = await store.signers.get(signer);
  if (!person) {
    throw new ApproverError(
      'not-found',
      `there is no signer ${signer}: holdpoint signer add "${signer}"`,
    );
  }
  const token = randomBytes(24).toString('base64url');
  await store.signers.keepSecret(token, {
    kind: 'invite',
    signer: person.name,
    detail: '',
    created: now,
    expires: now + INVITE_MS,
  });
  return token;
}

/** Whoever asks for another's approval, or for other bytes than were approved, is told of. */
async function lookInto(ask: RedeemHold, store: Store, dispatcher: Dispatcher): Promise<void> {
  const hold = await store.holds.resolve(ask.hold);
  if (!hold) return;
  const { agent, digest } = hold.request;
  if (agent.name === ask.agent && digest === ask.digest) return;
  const what =
    agent.name === ask.agent
      ? 'an agent tried to use an approval for something else than was approved'
      : 'an agent tried to use an approval of another agent';
  const detail = { hold: hold.id, agent: ask.agent, approved_for: agent.name };
  await dispatcher.alert({ id: `misuse ${hold.id} ${ask.agent} ${ask.digest}`, what, detail });
}

async function hear(
  desk: Desk,
  store: Store,
  dispatcher: Dispatcher,
  bus: Bus,
  log: (message: string, detail: { readonly [name: string]: unknown }) => void,
): Promise<readonly Subscription[]> {
  return [
    await bus.respond(HOLD_FIND, async (_subject, body) => {
      const { digest, agent } = parseFind(body);
      return await desk.find(digest, agent);
    }),
    await bus.respond(HOLD_STATE, async (_subject, body) => {
      return await desk.state(parseState(body).hold);
    }),
    await bus.respond(HOLD_REDEEM, async (_subject, body) => {
      const ask = parseRedeem(body);
      const answer = await desk.redeem(ask);
      if (!answer.ok) void lookInto(ask, store, dispatcher).catch(() => {});
      return answer;
    }),
    await bus.consume('holdpoint-approver', HOLD_REQUESTED, async (_subject, body) => {
      const parsed = parseRequest(body);
      if (parsed.ok) return void (await desk.receive(parsed.value));
      const id = (body as { id?: unknown } | null)?.id;
      if (typeof id === 'string' && /^h-[a-z2-7]{16}$/.test(id)) await desk.refuse(id, parsed.why);
      else log('a hold request without an id was dropped', { why: parsed.why });
    }),
    await bus.consume('holdpoint-approver-modes', MODE_CHANGED, async (_subject, body) => {
      const change = parseMode(body);
      if (change) await dispatcher.tellMode(change);
      else log('a mode change that is none was dropped', {});
    }),
    await bus.consume('holdpoint-approver-outcomes', HOLD_OUTCOME, async (_subject, body) => {
      let outcome: HoldOutcome;
      try {
        outcome = parseOutcome(body);
      } catch (e) {
        return log('an outcome that is no outcome was dropped', { why: String(e) });
      }
      await desk.outcome(outcome);
    }),
  ];
}

export type { PasskeyRules };
