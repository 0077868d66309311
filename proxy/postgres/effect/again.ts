// What was made or changed in this session, worked out again by what there is now: a function may
// be replaced after what calls it, a table get a trigger after what writes to it.
// Invariant: what was said of an object before still holds; more may come to it, until nothing
// does.
import type { Node } from '@pgsql/types';
import type { Effect } from '../../effect/effect.ts';
import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import {
  type Consequence,
  type LocalObject,
  localKey,
  type SaidBy,
  type SessionChange,
  type SessionContext,
} from '../statement.ts';
import { applyChange, withObject } from './context.ts';
import { Budget, type Findings, Judge, noFindings, type Root } from './judge.ts';
import { DDL, RUNS } from './local.ts';
import { counts } from './names.ts';
import { judgeStatement, kindOf } from './statements.ts';

const renewed = new WeakMap<
  SessionContext,
  { readonly catalog: CatalogSnapshot | null; readonly session: SessionContext }
>();

/** Statements that only say what there is from now on: nothing of the session's own runs. */
const DEFINES = new RegExp(
  '^(Create(?!TableAs|Stmt)|View|Rule|Define|Rename|Comment|Grant|Composite|Drop' +
    '|Transaction|Variable)',
);

/** Whether a statement may run what was made in this session. */
export function mayRunOwn({ local }: SessionContext, statement: Node): boolean {
  if (local.size === 0) return false;
  if (local.has(localKey('operator', DDL))) return true;
  if ('CreateStmt' in statement) return statement.CreateStmt.partbound !== undefined;
  return !DEFINES.test(kindOf(statement)[0]);
}

/** What things of the session's own may change in it, whenever they run. */
export function ownChanges({ local }: SessionContext): readonly SessionChange[] {
  return local.get(localKey('operator', RUNS))?.changes ?? [];
}

/** The session of a judgement that begins, with its own objects as they are by now. */
export function renew(judge: Judge): SessionContext {
  const { session, catalog } = judge.root;
  const known = renewed.get(session);
  if (known !== undefined && known.catalog === catalog) return known.session;
  const own = [...session.local.values()].filter((object) => counts(judge, object));
  const now = { ...session, local: worked(judge, own) };
  renewed.set(session, { catalog, session: now });
  return now;
}

/**
 * Looks again where code goes on after it changed what names mean, or made or changed things: all
 * of that may be so already. `look` judges anew, with the session and settings of a root.
 */
export function untilSettled(first: Root, look: (root: Root) => Judge): Judge {
  let judge = look(first);
  for (let round = 0; ; round++) {
    const { root, findings } = judge;
    const moving = root.moving || findings.moves;
    if (!findings.makes && moving === root.moving) return judge;
    if (round === EFFECT_LIMITS.rounds) throw new Budget('it makes things without an end');
    const again = look({ ...goingOn(judge, first), moving });
    const settled = round > 0 && moving === root.moving;
    if (settled && sizeOf(again.findings) === sizeOf(findings)) return again;
    judge = again;
  }
}

/** What a statement goes by that began so, with all that it makes as it goes on. */
function goingOn(judge: Judge, { session, depth }: Root): Root {
  const now = withMade(session, judge.findings.changes);
  const root = { ...judge.root, session: now, depth, progress: null };
  if (now === session || root.renewing === true) return root;
  const { findings, path, runtime, via, draft, planning, body, times } = judge;
  const frame = { findings, path, runtime, via, draft, planning, body, times };
  return { ...root, session: renew(new Judge(root, frame)) };
}

/** A session with what these changes make. */
export function withMade(
  session: SessionContext,
  changes: readonly SessionChange[],
): SessionContext {
  const made = changes.filter(({ kind }) => kind === 'object' || kind === 'temporary');
  return made.reduce(applyChange, session);
}

function sizeOf({ effects, changes }: Findings): number {
  let size = effects.length;
  for (const { objects } of effects) size += objects.length;
  for (const change of changes)
    if (change.kind === 'object')
      size += change.object.on_read.length + change.object.on_write.length;
  return size;
}

function worked(judge: Judge, own: readonly LocalObject[]): SessionContext['local'] {
  const local = new Map(judge.root.session.local);
  const said = new Set(own.flatMap((object) => object.said));
  for (let round = 0; round < EFFECT_LIMITS.rounds; round++) {
    let changed = false;
    for (const statement of said)
      for (const object of madeBy(judge, local, statement))
        if (add(judge, local, object)) changed = true;
    if (!changed) return local;
  }
  const why = 'what this transaction made hangs together in too many ways';
  const lost = own[0];
  return lost === undefined ? local : withObject(new Map(), lost, why);
}

function madeBy(
  judge: Judge,
  local: SessionContext['local'],
  { node, path }: SaidBy,
): readonly LocalObject[] {
  const { root } = judge;
  const session = { ...root.session, local };
  const then: Root = { ...root, session, renewing: true, depth: 0, progress: null };
  const findings = noFindings();
  const { draft, planning, times } = judge;
  const frame = { findings, path, runtime: path, via: [], draft, planning, body: true, times };
  judgeStatement(new Judge(then, frame), node);
  root.nodes = then.nodes;
  return findings.changes.flatMap((change) => (change.kind === 'object' ? [change.object] : []));
}

/** Comparing an effect costs about as much as judging so many nodes. */
const NODES_AN_EFFECT = 5;

/** true: it was not all there. */
function add(judge: Judge, local: Map<string, LocalObject>, object: LocalObject): boolean {
  const key = localKey(object.kind, object.name);
  const before = local.get(key);
  if (before === undefined) {
    local.set(key, object);
    return true;
  }
  const count = [before, object].reduce((n, o) => n + o.on_read.length + o.on_write.length, 0);
  judge.visit(count * NODES_AN_EFFECT);
  const on_read = object.on_read.filter(isNew(before.on_read, effectKey));
  const on_write = object.on_write.filter(isNew(before.on_write, consequenceKey));
  if (on_read.length + on_write.length === 0) return false;
  local.set(key, {
    ...before,
    on_read: [...before.on_read, ...on_read],
    on_write: [...before.on_write, ...on_write],
  });
  return true;
}

function isNew<T>(known: readonly T[], keyOf: (item: T) => string): (item: T) => boolean {
  const keys = new Set(known.map(keyOf));
  return (item) => !keys.has(keyOf(item));
}

/** By which way it is reached does not matter. */
function effectKey(effect: Effect): string {
  const objects = effect.objects.map(({ kind, schema, name, access }) => [
    kind,
    schema,
    name,
    access,
  ]);
  return JSON.stringify({ ...effect, objects });
}

function consequenceKey({ on, effects, lead }: Consequence): string {
  return JSON.stringify([on, effects.map(effectKey), lead]);
}
