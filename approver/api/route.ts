// A route of the API: its shapes stand beside its handler, and OpenAPI is generated from them.
// Invariant: nothing reaches a handler that its schema has not parsed, and every error is
// problem+json.
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ApproverError, CODES, type Code } from '../errors.ts';
import { type AgainParts, once } from './again.ts';
import type { Principal } from './principal.ts';

export type Access = 'anyone' | 'signed-in' | 'auditor' | 'operator';

export interface Call<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export interface Route<P, Q, B> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `{name}` for parameters, as OpenAPI has them. */
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  readonly params: z.ZodType<P>;
  readonly query: z.ZodType<Q>;
  readonly body: z.ZodType<B>;
  /** What the body is, where the handler takes its bytes. */
  readonly consumes: { readonly type: string; readonly schema: z.ZodType } | null;
  readonly answer: z.ZodType;
  readonly status: number;
  /** Sign-in attempts are counted more strictly. */
  readonly strict: boolean;
  /** Needs a sign-in that is minutes old. */
  readonly stepUp: boolean;
  readonly handle: (call: Call<P, Q, B>, who: Principal) => Promise<unknown>;
}

// A table of routes of different shapes: each was checked where it was made by `route`.
export type AnyRoute = Route<never, never, never>;

const nothing = z.unknown();

export function route<P = unknown, Q = unknown, B = unknown>(
  given: Pick<Route<P, Q, B>, 'method' | 'path' | 'summary' | 'handle'> &
    Partial<Omit<Route<P, Q, B>, 'method' | 'path' | 'summary' | 'handle'>>,
): AnyRoute {
  const made = {
    access: 'signed-in',
    params: nothing,
    query: nothing,
    body: nothing,
    consumes: null,
    answer: nothing,
    status: 200,
    strict: false,
    stepUp: false,
    ...given,
  };
  return made as unknown as AnyRoute;
}

export type Identify = (request: FastifyRequest, route: AnyRoute) => Promise<Principal>;

export interface RateLimits {
  readonly ordinary: number;
  readonly strict: number;
}

export function serveRoutes(
  app: FastifyInstance,
  routes: readonly AnyRoute[],
  identify: Identify,
  rates: RateLimits,
  again: AgainParts,
): void {
  for (const r of routes) {
    app.route({
      method: r.method,
      url: r.path.replaceAll(/\{(\w+)\}/g, ':$1'),
      config: {
        rateLimit: { max: r.strict ? rates.strict : rates.ordinary, timeWindow: 60_000 },
      },
      handler: async (request, reply) => {
        const who = await identify(request, r);
        const call = {
          params: parse(r.params, request.params, 'path'),
          query: parse(r.query, request.query, 'query'),
          body: parse(r.body, request.body, 'body'),
          request,
          reply,
        };
        const work = () => r.handle(call as never, who);
        // Whoever has no name here has no keys of their own.
        const repeatable = r.method === 'POST' && who.signer !== null;
        const answer = repeatable
          ? await once(again, who.signer.name, request, reply, r.status, work)
          : await work();
        if (reply.sent || answer === reply) return reply;
        reply.header('cache-control', 'no-store');
        return reply.code(r.status).send(answer ?? {});
      },
    });
  }
}

function parse(schema: z.ZodType, value: unknown, where: string): unknown {
  const parsed = schema.safeParse(value ?? undefined);
  if (parsed.success) return parsed.data;
  throw new ApproverError('bad-request', `${where}: ${z.prettifyError(parsed.error)}`);
}

/** What Node's own parser refuses has no request and no reply yet: problem+json all the same. */
export function refuseRaw(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const large = error.code === 'HPE_HEADER_OVERFLOW';
  const code = large ? 'too-large' : 'bad-request';
  const what = large ? 'the headers are larger than this server takes' : 'this is no HTTP request';
  const body = JSON.stringify(problemOf(code, what));
  const status = large ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const type = 'content-type: application/problem+json';
  const length = `content-length: ${Buffer.byteLength(body)}`;
  if (socket.writable) {
    socket.write(`HTTP/1.1 ${status}\r\n${type}\r\n${length}\r\nconnection: close\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

/** RFC 9457. */
export function serveErrors(app: FastifyInstance, log: (e: unknown) => void): void {
  app.setErrorHandler((error, _request, reply) => {
    const [code, detail] = explain(error);
    if (code === 'internal') log(error);
    return problem(reply, code, detail);
  });
  app.setNotFoundHandler((request, reply) =>
    problem(reply, 'not-found', `there is no ${request.method} ${request.url.split('?')[0]}`),
  );
}

function explain(error: unknown): readonly [Code, string] {
  if (error instanceof ApproverError) return [error.code, error.message];
  const status = (error as { statusCode?: unknown }).statusCode;
  if (status === 413) return ['too-large', 'the body is larger than this call takes'];
  if (status === 429) return ['too-many', 'wait a minute'];
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return ['bad-request', error instanceof Error ? error.message : 'the request is malformed'];
  }
  return ['internal', 'the approver failed at this; its log says why'];
}

export function problem(reply: FastifyReply, code: Code, detail: string): FastifyReply {
  return reply
    .code(CODES[code].status)
    .header('content-type', 'application/problem+json')
    .header('cache-control', 'no-store')
    .send(JSON.stringify(problemOf(code, detail)));
}

function problemOf(code: Code, detail: string) {
  const { status, title } = CODES[code];
  return { type: `urn:holdpoint:error:${code}`, title, status, detail, code };
}
