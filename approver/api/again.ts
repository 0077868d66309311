// A call with an Idempotency-Key: done once, and answered again as it was for a day.
// Invariant: a key belongs to its caller and to one request; an answer is kept only sealed, since
// it may hold a secret that is shown once.
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { canonical } from '../binding.ts';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import type { Store } from '../store.ts';
import type { Sealer } from '../webhook/secret.ts';

export interface AgainParts {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly now: () => number;
}

const ABOUT = 'kept answer';

/** Does the work unless this key has done it; resolves with the answer. */
export async function once(
  p: AgainParts,
  caller: string,
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  work: () => Promise<unknown>,
): Promise<unknown> {
  const given = request.headers['idempotency-key'];
  if (given === undefined) return await work();
  if (typeof given !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(given)) {
    throw new ApproverError('bad-request', 'an Idempotency-Key has 1 to 255 visible characters');
  }
  const key = hashOf([caller, request.method, request.url, given]);
  const now = p.now();
  const times = { now, lease: limits.ANSWER_LEASE_MS, until: now + limits.ANSWER_KEEP_MS };
  const begun = await p.store.answers.begin(key, hashOf(request.body ?? null), times);
  switch (begun.kind) {
    case 'other':
      throw new ApproverError(
        'key-reused',
        'this Idempotency-Key came with another body: use a new one',
      );
    case 'busy':
      throw new ApproverError('conflict', 'the first call with this Idempotency-Key is under way');
    case 'done':
      reply.header('idempotent-replayed', 'true');
      if (begun.body !== null) return JSON.parse(p.sealer.open(begun.body, ABOUT));
      throw new ApproverError('conflict', 'it was done, and its answer was too large to be kept');
    case 'mine':
  }
  let answer: unknown;
  try {
    answer = (await work()) ?? {};
  } catch (e) {
    await p.store.answers.drop(key);
    throw e;
  }
  const text = JSON.stringify(answer);
  const kept = text.length <= limits.ANSWER_BYTES ? p.sealer.seal(text, ABOUT) : null;
  await p.store.answers.keep(key, { status, body: kept });
  return answer;
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('base64url');
}
