// The API's routes about webhooks: add, list, rotate, remove, and the dead letters.
// Invariant: a secret is shown once, to the operator who made it.
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import type { Webhook } from '../store/webhooks.ts';
import type { Store } from '../store.ts';
import { type Dispatcher, EVENTS } from '../webhook/dispatch.ts';
import { cursor, pageOf, pageQuery, readCursor, writeCursor } from './paging.ts';
import { personOf } from './principal.ts';
import { type AnyRoute, route } from './route.ts';

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,60}$/);
const shown = z.object({
  name,
  url: z.string(),
  events: z.array(z.string()),
  private: z.boolean(),
  format: z.string(),
  active: z.boolean(),
});
const delivery = z.object({
  id: z.string(),
  webhook: z.string(),
  event: z.string(),
  hold: z.string().nullable(),
  attempts: z.number(),
  due: z.string(),
  status: z.number().nullable(),
  error: z.string().nullable(),
});
const secret = z.object({ secret: z.string() });

/** Notes an operator's act in the ledger before it counts. */
export type Noted = (who: string, act: string, what: string) => Promise<void>;

export function webhookRoutes(
  store: Store,
  dispatcher: Dispatcher,
  noted: Noted,
): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/webhooks',
      summary: 'Webhooks, without their secrets.',
      access: 'auditor',
      query: pageQuery,
      answer: z.object({ webhooks: z.array(shown), cursor }),
      handle: async ({ query }) => {
        const page = pageOf(await store.webhooks.list(), (w) => w.name, query);
        return { webhooks: page.items.map(shownOf), cursor: page.cursor };
      },
    }),
    route({
      method: 'POST',
      path: '/api/webhooks',
      summary: 'Add a webhook; its secret (or public key) is in the answer, once.',
      access: 'operator',
      stepUp: true,
      status: 201,
      body: z.strictObject({
        name,
        url: z.string().max(2000),
        events: z.array(z.enum([...EVENTS, '*'])).min(1),
        signing: z.enum(['hmac', 'ed25519']).default('hmac'),
        format: z.enum(['standard', 'slack', 'teams']).default('standard'),
        private: z.boolean().default(false),
      }),
      answer: secret,
      handle: async ({ body }, who) => {
        await noted(personOf(who).name, 'webhook added', body.name);
        const made = { ...body, kind: body.signing, allowPrivate: body.private };
        return { secret: await dispatcher.add(made) };
      },
    }),
    ...changeRoutes(store, dispatcher, noted),
    ...deliveryRoutes(store, dispatcher, noted),
  ];
}

function shownOf(w: Webhook): z.infer<typeof shown> {
  return {
    name: w.name,
    // A chat's address is itself a secret.
    url: w.format === 'standard' ? w.url : `${new URL(w.url).origin}/…`,
    events: [...w.events],
    private: w.allowPrivate,
    format: w.format,
    active: w.active,
  };
}

function changeRoutes(store: Store, dispatcher: Dispatcher, noted: Noted): readonly AnyRoute[] {
  const params = z.object({ name });
  return [
    route({
      method: 'POST',
      path: '/api/webhooks/{name}/secret',
      summary: 'A new secret; the old one signs beside it for a day.',
      access: 'operator',
      stepUp: true,
      params,
      answer: secret,
      handle: async (call, who) => {
        await noted(personOf(who).name, 'webhook secret rotated', call.params.name);
        return { secret: await dispatcher.rotate(call.params.name) };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/webhooks/{name}',
      summary: 'Remove a webhook and what waits for it.',
      access: 'operator',
      stepUp: true,
      params,
      handle: async (call, who) => {
        if ((await store.webhooks.get(call.params.name))?.format === 'slack-app') {
          throw new ApproverError('conflict', 'it belongs to the Slack integration: remove that');
        }
        await noted(personOf(who).name, 'webhook removed', call.params.name);
        if (await store.webhooks.remove(call.params.name)) return;
        throw new ApproverError('not-found', `there is no webhook ${call.params.name}`);
      },
    }),
  ];
}

function deliveryRoutes(store: Store, dispatcher: Dispatcher, noted: Noted): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/deliveries',
      summary: 'Webhook deliveries: waiting, done or dead.',
      access: 'auditor',
      query: pageQuery.extend({ state: z.enum(['waiting', 'done', 'dead']).default('dead') }),
      answer: z.object({ deliveries: z.array(delivery), cursor }),
      handle: async ({ query }) => {
        const after = query.cursor === undefined ? undefined : placeIn(query.cursor);
        const found = await store.webhooks.deliveries(query.state, query.limit + 1, after);
        const page = found.slice(0, query.limit);
        const last = found.length > page.length ? page.at(-1) : undefined;
        const deliveries = page.map((d) => ({
          id: d.id,
          webhook: d.webhook,
          event: d.event,
          hold: d.hold,
          attempts: d.attempts,
          due: new Date(d.due).toISOString(),
          status: d.status,
          error: d.error,
        }));
        return { deliveries, cursor: last ? writeCursor(`${last.created} ${last.id}`) : null };
      },
    }),
    route({
      method: 'POST',
      path: '/api/deliveries/{id}/replay',
      summary: 'Send one again.',
      access: 'operator',
      params: z.object({ id: z.string().max(200) }),
      handle: async ({ params: p }, who) => {
        await noted(personOf(who).name, 'webhook delivery replayed', p.id);
        await dispatcher.replay(p.id);
      },
    }),
  ];
}

/** The delivery that a page ended with. */
function placeIn(text: string): { readonly created: number; readonly id: string } {
  const [, created, id] = /^(\d{1,16}) (\S+)$/.exec(readCursor(text)) ?? [];
  if (created !== undefined && id !== undefined) return { created: Number(created), id };
  throw new ApproverError('bad-request', 'cursor: take it from the page before');
}
