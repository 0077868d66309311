// Decisions by another program of a person it knows: a signed callback (Standard Webhooks).
// Invariant: the same id is taken once; only what could not be done for a while may come again.
import { z } from 'zod';
import { ApproverError, CODES } from '../errors.ts';
import { REASON_CHARACTERS } from '../limits.ts';
import type { Hold } from '../store/holds.ts';
import type { Inbound } from './inbound.ts';
import { fromStandard, type Headers } from './verify.ts';

export const callbackBody = z.strictObject({
  type: z.literal('hold.decision'),
  timestamp: z.iso.datetime({ offset: true }).optional(),
  data: z.strictObject({
    hold: z.string().regex(/^h-[a-z2-7]{16}$/),
    /** The digest of the binding that the person was shown. */
    binding: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    decision: z.enum(['approve', 'deny']),
    reason: z.string().max(REASON_CHARACTERS).nullable().default(null),
    /** The integration's own name of the person; it has to be linked to a signer. */
    account: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[\x21-\x7e]+$/),
  }),
});

export async function takeCallback(
  inbound: Inbound,
  name: string,
  headers: Headers,
  body: Buffer,
): Promise<Hold> {
  const { integrations, now } = inbound.parts;
  const channel = `callback:${name}`;
  const secrets = await integrations.callbackSecrets(name);
  const verified = fromStandard(secrets, headers, body, now());
  await inbound.take(channel, verified);
  try {
    const { data } = callbackBody.parse(JSON.parse(body.toString('utf8')));
    const { account, ...rest } = data;
    const said = { ...rest, channel, account: `${channel}:${account}`, request: body };
    return await inbound.decide(said);
  } catch (e) {
    if (e instanceof z.ZodError) throw new ApproverError('bad-request', z.prettifyError(e));
    if (e instanceof SyntaxError) throw new ApproverError('bad-request', 'the body is no JSON');
    if (!(e instanceof ApproverError) || CODES[e.code].status >= 500) {
      await inbound.giveBack(channel, verified);
    }
    throw e;
  }
}
