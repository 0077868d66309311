// The ledger as a service: appends, reads, search and the public log over HTTP.
// Invariant: what it serves of the log is the published files; every request but health needs a
// right, unless the log is declared public.

import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { Access, type Principal, type Right } from './access.ts';
import { readAppends } from './entry.ts';
import { LedgerError, type LedgerErrorCode, reasonOf } from './errors.ts';
import { DiskFiles } from './files.ts';
import type { Keeper } from './keeper.ts';
import type { Ledger } from './ledger.ts';
import { HASH_BYTES, REQUEST_BYTES_MAX, REQUEST_MS, TILE_WIDTH } from './limits.ts';
import type { LedgerMetrics } from './metrics.ts';
import { COLUMNS, type SearchQuery } from './search.ts';
import { keeping } from './server-keep.ts';
import { bundlePath, parseTilePath, splitBundle, type TilePlace, tilePath } from './tile.ts';

export interface ServerOptions {
  /** null while this is the standby. */
  readonly ledger: () => Ledger | null;
  readonly keeper: () => Keeper | null;
  readonly directory: string;
  readonly principals: readonly Principal[];
  readonly metrics: LedgerMetrics;
  /** Checkpoint and tiles without a token. */
  readonly publicLog?: boolean;
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa: string | null };
}

const STATUS: { readonly [C in LedgerErrorCode]: number } = {
  'entry-too-large': 422,
  'entry-invalid': 422,
  'body-too-large': 422,
  'append-too-large': 422,
  'key-invalid': 422,
  busy: 429,
  unavailable: 503,
  closed: 503,
  locked: 503,
  'journal-missing': 503,
  'journal-corrupt': 503,
  'rolled-back': 503,
  'key-mismatch': 503,
  'not-found': 404,
  removed: 410,
  'note-invalid': 400,
  'tile-invalid': 500,
  'proof-invalid': 400,
  unauthorized: 401,
  forbidden: 403,
  remote: 502,
};

const zip = promisify(gzip);

/** Asked for by name, and not with a weight of nought. */
function wantsGzip(accepted: string): boolean {
  const asked = /(?:^|,)\s*gzip\s*(?:;\s*q=([\d.]+)\s*)?(?=,|$)/i.exec(accepted);
  return asked !== null && Number(asked[1] ?? 1) > 0;
}

const IMMUTABLE = 'public, max-age=31536000, immutable';

function active(options: ServerOptions): Ledger {
  return options.ledger() ?? standby();
}

function standby(): never {
  throw new LedgerError('unavailable', 'This is the standby; ask the other instance.');
}

function whole(text: unknown, name: string): number {
  const number = Number(text);
  if (typeof text !== 'string' || !/^\d{1,16}$/.test(text) || !Number.isSafeInteger(number)) {
    throw new LedgerError('not-found', `${name} must be a whole number.`);
  }
  return number;
}

const SEARCH_NAMES = [...COLUMNS, 'object', 'from', 'to'] as const;

/**
 * The query of a search request; an unknown name is an error, so that a typing mistake is not a
 * wider answer.
 */
export function searchQuery(given: { readonly [name: string]: unknown }): SearchQuery {
  const query: { [name: string]: string | number } = {};
  for (const [name, value] of Object.entries(given)) {
    if (name === 'before' || name === 'limit') query[name] = whole(value, name);
    else if (SEARCH_NAMES.some((known) => known === name) && typeof value === 'string')
      query[name] = value;
    else
      throw new LedgerError(
        'note-invalid',
        `A search has no condition ${name}; it has ${SEARCH_NAMES.join(', ')}, before and limit.`,
      );
  }
  return query;
}

/**
 * A tile or bundle of any width that the published files can give: narrower ones are the start of
 * wider ones.
 */
function tileBytes(directory: string, place: TilePlace): Buffer | null {
  const files = new DiskFiles();
  const path = (width: number): string =>
    join(
      directory,
      'log',
      place.level === 'entries'
        ? bundlePath(place.index, width)
        : tilePath(place.level, place.index, width),
    );
  const exact = files.read(path(place.width));
  if (exact !== null || place.width === TILE_WIDTH) return exact;
  const widths = files
    .list(`${path(TILE_WIDTH)}.p`)
    .map(Number)
    .filter((w) => w > place.width);
  const wider = files.exists(path(TILE_WIDTH)) ? TILE_WIDTH : Math.min(...widths);
  const bytes = Number.isFinite(wider) ? files.read(path(wider)) : null;
  if (bytes === null) return null;
  if (place.level !== 'entries') return bytes.subarray(0, place.width * HASH_BYTES);
  const kept = splitBundle(bytes, wider, path(wider)).slice(0, place.width);
  return bytes.subarray(
    0,
    kept.reduce((sum, entry) => sum + 2 + entry.length, 0),
  );
}

function publicLog(
  server: FastifyInstance,
  options: ServerOptions,
  demand: (request: FastifyRequest, right: Right) => void,
): void {
  const files = new DiskFiles();
  server.get('/checkpoint', async (request, reply) => {
    if (!options.publicLog) demand(request, 'read');
    const note = files.read(join(options.directory, 'log', 'checkpoint'));
    if (note === null) throw new LedgerError('not-found', 'The log has no checkpoint yet.');
    return reply.type('text/plain; charset=utf-8').header('cache-control', 'no-cache').send(note);
  });
  server.get('/witnessed', async (request, reply) => {
    if (!options.publicLog) demand(request, 'read');
    const note = files.read(join(options.directory, 'log', 'witnessed'));
    if (note === null) throw new LedgerError('not-found', 'No witness has co-signed this log yet.');
    return reply.type('text/plain; charset=utf-8').header('cache-control', 'no-cache').send(note);
  });
  server.get('/tile/*', async (request, reply) => {
    if (!options.publicLog) demand(request, 'read');
    const place = parseTilePath(request.url.slice(1));
    const bytes = place === null ? null : tileBytes(options.directory, place);
    if (bytes === null) throw new LedgerError('not-found', 'There is no such tile.');
    reply
      .type('application/octet-stream')
      .header('cache-control', IMMUTABLE)
      .header('vary', 'accept-encoding');
    if (!wantsGzip(String(request.headers['accept-encoding'] ?? ''))) return reply.send(bytes);
    return reply.header('content-encoding', 'gzip').send(await zip(bytes));
  });
}

function reads(
  server: FastifyInstance,
  options: ServerOptions,
  demand: (request: FastifyRequest, right: Right) => void,
): void {
  const get = (
    path: string,
    answer: (
      request: FastifyRequest,
      params: { [name: string]: string },
      query: { [name: string]: unknown },
      reply: FastifyReply,
    ) => Promise<unknown>,
  ): void => {
    server.get<{ Params: { [name: string]: string }; Querystring: { [name: string]: unknown } }>(
      path,
      async (request, reply) => {
        demand(request, 'read');
        return answer(request, request.params, request.query, reply);
      },
    );
  };
  get('/v1/search', (_, __, query) => active(options).search(searchQuery(query)));
  get('/v1/operations/:id', async (_, { id }) => {
    const told = await active(options).story(id ?? '');
    if (told.steps.length === 0)
      throw new LedgerError(
        'not-found',
        `Nothing is recorded of ${JSON.stringify(id)}, or it is not indexed yet.`,
      );
    return told;
  });
  get('/v1/entries/:index', async (_, { index }) => {
    const place = whole(index, 'index');
    return { index: place, entry: await active(options).read(place) };
  });
  get('/v1/entries/:index/proof', async (_, { index }, __, reply) => {
    const proof = await active(options).proof(whole(index, 'index'));
    reply.type('text/plain; charset=utf-8');
    return proof;
  });
  get('/v1/bodies/:sha256', async (_, { sha256 }, __, reply) => {
    const body = await active(options).body(sha256 ?? '');
    reply.type('application/octet-stream');
    return body;
  });
  get('/v1/consistency', async (_, __, { from, to }) => {
    const hashes = active(options).consistency(whole(from, 'from'), whole(to, 'to'));
    return { hashes: hashes.map((hash) => hash.toString('base64')) };
  });
  get('/v1/log', async () => {
    const { publicKey, size, root, checkpoint, indexed } = active(options);
    return { publicKey, size, root, checkpoint, indexed };
  });
}

/** The service, not listening yet. */
export function ledgerServer(options: ServerOptions): FastifyInstance {
  const access = new Access(options.principals);
  const { tls } = options;
  const https = tls && {
    cert: tls.cert,
    key: tls.key,
    minVersion: 'TLSv1.2' as const,
    ...(tls.clientCa === null
      ? {}
      : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false }),
  };
  const common = {
    bodyLimit: REQUEST_BYTES_MAX,
    requestTimeout: REQUEST_MS,
    forceCloseConnections: true,
  };
  const server: FastifyInstance =
    https === undefined ? fastify(common) : Object.assign(fastify({ ...common, https }));
  const demand = (request: FastifyRequest, right: Right): Principal =>
    access.demand(request.raw, right);

  server.setErrorHandler((error, _request, reply) => {
    const known = error instanceof LedgerError ? error : null;
    const status = known === null ? statusOf(error) : STATUS[known.code];
    const code = known?.code ?? (status < 500 ? 'request-invalid' : 'internal');
    options.metrics.refused(code);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    const message =
      known !== null || status < 500 ? reasonOf(error) : 'The ledger failed; its log says why.';
    return reply.status(status).send({ code, message });
  });

  // Who may not append is told so before a body is read.
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    demand(request, 'append');
  };
  server.post('/v1/append', { onRequest }, async (request) => {
    const appends = readAppends(request.body, demand(request, 'append'));
    return { answers: await active(options).append(appends) };
  });
  reads(server, options, demand);
  publicLog(server, options, demand);
  keeping(server, () => options.keeper() ?? standby(), demand);

  server.get('/healthz', async (_, reply) => {
    const ledger = options.ledger();
    const why = ledger === null ? 'standby' : ledger.unavailable;
    return reply.status(why === null ? 200 : 503).send({ ok: why === null, why });
  });
  server.get('/metrics', async (request, reply) => {
    demand(request, 'metrics');
    return reply
      .type(options.metrics.registry.contentType)
      .send(await options.metrics.registry.metrics());
  });
  return server;
}

function statusOf(error: unknown): number {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  if (typeof status === 'number') return status;
  return error instanceof RangeError ? 400 : 500;
}
