// The doors for what others sign: Slack, Teams, and integrations by signed callback.
// Invariant: their bodies come in as the exact bytes, since those are what was signed.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { INBOUND_BYTES } from '../limits.ts';
import { callbackBody, takeCallback } from '../webhook/callback.ts';
import type { ChatCard } from '../webhook/chat.ts';
import { Inbound, type InboundParts } from '../webhook/inbound.ts';
import { SlackDoor } from '../webhook/slack.ts';
import { TeamsDoor } from '../webhook/teams.ts';
import { type AnyRoute, route } from './route.ts';

const bytes = z.instanceof(Buffer);
const slackForm = z.object({ payload: z.string() });

export function inboundRoutes(
  parts: InboundParts,
  cardOf: (hold: string) => Promise<{ card: ChatCard } | null>,
): readonly AnyRoute[] {
  const inbound = new Inbound(parts);
  const slack = new SlackDoor(inbound, cardOf);
  const teams = new TeamsDoor(inbound, cardOf);
  return [
    route({
      method: 'POST',
      path: '/api/channels/slack',
      summary: 'Slack’s interactions: its app’s Request URL. Signed by Slack (v0).',
      access: 'anyone',
      body: bytes,
      consumes: { type: 'application/x-www-form-urlencoded', schema: slackForm },
      handle: async ({ request, reply, body }) => {
        const answer = await slack.take(request.headers, body);
        return answer === null ? reply.code(200).send() : answer;
      },
    }),
    route({
      method: 'POST',
      path: '/api/channels/teams',
      summary: 'Messages of Teams’ outgoing webhook, signed with its security token (HMAC).',
      access: 'anyone',
      body: bytes,
      consumes: { type: 'application/json', schema: z.looseObject({ text: z.string() }) },
      handle: async ({ request, body }) => await teams.take(request.headers, body),
    }),
    route({
      method: 'POST',
      path: '/api/channels/callback/{name}',
      summary: 'A person’s decision, by an integration that signs it (Standard Webhooks).',
      access: 'anyone',
      params: z.object({ name: z.string().max(61) }),
      body: bytes,
      consumes: { type: 'application/json', schema: callbackBody },
      answer: z.object({ hold: z.string(), state: z.string() }),
      handle: async ({ params, request, body }) => {
        const hold = await takeCallback(inbound, params.name, request.headers, body);
        return { hold: hold.id, state: hold.state };
      },
    }),
  ];
}

/** Bodies stay bytes within `work`, and nowhere else. */
export async function withRawBodies(
  app: FastifyInstance,
  work: (scope: FastifyInstance) => void,
): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: INBOUND_BYTES },
      (_request, body, done) => done(null, body),
    );
    work(scope);
  });
}
