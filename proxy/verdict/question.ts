// An operation to judge, made from a line of JSON: what `classify` writes, or a decision of the
// ledger.
// Invariant: what the line does not say is a plain default, never a guess that makes the verdict
// milder.
import {
  type Analysis,
  CLASSES,
  type Effect,
  type EffectClass,
  type EffectObject,
  worst,
} from '../effect/effect.ts';
import type { EngineName, Operation, Stated } from '../operation.ts';

/** Who asks where, for lines that don't say. */
export interface Circumstances {
  readonly engine: EngineName;
  readonly target: string;
  readonly environment: string;
  readonly agent: string;
  readonly groups: readonly string[];
  readonly capabilities: readonly string[];
  readonly scopes: readonly string[];
}

interface Fields {
  readonly [name: string]: unknown;
}

/** Throws an error that names the field when the line is no operation. */
export function operationOf(line: string, circumstances: Circumstances): Operation {
  const fields = objectOf(JSON.parse(line), 'an operation');
  const statement = statementOf(fields.statement);
  const target = fields.target;
  const named = typeof target === 'object' && target !== null ? (target as Fields) : {};
  const database = textOf(fields.database) ?? textOf(named.database) ?? '';
  const session = (fields.session ?? {}) as Fields;
  return {
    id: textOf(fields.operation) ?? textOf(fields.id) ?? 'explain',
    engine: (textOf(fields.engine) as EngineName | null) ?? circumstances.engine,
    bytes: new TextEncoder().encode(statement.text),
    parameters: parametersOf(statement.parameters ?? fields.parameters),
    analysis: analysisOf(fields, statement),
    target: {
      name: textOf(target) ?? textOf(named.name) ?? circumstances.target,
      engine: (textOf(fields.engine) as EngineName | null) ?? circumstances.engine,
      environment:
        textOf(fields.environment) ?? textOf(named.environment) ?? circumstances.environment,
      database,
      enforce: true,
      tags: [],
    },
    agent: {
      name: textOf(fields.agent) ?? circumstances.agent,
      groups: circumstances.groups,
      capabilities: circumstances.capabilities,
      scopes: circumstances.scopes,
    },
    session: {
      id: textOf(fields.session) ?? 'explain',
      application: null,
      client_address: '',
      started: textOf(fields.time) ?? new Date(0).toISOString(),
      stated: statedOf(fields.stated),
      settings: (session.settings ?? {}) as { readonly [name: string]: string },
    },
    in_transaction: fields.in_transaction === true,
    transaction_age_ms: null,
    asked: textOf(fields.time) ?? new Date().toISOString(),
  };
}

function analysisOf(fields: Fields, statement: StatementFields): Analysis {
  if (!Array.isArray(fields.effects)) {
    throw new Error('`effects` must be a list: a line that `holdpoint classify` wrote has it');
  }
  const effects = fields.effects.map((effect: unknown, at) => effectOf(effect, `effects[${at}]`));
  return {
    class: fields.class === undefined ? worst(effects.map((e) => e.class)) : classOf(fields.class),
    complete: fields.complete !== false,
    unscoped:
      fields.unscoped === true || effects.some((e) => !e.scoped && e.class === 'destructive'),
    effects,
    normalized: statement.normalized ?? statement.text,
    fingerprint: statement.fingerprint ?? '',
  };
}

/** The schema's fields, each there; a missing one is the worst it may be. */
function effectOf(value: unknown, where: string): Effect {
  const fields = objectOf(value, where);
  if (!Array.isArray(fields.objects)) throw new Error(`${where}.objects must be a list`);
  return {
    class: classOf(fields.class),
    verb: textOf(fields.verb) ?? 'other',
    objects: fields.objects.map((object: unknown, at) => {
      const known = objectOf(object, `${where}.objects[${at}]`);
      const nothing = {
        database: null,
        schema: null,
        columns: [],
        via: [],
        tags: [],
        identity: null,
      };
      return { ...nothing, ...known } as unknown as EffectObject;
    }),
    predicate: (textOf(fields.predicate) ?? 'none') as Effect['predicate'],
    scoped: fields.scoped === true,
    rows_max: typeof fields.rows_max === 'number' ? fields.rows_max : null,
    reversible: fields.reversible === true,
    opaque: textOf(fields.opaque),
  };
}

interface StatementFields {
  readonly text: string;
  readonly normalized: string | null;
  readonly fingerprint: string | null;
  readonly parameters: unknown;
}

/** The text itself, or the ledger's record of it. */
function statementOf(value: unknown): StatementFields {
  if (typeof value !== 'object' || value === null) {
    return {
      text: textOf(value) ?? '',
      normalized: null,
      fingerprint: null,
      parameters: undefined,
    };
  }
  const record = value as Fields;
  return {
    text: textOf(record.text) ?? textOf(record.normalized) ?? '',
    normalized: textOf(record.normalized),
    fingerprint: textOf(record.fingerprint),
    parameters: record.parameters,
  };
}

function parametersOf(value: unknown): Operation['parameters'] {
  if (!Array.isArray(value)) return [];
  return value.map((parameter: unknown) => {
    const text = textOf(parameter) ?? textOf((parameter as Fields | null)?.text);
    const bytes = text === null ? null : new TextEncoder().encode(text);
    return { type: 'unspecified', format: 'text' as const, bytes, text };
  });
}

function statedOf(value: unknown): Stated {
  const stated = (value ?? {}) as Fields;
  return {
    reason: textOf(stated.reason),
    task: textOf(stated.task),
    on_behalf_of: textOf(stated.on_behalf_of),
  };
}

function classOf(value: unknown): EffectClass {
  const known = CLASSES.find((name) => name === value);
  if (known === undefined) throw new Error(`\`class\` must be one of ${CLASSES.join(', ')}`);
  return known;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function objectOf(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new Error(`${where} must be a JSON object`);
}
