// Operations to judge, built from a default by what differs.
// Invariant: complete operations of the real shape, so that what passes here passes from the spine.
import type { Effect, EffectObject } from '../../proxy/effect/effect.ts';
import type { Operation } from '../../proxy/operation.ts';

export function object(parts: Partial<EffectObject> = {}): EffectObject {
  return {
    kind: 'table',
    database: 'shop',
    schema: 'public',
    name: 'orders',
    columns: [],
    access: 'read',
    via: [],
    tags: [],
    identity: null,
    ...parts,
  };
}

export function effect(parts: Partial<Effect> = {}): Effect {
  return {
    class: 'read',
    verb: 'select',
    objects: [object()],
    predicate: 'filter',
    scoped: true,
    rows_max: null,
    reversible: false,
    opaque: null,
    ...parts,
  };
}

export const scopedDelete: Effect = effect({
  class: 'destructive',
  verb: 'delete',
  objects: [object({ access: 'delete' })],
});

export function operation(effects: readonly Effect[], parts: Partial<Operation> = {}): Operation {
  return {
    id: '00000000-0000-4000-8000-000000000001',
    engine: 'postgres',
    bytes: new TextEncoder().encode('SELECT 1'),
    parameters: [],
    analysis: {
      class: effects[0]?.class ?? 'read',
      complete: true,
      unscoped: effects.some((e) => !e.scoped),
      effects,
      normalized: 'SELECT $1',
      fingerprint: 'ab',
    },
    target: {
      name: 'shop',
      engine: 'postgres',
      environment: 'production',
      database: 'shop',
      enforce: true,
      tags: [],
    },
    agent: { name: 'bot', groups: [], capabilities: ['read', 'write', 'ddl'], scopes: [] },
    session: {
      id: '00000000-0000-4000-8000-000000000002',
      application: 'psql',
      client_address: '127.0.0.1:5000',
      started: '2026-01-01T00:00:00Z',
      stated: { reason: null, task: null, on_behalf_of: null },
      settings: { search_path: 'public' },
    },
    in_transaction: false,
    transaction_age_ms: null,
    asked: '2026-01-01T00:00:01Z',
    ...parts,
  };
}

/** A small generator with a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
