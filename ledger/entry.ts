// The door for entries that come from outside the process: form, kind and writer.
// Invariant: what passes has the fields every entry has, and is of a kind and from a writer that
// its sender may use.
import { serviceOf } from './canonical.ts';
import type { Append, Entry } from './contract.ts';
import { LedgerError } from './errors.ts';
import { BODY_BYTES_MAX } from './limits.ts';
import { isOwnAct } from './removed.ts';

export type EntryKind = Entry['kind'];

/**
 * Every kind, with the fields it must have beside the common ones; a new kind does not compile
 * until it is here.
 */
const FIELDS: { readonly [K in EntryKind]: readonly (keyof Extract<Entry, { kind: K }>)[] } = {
  decision: [
    'operation',
    'session',
    'agent',
    'target',
    'environment',
    'engine',
    'database',
    'class',
    'effects',
    'statement',
    'verdict',
    'disposition',
    'policy',
    'mode',
    'stated',
  ],
  outcome: [
    'operation',
    'session',
    'agent',
    'target',
    'environment',
    'engine',
    'database',
    'outcome',
    'answer',
    'rows',
  ],
  reads: [
    'session',
    'agent',
    'target',
    'environment',
    'engine',
    'database',
    'class',
    'fingerprint',
    'verdict',
    'rule',
    'policy',
    'count',
    'first',
    'last',
  ],
  signature: [
    'hold',
    'operation',
    'binding',
    'signer',
    'decision',
    'method',
    'channel',
    'signature',
  ],
  hold: ['hold', 'operation', 'binding', 'state'],
  mode: ['scope', 'name', 'mode', 'who', 'reason'],
  policy: ['digest', 'previous', 'accepted', 'message'],
  drill: ['name', 'passed', 'detail'],
  administration: ['act', 'who', 'what', 'detail'],
};

export const KINDS: readonly EntryKind[] = Object.keys(FIELDS).filter(
  (kind): kind is EntryKind => kind in FIELDS,
);

function isKind(kind: unknown): kind is EntryKind {
  return typeof kind === 'string' && Object.hasOwn(FIELDS, kind);
}

function invalid(why: string): LedgerError {
  return new LedgerError('entry-invalid', `${why}; the field reference is in ledger/README.md.`);
}

/**
 * Fields that are read again after they are written, by the index, by retention and by people's
 * tools: an entry that any of them stumbles over would stop it for good.
 */
const TEXTS = ['operation', 'session', 'agent', 'target', 'hold', 'signer', 'who', 'what', 'act'];
const SHAPES = ['statement', 'verdict', 'stated', 'detail'];

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkShapes(entry: { readonly [name: string]: unknown }): void {
  const { kind, effects, statement } = entry;
  const wrong =
    TEXTS.find((name) => typeof (entry[name] ?? '') !== 'string') ??
    SHAPES.find((name) => {
      const ofText =
        (name === 'verdict' && kind === 'reads') || (name === 'detail' && kind === 'drill');
      const value = entry[name] ?? (ofText ? '' : {});
      return ofText ? typeof value !== 'string' : !isObject(value) || entry[name] === null;
    });
  if (wrong !== undefined) throw invalid(`"${wrong}" of a ${kind} entry has another form`);
  if (kind !== 'decision') return;
  if (!isObject(statement) || typeof statement.normalized !== 'string')
    throw invalid('A decision entry needs "statement" with "normalized" as text');
  const known =
    Array.isArray(effects) &&
    effects.every(
      (effect: unknown) =>
        isObject(effect) &&
        Array.isArray(effect.objects) &&
        effect.objects.every(
          (object: unknown) => isObject(object) && typeof object.name === 'string',
        ),
    );
  if (!known) throw invalid('A decision entry needs "effects", each with "objects" with names');
}

/** Checks form only: what an entry says is its writer's word. */
function isEntry(value: object): value is Entry {
  const entry: { readonly [name: string]: unknown } = { ...value };
  if (entry.v !== 1) throw invalid('An entry must have "v": 1');
  if (!isKind(entry.kind)) throw invalid(`The kind ${JSON.stringify(entry.kind)} is not known`);
  for (const name of ['time', 'by']) {
    if (typeof entry[name] !== 'string' || entry[name] === '')
      throw invalid(`A ${entry.kind} entry needs "${name}" as text`);
  }
  if (Number.isNaN(Date.parse(String(entry.time))))
    throw invalid(`The time ${JSON.stringify(entry.time)} is not RFC 3339`);
  checkShapes(entry);
  const missing = FIELDS[entry.kind].find((name) => entry[name] === undefined);
  if (missing !== undefined) throw invalid(`A ${entry.kind} entry needs "${missing}"`);
  if ('key' in entry) throw invalid('"key" stands beside the entry, not in it');
  return true;
}

/**
 * What each service writes, whatever its token says: a signature is the approver's word, a decision
 * a proxy's.
 */
const SERVICES: { readonly [service: string]: readonly EntryKind[] } = {
  proxy: ['decision', 'outcome', 'reads', 'policy', 'mode', 'drill'],
  approver: ['signature', 'hold', 'mode', 'policy', 'drill', 'administration'],
};

/** The writer's rights that {@link readAppends} holds entries against. */
export interface WriterLimits {
  readonly name: string;
  /** null: what the service that `by` names writes. */
  readonly kinds: readonly EntryKind[] | null;
  /** null: its own name, alone or before a `/`. */
  readonly writes_as: readonly string[] | null;
}

/** Who came in says who wrote it: nobody writes in another's name, nor what is not theirs. */
function checkWriter(entry: Entry, writer: WriterLimits): void {
  const { name, kinds } = writer;
  const names = writer.writes_as ?? [name, `${name}/`];
  const own = names.some((one) =>
    one.endsWith('/') ? entry.by.startsWith(one) && entry.by !== one : entry.by === one,
  );
  if (!own) {
    throw new LedgerError(
      'forbidden',
      `${name} may not write as ${JSON.stringify(entry.by.slice(0, 100))}; its writes_as says ` +
        `${names.join(', ')}.`,
    );
  }
  const service = serviceOf(entry.by);
  const usual = Object.hasOwn(SERVICES, service) ? SERVICES[service] : undefined;
  const may = (usual ?? kinds ?? []).filter((kind) => kinds === null || kinds.includes(kind));
  if (!may.includes(entry.kind)) {
    throw new LedgerError(
      'forbidden',
      `${name} may not write ${entry.kind} entries as ${service}.`,
    );
  }
  if (entry.kind === 'administration' && isOwnAct(entry.act)) {
    throw new LedgerError('forbidden', `Only the ledger itself writes ${entry.act}.`);
  }
}

/** `{"appends": [{"key", "entry", "body"?}]}`, bodies in base64. */
export function readAppends(value: unknown, writer: WriterLimits): Append[] {
  const list =
    typeof value === 'object' && value !== null && 'appends' in value ? value.appends : null;
  if (!Array.isArray(list) || list.length === 0)
    throw invalid('The request needs a list "appends"');
  return list.map((one: unknown) => {
    if (typeof one !== 'object' || one === null || !('key' in one) || !('entry' in one))
      throw invalid('An append needs "key" and "entry"');
    const { key, entry } = one;
    if (typeof key !== 'string' || typeof entry !== 'object' || entry === null || !isEntry(entry))
      throw invalid('An append needs "key" as text and "entry" as an object');
    checkWriter(entry, writer);
    const body = 'body' in one ? one.body : undefined;
    if (body === undefined) return { key, entry };
    if (typeof body !== 'string' || body.length > BODY_BYTES_MAX * 1.4)
      throw invalid('A body is base64 text');
    return { key, entry, body: Buffer.from(body, 'base64') };
  });
}
