// One judgement in progress: the effects found so far, where in the text we are, and how names
// resolve there.
// Invariant: effects only ever get worse; a budget that runs out ends as `unknown`, not as fewer
// effects.
import type { Node, SelectStmt } from '@pgsql/types';
import {
  type Access,
  type Effect,
  type EffectClass,
  type EffectObject,
  type ObjectKind,
  severity,
} from '../../effect/effect.ts';
import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot, Relation } from '../catalog/snapshot.ts';
import type { SessionChange, SessionContext } from '../statement.ts';
import { perhaps } from './context.ts';
import { multiplied, predicateFor } from './count.ts';
import type { Candidates } from './plpgsql-constants.ts';

/** An effect while it is being put together. */
export type Draft = { -readonly [K in keyof Effect]: Effect[K] } & { objects: EffectObject[] };

export function newDraft(verb = 'select', effect: EffectClass = 'read'): Draft {
  return {
    class: effect,
    verb,
    objects: [],
    predicate: 'not-applicable',
    scoped: true,
    rows_max: null,
    reversible: severity(effect) < severity('destructive'),
    opaque: null,
  };
}

/** One entry of a FROM list, or the target of a change. */
export interface Source {
  readonly alias: string;
  readonly relation: Relation | null;
  /** Column names; null when they can't be known. */
  readonly columns: ReadonlySet<string> | null;
  readonly target: boolean;
}

/** A query of a WITH clause. */
export interface Cte {
  readonly query: Node | undefined;
  /** The most rows that it gives, the same whenever it is read; null: any number. */
  readonly rows: number | null;
}

export interface Scope {
  readonly parent: Scope | null;
  readonly ctes: Map<string, Cte>;
  readonly sources: Source[];
  /** The query that it is of. */
  query?: SelectStmt;
  /** Of an INSERT: the query that its rows come from. */
  feeds?: SelectStmt | undefined;
}

/** What one statement (or one function body) has been found to do. */
export interface Findings {
  readonly effects: Draft[];
  readonly changes: SessionChange[];
  /** Types met on the way: their operator classes and casts may run users' code. */
  readonly types: Set<string>;
  needs_read_write: boolean;
  own_transaction: boolean;
  /** See {@link Root.moving}. */
  moves: boolean;
  /** Code that goes on makes or changes things. */
  makes: boolean;
  /** Something runs as soon as its text is parsed: a literal of a type with checks in it. */
  on_parse: boolean;
  highest_parameter: number;
  /** Parameters that a bound on rows rests on: with some types it would not hold. */
  compared: Set<number> | null;
}

export function noFindings(): Findings {
  return {
    effects: [],
    changes: [],
    types: new Set(),
    needs_read_write: false,
    own_transaction: false,
    moves: false,
    makes: false,
    on_parse: false,
    highest_parameter: 0,
    compared: null,
  };
}

/** What all of one message shares. */
export interface Root {
  readonly session: SessionContext;
  readonly catalog: CatalogSnapshot | null;
  nodes: number;
  /** The most nodes outside what the catalog brings. */
  most: number;
  depth: number;
  /** How far functions and relations have been looked into; null before the first. */
  progress: Progress | null;
  /** The answer rests on prepared statements or cursors of this session. */
  personal: boolean;
  /** A literal's value mattered: the answer is not that of the shape. */
  literal: boolean;
  /** search_path changes while the statement runs: names in bodies may mean anything. */
  moving: boolean;
  /** What was made before is being worked out again. */
  readonly renewing?: boolean;
}

/** What one judgement has found so far of things that reach themselves. */
export interface Progress {
  /** Keys being looked into: one inside itself adds nothing new. */
  readonly open: Set<string>;
  /** Keys, still open, at which the search at hand was cut short. */
  cut: Set<string>;
  /** Findings that lack what those keys do. They are good for as long as all of them are open. */
  readonly found: Map<string, { readonly findings: Findings; readonly cut: ReadonlySet<string> }>;
}

const NO_VARIABLES: ReadonlyMap<string, readonly string[]> = new Map();
export class Budget extends Error {}

export interface Frame {
  readonly path?: readonly string[] | null;
  readonly runtime?: readonly string[] | null;
  readonly via?: readonly string[];
  readonly findings?: Findings;
  readonly draft?: Draft;
  readonly planning?: boolean;
  readonly body?: boolean;
  readonly times?: number | null;
}

const NO_CONSTANTS: Candidates = new Map();

export class Judge {
  readonly root: Root;
  readonly findings: Findings;
  /** Schemas in order, `$user` resolved, pg_catalog where it stands; null when unknown. */
  readonly path: readonly string[] | null;
  /** The search path in force while it runs: what bodies reached from deparsed text go by. */
  readonly runtime: readonly string[] | null;
  readonly via: readonly string[];
  /** Under EXPLAIN: planned, not run. */
  readonly planning: boolean;
  /** Inside a function, view or trigger: parameters are its own. */
  readonly body: boolean;
  /** How often a statement here runs, at most, each time that its findings apply; null: any. */
  times: number | null;
  draft: Draft;
  scope: Scope | null = null;
  /** Variables of the PL/pgSQL body at hand that hold constants. */
  constants: Candidates = NO_CONSTANTS;
  /** Variables and parameters of the body at hand, with the types that each may have. */
  variables: ReadonlyMap<string, readonly string[]> = NO_VARIABLES;
  /** A bound rests on a value that is computed as the statement runs. */
  computed = false;
  /** What fired the trigger function at hand: TG_OP. */
  operation: string | null = null;

  constructor(root: Root, frame: Required<Frame>) {
    this.root = root;
    this.findings = frame.findings;
    this.path = frame.path;
    this.runtime = frame.runtime;
    this.via = frame.via;
    this.planning = frame.planning;
    this.body = frame.body;
    this.draft = frame.draft;
    this.times = frame.times;
  }

  get catalog(): CatalogSnapshot | null {
    return this.root.catalog;
  }

  /**
   * A judge of something inside: a body with its own path, a view's text, a planned statement. How
   * often that runs is not known unless it is said.
   */
  inside(frame: Frame): Judge {
    const made = new Judge(this.root, {
      path: this.path,
      runtime: this.runtime,
      via: this.via,
      findings: this.findings,
      draft: this.draft,
      planning: this.planning,
      body: this.body,
      times: null,
      ...frame,
    });
    made.variables = this.variables;
    return made;
  }

  /** Counts a syntax node, or as much work. */
  visit(nodes = 1): void {
    const { root } = this;
    root.nodes += nodes;
    if (root.nodes > (root.depth > 0 ? EFFECT_LIMITS.nodes : root.most))
      throw new Budget('more syntax nodes than can be judged');
  }

  /** Begins an effect of its own; later objects go to it until another begins. */
  open(verb: string, effect: EffectClass): Draft {
    const draft = newDraft(verb, effect);
    this.add(draft);
    this.draft = draft;
    return draft;
  }

  /** An effect that is put together already. */
  add(draft: Draft): void {
    if (this.findings.effects.length >= EFFECT_LIMITS.effects) {
      throw new Budget(`more than ${EFFECT_LIMITS.effects} effects`);
    }
    this.findings.effects.push(draft);
  }

  /** An effect beside the current one. */
  aside(verb: string, effect: EffectClass): Draft {
    const before = this.draft;
    const draft = this.open(verb, effect);
    this.draft = before;
    return draft;
  }

  /** Something that can't be understood, and why. */
  opaque(reason: string, verb = 'unknown'): void {
    const told = this.via.length === 0 ? reason : `${reason}, in ${this.via[this.via.length - 1]}`;
    if (this.findings.effects.some((effect) => effect.opaque === told)) return;
    const draft = this.aside(verb, 'unknown');
    draft.opaque = told;
    draft.scoped = false;
    draft.reversible = false;
    this.findings.changes.push({ kind: 'unsettled', why: told });
  }

  object(kind: ObjectKind, schema: string | null, name: string, access: Access, more?: More): void {
    addObject(this.draft, {
      kind,
      database: null,
      schema,
      name,
      columns: more?.columns ?? NO_NAMES,
      access,
      via: more?.via === undefined ? this.via : [...this.via, ...more.via],
      tags: NO_NAMES,
      identity: more?.identity ?? null,
    });
  }

  relation(relation: Relation, access: Access, more?: More): void {
    const { via } = this;
    addObject(this.draft, {
      kind: objectKind(relation),
      database: null,
      schema: relation.temporary ? 'pg_temp' : relation.schema,
      name: relation.name,
      columns: more?.columns ?? NO_NAMES,
      access,
      via: more?.via === undefined || more.via.length === 0 ? via : [...via, ...more.via],
      tags: NO_NAMES,
      identity: more?.identity ?? relation.identity,
    });
  }

  change(change: SessionChange): void {
    const counted = this.body || this.planning ? perhaps(change) : change;
    if (counted !== null) this.findings.changes.push(counted);
    if (this.body && change.kind === 'object') this.findings.makes = true;
  }

  worsen(draft: Draft, effect: EffectClass): void {
    if (severity(effect) > severity(draft.class)) draft.class = effect;
    if (severity(effect) >= severity('destructive')) draft.reversible = false;
  }
}

export interface More {
  readonly columns?: readonly string[];
  readonly via?: readonly string[];
  readonly identity?: string | null;
}

const NO_NAMES: readonly string[] = [];

/** Taking a thing over costs about as much as judging so many nodes. */
const NODES_AN_OBJECT = 4;
/** Past so many things, one that is there already is found by its key. */
const FEW = 16;
const indexes = new WeakMap<Draft, Set<string>>();

export function addObject(draft: Draft, object: EffectObject): void {
  const { objects } = draft;
  if (objects.length > FEW ? isIndexed(draft, object) : objects.some((o) => sameObject(o, object)))
    return;
  if (objects.length >= EFFECT_LIMITS.objects)
    throw new Budget(`more than ${EFFECT_LIMITS.objects} things in one effect`);
  objects.push(object);
}

/** Whether it is there already; from now on it is. */
function isIndexed(draft: Draft, object: EffectObject): boolean {
  let index = indexes.get(draft);
  if (index === undefined) {
    index = new Set(draft.objects.map(keyOf));
    indexes.set(draft, index);
  }
  const key = keyOf(object);
  if (index.has(key)) return true;
  index.add(key);
  return false;
}

function keyOf({ kind, access, schema, name }: EffectObject): string {
  return `${kind} ${access} ${schema === null ? '' : `.${schema}`}\0${name}`;
}

const KINDS: { readonly [K in Relation['kind']]: ObjectKind } = {
  r: 'table',
  p: 'table',
  v: 'view',
  m: 'materialized-view',
  f: 'foreign-table',
  S: 'sequence',
  c: 'type',
};

export function objectKind(relation: Relation): ObjectKind {
  return KINDS[relation.kind];
}

/**
 * Adds what something reached (a body, a view, a stored statement) does to the one that reaches it,
 * at most so many times. `together`: how rows of the same effect count, reached in two ways.
 */
export function absorb(
  judge: Judge,
  effects: readonly Effect[],
  via: readonly string[],
  times: number | null = null,
  together: (a: number, b: number) => number = (a, b) => a + b,
): void {
  const prefix = [...judge.via, ...via];
  for (const effect of effects) {
    if (effect.class === 'read' && effect.opaque === null && effect.objects.length === 0) continue;
    judge.visit(effect.objects.length * NODES_AN_OBJECT);
    const objects =
      prefix.length === 0
        ? [...effect.objects]
        : effect.objects.map((object) => ({ ...object, via: [...prefix, ...object.via] }));
    if (effect.class === 'read' && effect.opaque === null) {
      for (const object of objects) addObject(judge.draft, object);
      continue;
    }
    const rows = multiplied(effect.rows_max, times);
    const predicate = predicateFor(effect.predicate, rows);
    const same = judge.findings.effects.find(
      (known) =>
        known !== judge.draft &&
        known.class === effect.class &&
        known.verb === effect.verb &&
        known.opaque === effect.opaque &&
        known.scoped === effect.scoped &&
        known.predicate === predicate &&
        known.objects.length === objects.length &&
        known.objects.every((object, index) => sameObject(object, objects[index])),
    );
    if (same === undefined) judge.add({ ...effect, objects, predicate, rows_max: rows });
    else if (same.rows_max !== null)
      same.rows_max = rows === null ? null : together(same.rows_max, rows);
  }
}

function sameObject(a: EffectObject, b: EffectObject | undefined): boolean {
  return (
    b !== undefined &&
    a.name === b.name &&
    a.schema === b.schema &&
    a.access === b.access &&
    a.kind === b.kind
  );
}
