// The routes of retention and legal holds.
// Invariant: each needs the right `retain`, and who asked stands in the entry by their token's
// name.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Principal, Right } from './access.ts';
import { LedgerError } from './errors.ts';
import type { Keeper } from './keeper.ts';
import { ORDER_BYTES_MAX } from './limits.ts';

function fields(body: unknown, names: readonly string[]): { readonly [name: string]: unknown } {
  if (body === undefined || body === null) return {};
  const given = typeof body === 'object' && !Array.isArray(body) ? { ...body } : null;
  const odd = given === null ? 'the body' : Object.keys(given).find((n) => !names.includes(n));
  if (given === null || odd !== undefined)
    throw new LedgerError('note-invalid', `${odd} is not known; send ${names.join(', ')}.`);
  return given;
}

function text(value: unknown, name: string): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  throw new LedgerError('note-invalid', `${name} must be text.`);
}

export function keeping(
  server: FastifyInstance,
  keeper: () => Keeper,
  demand: (request: FastifyRequest, right: Right) => Principal,
): void {
  server.get('/v1/retention', async (request) => {
    demand(request, 'retain');
    return keeper().status();
  });
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    demand(request, 'retain');
  };
  const small = { onRequest, bodyLimit: ORDER_BYTES_MAX };
  server.post('/v1/retention', small, async (request) => {
    const { name } = demand(request, 'retain');
    const { dry = false } = fields(request.body, ['dry']);
    if (typeof dry !== 'boolean') throw new LedgerError('note-invalid', 'dry is true or false.');
    return keeper().run(name, dry);
  });
  server.post('/v1/legal-holds', small, async (request) => {
    const { name: who } = demand(request, 'retain');
    const given = fields(request.body, ['name', 'from', 'to']);
    const name = text(given.name, 'name') ?? '';
    return keeper().hold({
      name,
      who,
      from: text(given.from, 'from'),
      to: text(given.to, 'to'),
    });
  });
  server.delete<{ Params: { name: string } }>('/v1/legal-holds/:name', async (request) => {
    const { name: who } = demand(request, 'retain');
    return keeper().release(request.params.name, who);
  });
}
