// The approver's HTTP face: API, page, public keys, health. One fastify, strict headers on every
// answer.
// Invariant: no answer leaves without the content policy; the page loads nothing from another host.
import { randomUUID } from 'node:crypto';
import cookie from '@fastify/cookie';
import rateLimit from '@fastify/rate-limit';
import fastify, { type FastifyInstance } from 'fastify';
import type { LedgerWriter } from '../../ledger/contract.ts';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import { loadRoster } from '../routing.ts';
import type { PasskeyRules } from '../sign.ts';
import type { Store } from '../store.ts';
import { readerOf } from '../story.ts';
import { servePage } from '../web/serve.ts';
import type { Dispatcher } from '../webhook/dispatch.ts';
import type { InboundParts } from '../webhook/inbound.ts';
import type { Sealer } from '../webhook/secret.ts';
import { delegationRoutes } from './delegations.ts';
import { eventRoute, type Streams } from './events.ts';
import { holdRoutes, maySee } from './holds.ts';
import { inboundRoutes, withRawBodies } from './inbound.ts';
import { integrationRoutes } from './integrations.ts';
import { type OidcSettings, oidcRoutes } from './oidc.ts';
import { openapi } from './openapi.ts';
import { peopleRoutes } from './people.ts';
import { identifier } from './principal.ts';
import { type AnyRoute, problem, refuseRaw, serveErrors, serveRoutes } from './route.ts';
import { sessionRoutes } from './session.ts';
import { type Noted, webhookRoutes } from './webhooks.ts';

export interface ServerParts extends InboundParts {
  readonly store: Store;
  readonly sealer: Sealer;
  /** Whose `X-Forwarded-For` is believed: addresses or networks; none unless named. */
  readonly trustProxy: readonly string[];
  readonly ledger: LedgerWriter;
  readonly streams: Streams;
  readonly dispatcher: Dispatcher;
  readonly instance: string;
  readonly passkeys: PasskeyRules;
  readonly oidc: OidcSettings | null;
  /** Addresses this approver answers to; the first is the one people are told. */
  readonly origins: readonly string[];
  readonly unavailable: () => string | null;
  /** The ledger's public key (`<name>+<id>+<key>`), for the page's own check. */
  readonly ledgerKey: string | null;
  readonly invite: (name: string) => Promise<string>;
}

const CONTENT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

export async function serve(
  p: ServerParts,
  listen: {
    readonly host: string;
    readonly port: number;
    readonly tls?: { readonly cert: string; readonly key: string };
  },
): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: limits.BODY_BYTES,
    logger: false,
    forceCloseConnections: true,
    trustProxy: p.trustProxy.length > 0 ? [...p.trustProxy] : false,
    clientErrorHandler: refuseRaw,
    frameworkErrors: (_error, _request, reply) => {
      void problem(reply, 'bad-request', 'the address is malformed');
    },
    routerOptions: { maxParamLength: 200 },
    ...(listen.tls ? { https: { cert: listen.tls.cert, key: listen.tls.key } } : {}),
  }) as FastifyInstance;
  await app.register(cookie);
  await app.register(rateLimit, { global: true, max: limits.CALLS_A_MINUTE, timeWindow: 60_000 });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('content-security-policy', CONTENT_POLICY);
    reply.header('x-content-type-options', 'nosniff');
    reply.header('referrer-policy', 'no-referrer');
    reply.header('cross-origin-opener-policy', 'same-origin');
    reply.header('cross-origin-resource-policy', 'same-origin');
    reply.header('permissions-policy', 'camera=(), microphone=(), geolocation=()');
    if (listen.tls) reply.header('strict-transport-security', 'max-age=31536000');
  });
  serveErrors(app, (e) => p.log('a call failed', { error: e instanceof Error ? e.stack : e }));
  const door = { store: p.store, origins: p.origins, now: p.now };
  const secure = listen.tls !== undefined || p.origins[0]?.startsWith('https:') === true;
  const noted: Noted = (who, act, what) => note(p, who, act, what);
  const routes: readonly AnyRoute[] = [
    ...holdRoutes(p.store, p.desk, p.now, p.routing, {
      key: p.ledgerKey,
      reader: readerOf(p.ledger),
    }),
    ...delegationRoutes(p.store, p.now, noted),
    ...sessionRoutes({ ...p, secure }),
    ...oidcRoutes({ ...door, oidc: p.oidc, secure, page: () => p.origins[0] ?? '' }),
    ...webhookRoutes(p.store, p.dispatcher, noted),
    ...integrationRoutes({ store: p.store, integrations: p.integrations, noted }),
    ...peopleRoutes({ store: p.store, now: p.now, noted, invite: p.invite }),
    eventRoute(p.streams, async (person, id) => {
      const hold = await p.store.holds.get(id);
      if (!hold) return false;
      const roster = await loadRoster(p.store.signers, p.routing(), p.now());
      return maySee(hold, roster.who(hold, person));
    }),
  ];
  const raw = inboundRoutes(p, (id) => p.dispatcher.cardOf(id));
  const rates = { ordinary: limits.CALLS_A_MINUTE, strict: limits.SIGN_INS_A_MINUTE };
  const again = { store: p.store, sealer: p.sealer, now: p.now };
  serveRoutes(app, routes, identifier(door), rates, again);
  await withRawBodies(app, (scope) => serveRoutes(scope, raw, identifier(door), rates, again));
  servePublic(app, p, [...routes, ...raw]);
  servePage(app, p.origins);
  await app.listen({ host: listen.host, port: listen.port });
  return app;
}

/** An administrative act is in the ledger before it is done. */
async function note(p: ServerParts, who: string, act: string, what: string): Promise<void> {
  const time = new Date(p.now()).toISOString();
  const entry = { v: 1, kind: 'administration', time, by: p.instance, act, who, what } as const;
  try {
    await p.ledger.append([
      { key: `administration/${randomUUID()}`, entry: { ...entry, detail: {} } },
    ]);
  } catch (cause) {
    throw new ApproverError('ledger-unavailable', 'this can’t be recorded, so it is not done', {
      cause,
    });
  }
}

/** What anybody may read: public keys, health, the API's description. */
function servePublic(app: FastifyInstance, p: ServerParts, routes: readonly AnyRoute[]): void {
  app.get('/.well-known/jwks.json', async (_request, reply) => {
    const keys = (await p.store.signers.approverKeys()).map((k) => JSON.parse(k));
    return reply.header('cache-control', 'public, max-age=60').send({ keys });
  });
  app.get('/healthz', async (_request, reply) => {
    const why = p.unavailable();
    return reply.code(why === null ? 200 : 503).send({ ok: why === null, why });
  });
  app.get('/openapi.json', async () => openapi(routes));
}
