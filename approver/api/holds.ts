// The API's routes about holds: lists, the card, and decisions.
// Invariant: whom a hold does not concern learns nothing of it, not even that it exists.
import { z } from 'zod';
import { CLASSES } from '../../proxy/effect/effect.ts';
import { cardOf, lineOf } from '../card.ts';
import type { Desk } from '../desk.ts';
import { ApproverError } from '../errors.ts';
import { concerns } from '../hold.ts';
import { PAGE_MOST, REASON_CHARACTERS } from '../limits.ts';
import { loadRoster, type Roster, type Routing } from '../routing.ts';
import type { Hold } from '../store/holds.ts';
import type { Signer } from '../store/signers.ts';
import type { Store } from '../store.ts';
import { type LedgerReader, storyOf } from '../story.ts';
import { hasRole, personOf } from './principal.ts';
import { type AnyRoute, route } from './route.ts';

const STATES = ['pending', 'approved', 'denied', 'expired', 'withdrawn', 'redeemed'] as const;
const word = z
  .string()
  .max(300)
  .transform((w) => w.replaceAll('\0', '\ufffd'));

const listQuery = z.object({
  state: z
    .enum(STATES)
    .or(z.array(z.enum(STATES)))
    .optional(),
  agent: word.optional(),
  target: word.optional(),
  class: z.enum(CLASSES).optional(),
  rule: word.optional(),
  search: word.optional(),
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  order: z.enum(['newest', 'oldest']).default('newest'),
  cursor: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_MOST).default(50),
});

const line = z.looseObject({
  id: z.string(),
  state: z.enum(STATES),
  class: z.enum(CLASSES),
  agent: z.string(),
  target: z.string(),
  environment: z.string(),
  rule: z.string(),
  sentence: z.string(),
  start: z.string(),
  asked: z.string(),
  expires: z.string(),
  waiting_for: z.string(),
  decided: z.string().nullable(),
  decided_by: z.string().nullable(),
  yours: z.boolean(),
});
const piece = z.object({ text: z.string(), mark: z.string().nullable() });
const card = line.extend({
  digest: z.string(),
  binding: z.looseObject({}),
  statement: z.string(),
  statement_base64: z.string(),
  pieces: z.array(piece),
  parameters: z.array(z.looseObject({})),
  sentences: z.array(z.string()),
  reason: z.string(),
  so_far: z.array(z.looseObject({ time: z.string(), start: z.string() })).nullable(),
  now: z.string(),
});

const decisionBody = z.strictObject({
  decision: z.strictObject({
    v: z.literal(1),
    kind: z.literal('holdpoint-decision'),
    hold: z.string().max(40),
    binding: z.string().max(60),
    decision: z.enum(['approve', 'deny', 'withdraw']),
    reason: z.string().max(REASON_CHARACTERS).nullable(),
    signer: z.string().max(100),
    signed: z.iso.datetime(),
  }),
  key: z.string().max(60),
  signature: z.string().max(2000),
  evidence: z
    .strictObject({
      authenticator_data: z.string().max(2000),
      client_data: z.string().max(2000),
    })
    .nullable()
    .default(null),
});

const holdId = z.object({ id: z.string().max(40) });

export function holdRoutes(
  store: Store,
  desk: Desk,
  now: () => number,
  routing: () => Routing,
  ledger: { readonly key: string | null; readonly reader: LedgerReader | null },
): readonly AnyRoute[] {
  const roster = () => loadRoster(store.signers, routing(), now());
  return [
    route({
      method: 'GET',
      path: '/api/holds',
      summary: 'Holds that concern you, newest first; auditors and operators see all.',
      query: listQuery,
      answer: z.object({ holds: z.array(line), cursor: z.string().nullable() }),
      handle: async ({ query }, who) => await list(store, query, personOf(who), await roster()),
    }),
    route({
      method: 'GET',
      path: '/api/holds/{id}',
      summary: 'One hold’s card: everything there is to see before signing.',
      params: holdId,
      answer: card,
      handle: async ({ params }, who) => {
        const person = personOf(who);
        const standing = await roster();
        const hold = await visibleHold(store, params.id, person, standing);
        return await cardOf(hold, store, person, standing, now());
      },
    }),
    route({
      method: 'GET',
      path: '/api/holds/{id}/records',
      summary:
        'What the ledger holds of it, each entry with its proof, to be checked by the reader.',
      params: holdId,
      answer: z.object({
        ledger: z.string().nullable(),
        records: z.array(z.looseObject({})),
        missing: z.string().nullable(),
      }),
      handle: async ({ params }, who) => {
        const hold = await visibleHold(store, params.id, personOf(who), await roster());
        return { ledger: ledger.key, ...(await storyOf(hold, store, ledger.reader)) };
      },
    }),
    route({
      method: 'POST',
      path: '/api/holds/{id}/decisions',
      summary: 'Approve, deny or withdraw, signed by your own key over the binding.',
      params: holdId,
      body: decisionBody,
      answer: card,
      handle: async ({ params, body }, who) => {
        const person = personOf(who);
        const standing = await roster();
        const hold = await visibleHold(store, params.id, person, standing);
        if (body.decision.signer !== person.name) {
          throw new ApproverError('not-a-signer', `you are ${person.name}: sign as yourself`);
        }
        if (body.decision.hold !== hold.id) {
          throw new ApproverError('stale-card', 'the decision names another hold');
        }
        const decided = await desk.decide({ ...body, channel: who.channel });
        return await cardOf(decided, store, person, standing, now());
      },
    }),
  ];
}

/** 404 for what is not there and for what does not concern you: the two can't be told apart. */
async function visibleHold(
  store: Store,
  id: string,
  person: Signer,
  roster: Roster,
): Promise<Hold> {
  const hold = await store.holds.resolve(id);
  if (hold && maySee(hold, roster.who(hold, person))) return hold;
  throw new ApproverError('not-found', `there is no hold ${id} that concerns you`);
}

/** `person` with the groups they have for this hold. */
export function maySee(hold: Hold, person: Signer): boolean {
  return hasRole(person, 'auditor', 'operator') || concerns(hold.request, person);
}

async function list(store: Store, q: z.infer<typeof listQuery>, person: Signer, roster: Roster) {
  const filter = {
    ...(q.state === undefined ? {} : { states: [q.state].flat() }),
    ...(q.agent === undefined ? {} : { agent: q.agent }),
    ...(q.target === undefined ? {} : { target: q.target }),
    ...(q.class === undefined ? {} : { class: q.class }),
    ...(q.rule === undefined ? {} : { rule: q.rule }),
    ...(q.search === undefined ? {} : { search: q.search }),
    ...(q.from === undefined ? {} : { from: Date.parse(q.from) }),
    ...(q.to === undefined ? {} : { to: Date.parse(q.to) }),
    oldestFirst: q.order === 'oldest',
  };
  let after = q.cursor === undefined ? null : parseCursor(q.cursor);
  const shown: Hold[] = [];
  // Holds that do not concern this person are left out, so a page may take several reads; each is
  // bounded.
  for (let reads = 0; reads < 20 && shown.length < q.limit; reads++) {
    const some = await store.holds.list({
      ...filter,
      ...(after ? { after } : {}),
      limit: PAGE_MOST,
    });
    for (const hold of some) {
      if (shown.length === q.limit) break;
      after = { asked: hold.asked, id: hold.id };
      if (maySee(hold, roster.who(hold, person))) shown.push(hold);
    }
    if (some.length < PAGE_MOST) {
      if (shown.length < q.limit) after = null;
      break;
    }
  }
  const lines = [];
  for (const hold of shown) lines.push(await lineOf(hold, store, roster.who(hold, person), roster));
  return { holds: lines, cursor: after ? `${after.asked}.${after.id}` : null };
}

function parseCursor(cursor: string): { readonly asked: number; readonly id: string } {
  const [, asked, id] = /^(\d{1,16})\.(h-[a-z2-7]{16})$/.exec(cursor) ?? [];
  if (asked !== undefined && id !== undefined) return { asked: Number(asked), id };
  throw new ApproverError('bad-request', 'cursor: take it from the page before');
}
