// The API's routes about people, their keys and the figures: for operators and auditors.
// Invariant: every change is on record before it counts, and a person who is removed is signed out.
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import { figures } from '../store/figures.ts';
import { ROLES } from '../store/signers.ts';
import type { Store } from '../store.ts';
import { cursor, pageOf, pageQuery } from './paging.ts';
import { hasRole, personOf } from './principal.ts';
import { type AnyRoute, route } from './route.ts';
import type { Noted } from './webhooks.ts';

const words = z.array(z.string().min(1).max(100)).max(100);
const roles = z.array(z.enum(ROLES));
const shown = z.object({
  name: z.string(),
  groups: words,
  roles,
  identities: words,
  active: z.boolean(),
  keys: z.array(
    z.object({
      thumbprint: z.string(),
      method: z.string(),
      label: z.string(),
      revoked: z.boolean(),
    }),
  ),
});
const params = z.object({ name: z.string().max(100) });

export interface PeopleParts {
  readonly store: Store;
  readonly now: () => number;
  readonly noted: Noted;
  /** A one-time link for this person. */
  readonly invite: (name: string) => Promise<string>;
}

export function peopleRoutes(p: PeopleParts): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/figures',
      summary: 'Counts over the last days: decisions, waiting times, who signs.',
      access: 'auditor',
      query: z.object({ days: z.coerce.number().int().min(1).max(366).default(30) }),
      handle: async ({ query }) => await figures(p.store.db, p.now() - query.days * 86_400_000),
    }),
    route({
      method: 'GET',
      path: '/api/signers',
      summary: 'People, their groups, roles and keys.',
      access: 'auditor',
      query: pageQuery,
      answer: z.object({ signers: z.array(shown), cursor }),
      handle: async ({ query }) => {
        const signers = [];
        const page = pageOf(await p.store.signers.list(), (s) => s.name, query);
        for (const s of page.items) {
          const keys = await p.store.signers.keys(s.name);
          signers.push({
            ...s,
            keys: keys.map((k) => ({
              thumbprint: k.thumbprint,
              method: k.method,
              label: k.label,
              revoked: k.revoked !== null,
            })),
          });
        }
        return { signers, cursor: page.cursor };
      },
    }),
    ...changes(p),
  ];
}

function changes(p: PeopleParts): readonly AnyRoute[] {
  const operator = { access: 'operator', stepUp: true } as const;
  return [
    route({
      ...operator,
      method: 'PUT',
      path: '/api/signers/{name}',
      summary: 'Add a person, or set their groups, roles and whether they may sign in.',
      params,
      body: z.strictObject({ groups: words, roles, active: z.boolean().default(true) }),
      handle: async (call, who) => {
        const { groups, roles: given, active } = call.body;
        const me = personOf(who).name;
        const there = await p.store.signers.get(call.params.name);
        if (there?.name === me && (!active || !given.includes('operator'))) {
          throw new ApproverError('conflict', 'somebody else has to take your own role from you');
        }
        const what = `${call.params.name}: ${groups.join(', ')} (${given.join(', ')})`;
        await p.noted(me, active ? 'signer set' : 'signer removed', what);
        const { name } = there ?? (await p.store.signers.put(call.params.name, {}, p.now()));
        await p.store.signers.set(name, { groups, roles: given, active });
        if (!active) await p.store.signers.dropSessions(name);
      },
    }),
    route({
      ...operator,
      method: 'POST',
      path: '/api/signers/{name}/invite',
      summary: 'A one-time link that signs this person in, to enrol a passkey.',
      params,
      answer: z.object({ link: z.string() }),
      handle: async (call, who) => {
        await p.noted(personOf(who).name, 'signer invited', call.params.name);
        return { link: await p.invite(call.params.name) };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/keys/{thumbprint}',
      summary: 'Revoke a key of yours, or of anybody as an operator.',
      stepUp: true,
      params: z.object({ thumbprint: z.string().max(60) }),
      handle: async (call, who) => {
        const me = personOf(who);
        const key = await p.store.signers.key(call.params.thumbprint);
        if (!key || (key.signer !== me.name && !hasRole(me, 'operator'))) {
          throw new ApproverError('not-found', 'you have no such key');
        }
        await p.noted(me.name, 'key revoked', `${key.thumbprint} of ${key.signer}`);
        await p.store.signers.revokeKey(key.thumbprint, p.now());
      },
    }),
  ];
}
