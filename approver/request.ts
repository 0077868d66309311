// What a proxy sends, checked before anybody is shown it: shape, bounds, and that card and binding
// say the same.
// Invariant: a request whose words differ from what would be signed is refused, never shown.
import { z } from 'zod';
import type { ModeChange } from '../proxy/contract.ts';
import { CLASSES } from '../proxy/effect/effect.ts';
import { CHANNEL, MODES } from '../proxy/verdict/verdict.ts';
import { digestOf } from './binding.ts';
import type { FindHold, HoldOutcome, HoldRequest, RedeemHold, StateOfHold } from './contract.ts';
import { HOLD_REQUEST_BYTES, RECENT_MOST } from './limits.ts';

const words = z.array(z.string());
const time = z.iso.datetime({ offset: true });
const nullable = z.string().nullable();
const base64 = z.base64();

const parameter = z.object({
  type: z.string(),
  format: z.enum(['text', 'binary']),
  base64: base64.nullable(),
});

const effect = z.looseObject({
  class: z.enum(CLASSES),
  verb: z.string(),
  objects: z.array(
    z.looseObject({
      kind: z.string(),
      database: nullable,
      schema: nullable,
      name: z.string(),
      columns: words,
      access: z.string(),
      via: words,
      tags: words,
      identity: nullable,
    }),
  ),
  predicate: z.string(),
  scoped: z.boolean(),
  rows_max: z.number().nullable(),
  reversible: z.boolean(),
  opaque: nullable,
});

const recent = z.looseObject({
  time: z.string(),
  class: z.enum(CLASSES),
  verdict: z.enum(['allow', 'hold', 'deny']),
  rule: z.string(),
  disposition: z.enum(['forward', 'hold', 'refuse', 'redeemed', 'observed']),
  start: z.string(),
  count: z.int().min(1),
  in_transaction: z.boolean(),
  outcome: z.enum(['done', 'failed', 'unknown']).nullable(),
  rows: z.number().nullable(),
  hold: nullable,
});

export const holdRequest = z.looseObject({
  id: z.string().regex(/^h-[a-z2-7]{16}$/),
  operation: z.string().regex(/^[\x21-\x7e]{1,100}$/),
  binding: z.strictObject({
    v: z.literal(1),
    statement: base64,
    parameters: z.array(z.strictObject(parameter.shape)),
    target: z.string().min(1),
    environment: z.string(),
    database: z.string(),
    agent: z.string().min(1),
    settings: z.record(z.string(), z.string()),
    policy: z.string(),
    objects: words,
  }),
  digest: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  statement: z.string(),
  parameters: z.array(parameter.extend({ text: nullable })),
  class: z.enum(CLASSES),
  effects: z.array(effect),
  sentences: words,
  rule: z.string(),
  reason: z.string(),
  demands: z
    .array(
      z.object({
        rule: z.string(),
        group: z.string().min(1),
        signatures: z.int().min(1).max(20),
        channels: z.array(z.string().regex(CHANNEL)).min(1).max(20).exactOptional(),
      }),
    )
    .min(1),
  target: z.looseObject({
    name: z.string(),
    engine: z.string(),
    environment: z.string(),
    database: z.string(),
    enforce: z.boolean(),
    tags: words,
  }),
  agent: z.looseObject({
    name: z.string(),
    groups: words,
    capabilities: words,
    scopes: words,
  }),
  session: z.looseObject({
    id: z.string(),
    application: nullable,
    client_address: z.string(),
    started: z.string(),
    stated: z.object({ reason: nullable, task: nullable, on_behalf_of: nullable }),
    settings: z.record(z.string(), z.string()),
  }),
  recent: z.array(recent).max(RECENT_MOST).optional(),
  in_transaction: z.boolean(),
  transaction_age_ms: z.number().nullable(),
  asked: time,
  expires: time,
  waits_until: time.nullable(),
});

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: string };

export function parseRequest(body: unknown): Parsed<HoldRequest> {
  if (Buffer.byteLength(JSON.stringify(body) ?? '') > HOLD_REQUEST_BYTES) {
    return { ok: false, why: `the request is over ${HOLD_REQUEST_BYTES} bytes` };
  }
  const parsed = holdRequest.safeParse(body);
  if (!parsed.success) return { ok: false, why: z.prettifyError(parsed.error) };
  const request = parsed.data as unknown as HoldRequest;
  const why = disagreement(request);
  return why === null ? { ok: true, value: request } : { ok: false, why };
}

/**
 * The card shows `statement`, `parameters`, target and agent; people sign the binding. They must be
 * the same.
 */
function disagreement(r: HoldRequest): string | null {
  if (digestOf(r.binding) !== r.digest) return 'the digest is not that of the binding';
  const bytes = Buffer.from(r.binding.statement, 'base64');
  if (bytes.toString('utf8') !== r.statement) {
    return 'the statement shown is not the one in the binding';
  }
  if (r.binding.target !== r.target.name) return 'the target shown is not the one in the binding';
  if (r.binding.environment !== r.target.environment) {
    return 'the environment shown is not the one in the binding';
  }
  if (r.binding.agent !== r.agent.name) return 'the agent shown is not the one in the binding';
  if (r.binding.parameters.length !== r.parameters.length) {
    return 'the parameters shown are not those in the binding';
  }
  for (const [i, p] of r.parameters.entries()) {
    const bound = r.binding.parameters[i];
    if (bound?.base64 !== p.base64 || bound.type !== p.type || bound.format !== p.format) {
      return `parameter ${i + 1} shown is not the one in the binding`;
    }
    if (p.format === 'text' && p.base64 !== null) {
      const text = Buffer.from(p.base64, 'base64').toString('utf8');
      if (p.text !== text && !p.text?.startsWith('\\x')) {
        return `the text of parameter ${i + 1} is not that of its bytes`;
      }
    }
    if (p.base64 === null && p.text !== null) return `parameter ${i + 1} is NULL but shows a text`;
  }
  return null;
}

const find = z.object({ digest: z.string(), agent: z.string() });
const state = z.object({ hold: z.string() });
const redeem = z.object({
  hold: z.string(),
  digest: z.string(),
  agent: z.string(),
  operation: z.string().regex(/^[\x21-\x7e]{1,100}$/),
});
const outcome = z.object({
  hold: z.string(),
  operation: z.string(),
  outcome: z.enum(['done', 'failed', 'unknown']),
  answer: nullable,
  rows: z.number().nullable(),
});

const told = z.object({
  kind: z.enum([
    'requested',
    'signed',
    'outcome',
    'approved',
    'denied',
    'expired',
    'withdrawn',
    'redeemed',
  ]),
  hold: z.string(),
  replica: z.string(),
});

/** What another approver told; null when it is nothing of the kind. */
export function parseTold(body: unknown): z.infer<typeof told> | null {
  const parsed = told.safeParse(body);
  return parsed.success ? parsed.data : null;
}

const mode = z.object({
  scope: z.enum(['all', 'target', 'agent']),
  name: nullable,
  mode: z.enum(MODES),
  who: z.string(),
  reason: nullable,
  time: z.string(),
});

/** null when it is none. */
export function parseMode(body: unknown): ModeChange | null {
  const parsed = mode.safeParse(body);
  return parsed.success ? parsed.data : null;
}

export const parseFind = (body: unknown): FindHold => find.parse(body);
export const parseState = (body: unknown): StateOfHold => state.parse(body);
export const parseRedeem = (body: unknown): RedeemHold => redeem.parse(body);
export const parseOutcome = (body: unknown): HoldOutcome => outcome.parse(body);
