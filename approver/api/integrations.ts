// The API's routes about integrations: what may decide from outside, and whose account is whose.
// Invariant: every change is on record before it counts; secrets go in or out once and are never
// shown again.
import { z } from 'zod';
import { accountName } from '../account.ts';
import { ApproverError } from '../errors.ts';
import type { Store } from '../store.ts';
import { EVENTS } from '../webhook/dispatch.ts';
import { type Integrations, SLACK_API, TEAMS } from '../webhook/integrations.ts';
import { cursor, pageOf, pageQuery } from './paging.ts';
import { personOf } from './principal.ts';
import { type AnyRoute, route } from './route.ts';
import type { Noted } from './webhooks.ts';

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,60}$/);
const secret = z.string().min(16).max(500);
const publicKey = z
  .string()
  .regex(/^whpk_[A-Za-z0-9+/]{43}=$/, 'a public key is written whpk_ and its 32 bytes in base64');
const shown = z.object({
  name: z.string(),
  kind: z.string(),
  /** What a policy calls it. */
  channel: z.string(),
  settings: z.record(z.string(), z.string()),
  created: z.string(),
});
const operator = { access: 'operator', stepUp: true } as const;

interface Parts {
  readonly store: Store;
  readonly integrations: Integrations;
  readonly noted: Noted;
}

export function integrationRoutes(p: Parts): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/integrations',
      summary: 'What may decide from outside, without its secrets.',
      access: 'auditor',
      query: pageQuery,
      answer: z.object({ integrations: z.array(shown), cursor }),
      handle: async ({ query }) => {
        const page = pageOf(await p.store.integrations.list(), (i) => i.name, query);
        const integrations = page.items.map((i) => ({
          name: i.name,
          kind: i.kind,
          channel: i.kind === 'callback' ? `callback:${i.name}` : i.kind,
          settings: i.settings,
          created: new Date(i.created).toISOString(),
        }));
        return { integrations, cursor: page.cursor };
      },
    }),
    ...chatRoutes(p),
    ...callbackRoutes(p),
    ...linkRoutes(p),
  ];
}

function chatRoutes({ integrations, noted }: Parts): readonly AnyRoute[] {
  return [
    route({
      ...operator,
      method: 'PUT',
      path: '/api/integrations/slack',
      summary: 'Connect Slack: holds as messages with buttons, clicks as decisions.',
      body: z.strictObject({
        signing_secret: secret,
        bot_token: secret,
        team: z.string().regex(/^T[A-Z0-9]{1,20}$/, 'a workspace’s id begins with T'),
        conversation: z.string().regex(/^[CGD][A-Z0-9]{1,20}$/, 'a channel’s id begins with C'),
        api: z.url().max(500).default(SLACK_API),
        private: z.boolean().default(false),
        events: z.array(z.enum([...EVENTS, '*'])).default(['*']),
      }),
      handle: async ({ body }, who) => {
        const { signing_secret, bot_token, ...settings } = body;
        const what = `workspace ${body.team}, conversation ${body.conversation}, ${body.api}`;
        await noted(personOf(who).name, 'slack connected', what);
        await integrations.connectSlack(settings, { signing: signing_secret, token: bot_token });
      },
    }),
    route({
      ...operator,
      method: 'PUT',
      path: '/api/integrations/teams',
      summary: 'Connect Teams: the security token of its outgoing webhook.',
      body: z.strictObject({ security_token: z.base64().min(16).max(500) }),
      handle: async ({ body }, who) => {
        await noted(personOf(who).name, 'teams connected', TEAMS);
        await integrations.connectTeams(body.security_token);
      },
    }),
    route({
      ...operator,
      method: 'DELETE',
      path: '/api/integrations/{name}',
      summary: 'Take an integration away: it decides nothing from now on.',
      params: z.object({ name }),
      handle: async ({ params }, who) => {
        await noted(personOf(who).name, 'integration removed', params.name);
        await integrations.remove(params.name);
      },
    }),
  ];
}

function callbackRoutes({ integrations, noted }: Parts): readonly AnyRoute[] {
  const body = z.strictObject({ public_key: publicKey.nullable().default(null) });
  const answer = z.object({ secret: z.string().nullable() });
  return [
    route({
      ...operator,
      method: 'POST',
      path: '/api/integrations',
      summary: 'Let a program hand in people’s decisions; its secret is in the answer, once.',
      status: 201,
      body: body.extend({ name }),
      answer,
      handle: async (call, who) => {
        await noted(personOf(who).name, 'integration added', call.body.name);
        return { secret: await integrations.addCallback(call.body.name, call.body.public_key) };
      },
    }),
    route({
      ...operator,
      method: 'POST',
      path: '/api/integrations/{name}/secret',
      summary: 'A new secret or public key; the old one is taken beside it for a day.',
      params: z.object({ name }),
      body,
      answer,
      handle: async (call, who) => {
        const { name: which } = call.params;
        await noted(personOf(who).name, 'integration secret rotated', which);
        return { secret: await integrations.rotateCallback(which, call.body.public_key) };
      },
    }),
  ];
}

function linkRoutes({ store, noted }: Parts): readonly AnyRoute[] {
  const params = z.object({ name: z.string().max(100) });
  const body = z.strictObject({ account: accountName });
  return [
    route({
      ...operator,
      method: 'POST',
      path: '/api/signers/{name}/accounts',
      summary:
        'Link an account on a channel to a person: `slack:U…`, `teams:…`, `callback:NAME:…`.',
      params,
      body,
      handle: async (call, who) => {
        const { account } = call.body;
        await noted(personOf(who).name, 'account linked', `${account} to ${call.params.name}`);
        await store.signers.link(call.params.name, account);
      },
    }),
    route({
      ...operator,
      method: 'DELETE',
      path: '/api/signers/{name}/accounts/{account}',
      summary: 'Unlink an account from a person.',
      params: params.extend({ account: accountName }),
      handle: async (call, who) => {
        const { name: whose, account } = call.params;
        await noted(personOf(who).name, 'account unlinked', `${account} from ${whose}`);
        if (await store.signers.unlink(whose, account)) return;
        throw new ApproverError('not-found', `${account} is no account of ${whose}`);
      },
    }),
  ];
}
