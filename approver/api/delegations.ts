// The API's routes about delegation: lending one's groups to another person until a time.
// Invariant: one lends one's own groups only, and it is on record who lent what to whom until when.
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import { type Delegation, mayDelegate } from '../routing.ts';
import type { Store } from '../store.ts';
import { cursor, pageOf, pageQuery } from './paging.ts';
import { personOf } from './principal.ts';
import { type AnyRoute, route } from './route.ts';
import type { Noted } from './webhooks.ts';

const shown = z.object({ id: z.string(), from: z.string(), to: z.string(), until: z.string() });

export function delegationRoutes(
  store: Store,
  now: () => number,
  noted: Noted,
): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/me/delegations',
      summary: 'What you have lent and what was lent to you.',
      query: pageQuery,
      answer: z.object({ delegations: z.array(shown), cursor }),
      handle: async ({ query }, who) => {
        const me = personOf(who).name;
        const all = await store.signers.delegations(now());
        const mine = all.filter((d) => d.from === me || d.to === me);
        const page = pageOf(mine, (d) => d.id, query);
        const shownOf = (d: Delegation) => ({ ...d, until: new Date(d.until).toISOString() });
        return { delegations: page.items.map(shownOf), cursor: page.cursor };
      },
    }),
    route({
      method: 'POST',
      path: '/api/me/delegations',
      summary: 'Lend your groups to another signer until a time.',
      stepUp: true,
      status: 201,
      body: z.strictObject({ to: z.string().max(100), until: z.iso.datetime({ offset: true }) }),
      answer: z.object({ id: z.string() }),
      handle: async ({ body }, who) => {
        const me = personOf(who);
        const to = await store.signers.get(body.to);
        if (!to?.active || to.name === me.name) {
          throw new ApproverError('bad-request', 'lend to another person who is a signer here');
        }
        const until = Date.parse(body.until);
        if (!mayDelegate(now(), until)) {
          throw new ApproverError('bad-request', 'lend until a time within the next 30 days');
        }
        const id = randomUUID();
        const what = `${me.groups.join(', ')} to ${to.name} until ${body.until}`;
        await noted(me.name, 'groups delegated', what);
        await store.signers.delegate({ id, from: me.name, to: to.name, until });
        return { id };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/me/delegations/{id}',
      summary: 'Take back what you lent.',
      params: z.object({ id: z.string().max(60) }),
      handle: async ({ params }, who) => {
        const me = personOf(who).name;
        if (!(await store.signers.undelegate(params.id, me))) {
          throw new ApproverError('not-found', 'you have lent nothing under that id');
        }
        await noted(me, 'delegation taken back', params.id);
      },
    }),
  ];
}
