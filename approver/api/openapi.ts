// OpenAPI 3.1, generated from the routes' own schemas.
// Invariant: a route that is served is described; there is no second list.
import { z } from 'zod';
import { CODES } from '../errors.ts';
import type { AnyRoute } from './route.ts';

export function openapi(routes: readonly AnyRoute[]): unknown {
  const paths: { [path: string]: { [method: string]: unknown } } = {};
  for (const r of routes) {
    const path = (paths[r.path] ??= {});
    path[r.method.toLowerCase()] = operation(r);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdpoint approver',
      version: '1',
      description: 'Holds, and the people who sign them. Errors are problem+json (RFC 9457).',
    },
    paths,
    components: {
      securitySchemes: {
        session: { type: 'apiKey', in: 'cookie', name: 'holdpoint_session' },
        call: {
          type: 'http',
          scheme: 'Holdpoint',
          description: 'A JWS by the signer’s own key over this one call.',
        },
      },
      schemas: {
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail', 'code'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
            code: { enum: Object.keys(CODES) },
          },
        },
      },
    },
  };
}

const AGAIN = {
  name: 'idempotency-key',
  in: 'header',
  required: false,
  description: 'The same key and body within a day are one call, and answered as the first was.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
};

function operation(r: AnyRoute): unknown {
  const problem = {
    description: 'Why not.',
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  };
  const body = schemaOf(r.consumes?.schema ?? r.body, 'input');
  const type = r.consumes?.type ?? 'application/json';
  return {
    operationId: `${r.method.toLowerCase()} ${r.path}`.replaceAll(/[^a-z]+/gi, '_'),
    summary: r.summary,
    description: r.access === 'anyone' ? 'For anyone.' : `Access: ${r.access}.`,
    security: r.access === 'anyone' ? [] : [{ session: [] }, { call: [] }],
    parameters: [
      ...parameters(r.params, 'path'),
      ...parameters(r.query, 'query'),
      ...(r.method === 'POST' && r.access !== 'anyone' ? [AGAIN] : []),
    ],
    ...(body && Object.keys(body).length > 0
      ? { requestBody: { required: true, content: { [type]: { schema: body } } } }
      : {}),
    responses: {
      [r.status]: {
        description: 'Done.',
        content: { 'application/json': { schema: schemaOf(r.answer, 'output') } },
      },
      '4XX': problem,
      '5XX': problem,
    },
  };
}

function parameters(schema: z.ZodType, where: 'path' | 'query'): readonly unknown[] {
  const { properties, required } = schemaOf(schema, 'input') as {
    properties?: { [name: string]: unknown };
    required?: readonly string[];
  };
  return Object.entries(properties ?? {}).map(([name, of]) => ({
    name,
    in: where,
    required: where === 'path' || required?.includes(name) === true,
    schema: of,
  }));
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): { [name: string]: unknown } {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
