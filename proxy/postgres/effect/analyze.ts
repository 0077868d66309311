// The effect room's door: a message's text becomes what each of its statements would do.
// Invariant: it never throws and always ends; whatever goes wrong on the way is class `unknown`,
// with the reason.
import { createHash } from 'node:crypto';
import { type Effect, type EffectClass, severity, unknownEffect } from '../../effect/effect.ts';
import { withoutLiterals } from '../../effect/secret.ts';
import { EFFECT_LIMITS, PARSER_LIMITS } from '../../limits.ts';
import { type CatalogSnapshot, FIRST_USER_OID } from '../catalog/snapshot.ts';
import { fingerprint, normalize, ParseFailure, parse } from '../parser.ts';
import type { Parsed, SessionChange, SessionContext, Statement } from '../statement.ts';
import { mayRunOwn, ownChanges, renew, untilSettled } from './again.ts';
import { remembered } from './cache.ts';
import { applyChange } from './context.ts';
import { asEscaped, type Escaped, unmarked } from './escapes.ts';
import { Budget, type Findings, Judge, newDraft, noFindings, type Root } from './judge.ts';
import { searchPath } from './names.ts';
import { judgeStatement, kindOf } from './statements.ts';
import { meetGiven } from './type.ts';

export { loadParser } from '../parser.ts';
export { applyChange, initialContext } from './context.ts';

function opaqueStatement(text: string, reason: string): Statement {
  return {
    text,
    node: 'unknown',
    effects: [unknownEffect(reason)],
    changes: [{ kind: 'unsettled', why: reason }],
    own_transaction: false,
    needs_read_write: true,
    highest_parameter: 0,
  };
}

type SearchTexts = Pick<Parsed, 'normalized' | 'fingerprint'>;

/** What the whole message comes to. Search texts are made when they are first asked for. */
class Outcome implements Parsed {
  readonly class: EffectClass;
  readonly complete: boolean;
  readonly unscoped: boolean;
  readonly effects: readonly Effect[];
  readonly statements: readonly Statement[];
  readonly catalog_version: number;
  readonly #text: string;
  /** What has the same search texts: one of the same shape, or a thread's answer. */
  readonly #pattern: SearchTexts | null;
  #normalized: string | null = null;
  #fingerprint: string | null = null;

  constructor(
    text: string,
    statements: readonly Statement[],
    catalog: number,
    pattern: SearchTexts | null = null,
  ) {
    const [only] = statements;
    this.statements = statements.slice();
    this.effects =
      statements.length === 1 && only !== undefined
        ? only.effects
        : statements.flatMap((s) => s.effects);
    let [found, complete, unscoped]: [EffectClass, boolean, boolean] = ['read', true, false];
    for (const effect of this.effects) {
      if (severity(effect.class) > severity(found)) found = effect.class;
      complete &&= effect.opaque === null;
      unscoped ||= !effect.scoped;
    }
    this.class = found;
    this.complete = complete;
    this.unscoped = unscoped;
    this.catalog_version = catalog;
    this.#text = text;
    this.#pattern = pattern;
  }

  get normalized(): string {
    this.#normalized ??=
      this.#pattern?.normalized ??
      withoutLiterals(attempt(() => normalize(this.#text)) ?? this.#text.slice(0, 2000));
    return this.#normalized;
  }

  get fingerprint(): string {
    this.#fingerprint ??=
      this.#pattern?.fingerprint ?? attempt(() => fingerprint(this.#text)) ?? digest(this.#text);
    return this.#fingerprint;
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function attempt(work: () => string): string | null {
  try {
    return work();
  } catch {
    return null;
  }
}

/** What the grammar reads; null where literals may end elsewhere. */
function standard(text: string, context: SessionContext): Escaped | null {
  const strings = context.standard_conforming_strings;
  if (strings === true || !text.includes('\\')) return { text, marks: NO_MARKS };
  const escaped = asEscaped(text);
  return strings === false || escaped?.marks.length === 0 ? escaped : null;
}

const NO_MARKS: readonly number[] = [];

/** Encodings whose bytes beyond ASCII the proxy does not read as the server does. */
function isReadable(text: string, context: SessionContext): string | null {
  if (context.client_encoding === 'UTF8') return isText(text);
  const encoding = (context.client_encoding ?? '').toUpperCase().replaceAll(/[-_]/g, '');
  if (encoding !== 'UTF8' && encoding !== 'UNICODE' && !isAscii(text)) {
    const told = context.client_encoding ?? 'not known';
    return `client_encoding is ${told}, and the text is not plain ASCII`;
  }
  return isText(text);
}

/** Bytes that were not UTF-8 have become U+FFFD. */
function isText(text: string): string | null {
  return text.includes('\ufffd') ? 'the text is not valid UTF-8' : null;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

interface Located {
  readonly stmt_location?: number;
  readonly stmt_len?: number;
}

/** Where the statements stand in the text as it came. */
function originally(stmts: readonly Located[], read: Escaped): readonly Located[] {
  if (read.marks.length === 0) return stmts;
  return stmts.map(({ stmt_location: from = 0, stmt_len: length = 0 }) => {
    const stmt_location = unmarked(read, from);
    const stmt_len = length === 0 ? 0 : unmarked(read, from + length) - stmt_location;
    return { stmt_location, stmt_len };
  });
}

/** The text of each statement: the grammar counts in bytes. */
function slices(text: string, stmts: readonly Located[]): string[] {
  if (stmts.length === 1 && (stmts[0]?.stmt_location ?? 0) === 0 && (stmts[0]?.stmt_len ?? 0) === 0)
    return [text];
  const bytes = isAscii(text) ? null : Buffer.from(text, 'utf8');
  return stmts.map(({ stmt_location: from = 0, stmt_len: length = 0 }) => {
    if (bytes === null) return text.slice(from, length === 0 ? undefined : from + length);
    return bytes.toString('utf8', from, length === 0 ? undefined : from + length);
  });
}

const paths = new WeakMap<SessionContext, readonly string[] | null>();

function newJudge(root: Root, context: SessionContext, findings: Findings): Judge {
  let path = paths.get(context);
  if (path === undefined) {
    path = searchPath(context, context.search_path);
    paths.set(context, path);
  }
  return new Judge(root, {
    path,
    runtime: root.moving ? null : path,
    via: [],
    findings,
    planning: false,
    body: false,
    times: 1,
    draft: newDraft(),
  });
}

function newRoot(session: SessionContext, catalog: CatalogSnapshot | null): Root {
  return {
    session,
    catalog,
    nodes: 0,
    most: EFFECT_LIMITS.own_nodes,
    depth: 0,
    progress: null,
    personal: false,
    literal: false,
    moving: false,
  };
}

/** Values of these types, given as parameters, may be checked or cast by code that changes more. */
export function typesRun(
  types: readonly number[],
  context: SessionContext,
  catalog: CatalogSnapshot | null,
): boolean {
  if (catalog === null || types.every((type) => type < FIRST_USER_OID)) return false;
  const findings = noFindings();
  const judge = newJudge(newRoot(context, catalog), context, findings);
  for (const type of types) meetGiven(judge, String(type));
  return findings.effects.some((effect) => effect.class !== 'read');
}

/** Too long to be judged while others wait; longer ones still are refused before they are read. */
export function isLong({ length }: string): boolean {
  return length > EFFECT_LIMITS.here_characters && length <= PARSER_LIMITS.statement_characters;
}

/** The answer for a text of the same shape: all but the text itself is the same. */
export function alike(parsed: Parsed, text: string): Parsed {
  return new Outcome(
    text,
    parsed.statements.map((statement) => ({ ...statement, text })),
    parsed.catalog_version,
    parsed,
  );
}

/** Kinds whose effect rests on their literals only where the judgement says so. */
const SHAPED = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt']);

export interface Judged {
  readonly parsed: Parsed;
  /** Texts of the same shape do the same. */
  readonly shaped: boolean;
  /** The answer rests on this session's prepared statements or cursors. */
  readonly personal: boolean;
}

/** Judges a text without looking at what is remembered. */
export function judgeText(
  text: string,
  context: SessionContext,
  catalog: CatalogSnapshot | null,
): Judged {
  const version = catalog?.version ?? 0;
  const refused = (reason: string): Judged => ({
    parsed: new Outcome(text, [opaqueStatement(text, reason)], version),
    personal: false,
    shaped: false,
  });
  const unreadable = isReadable(text, context);
  if (unreadable !== null) return refused(unreadable);
  const read = standard(text, context);
  if (read === null)
    return refused('a backslash in a string means something else: standard_conforming_strings');
  let personal = false;
  let literal = false;
  try {
    const stmts = (parse(read.text).stmts ?? []).filter((raw) => raw.stmt !== undefined);
    if (stmts.length > EFFECT_LIMITS.statements) {
      return refused(`more than ${EFFECT_LIMITS.statements} statements in one message`);
    }
    const texts = slices(text, originally(stmts, read));
    const statements: Statement[] = [];
    // Each statement is judged in the context that those before it leave.
    let at = context;
    let nodes = 0;
    for (const [index, { stmt }] of stmts.entries()) {
      if (stmt === undefined) continue;
      let root = newRoot(at, catalog);
      let own: readonly SessionChange[] = NO_CHANGES;
      root.nodes = nodes;
      // In a session, long texts are judged where nobody waits for them.
      if (isLong(text)) root.most = EFFECT_LIMITS.nodes;
      if (mayRunOwn(at, stmt)) {
        const session = renew(newJudge(root, at, noFindings()));
        own = ownChanges(session);
        root = { ...root, session, moving: own.some(({ kind }) => kind === 'unsettled') };
      }
      const context = at;
      const judge = untilSettled(root, (by) => {
        const made = newJudge(by, context, noFindings());
        judgeStatement(made, stmt);
        return made;
      });
      const { findings } = judge;
      root = judge.root;
      for (const change of own) judge.change(change);
      nodes = root.nodes;
      personal ||= root.personal;
      literal ||= root.literal;
      const [node] = kindOf(stmt);
      statements.push(statementOf(texts[index] ?? text, node, findings));
      if (stmts.length > 1) at = afterwards(at, findings.changes);
    }
    const [only] = statements;
    const shaped = statements.length === 1 && SHAPED.has(only?.node ?? '') && !literal && !personal;
    return { parsed: new Outcome(read.text, statements, version), personal, shaped };
  } catch (error) {
    // The grammar has seen it once: it is not asked for search texts of what it does not take.
    const parsed =
      error instanceof ParseFailure
        ? untold(text, reasonOf(error), version)
        : refused(reasonOf(error)).parsed;
    return { parsed, personal: false, shaped: false };
  }
}

function afterwards(context: SessionContext, changes: readonly SessionChange[]): SessionContext {
  let at = context;
  for (const change of changes) at = applyChange(at, change);
  return at;
}

const NO_PARAMETERS: readonly number[] = [];
const NO_CHANGES: readonly SessionChange[] = [];

function statementOf(text: string, node: string, findings: Findings): Statement {
  // The first effect is the statement's own; a later one that only reads and names nothing says
  // nothing.
  const effects = findings.effects.filter(
    (e, index) => index === 0 || e.class !== 'read' || e.objects.length > 0,
  );
  // An array that was added to has room for more, which is not to be kept with the answer.
  for (const effect of effects)
    if (effect.objects.length > 0) effect.objects = effect.objects.slice();
  return {
    text,
    node,
    effects: effects.slice(),
    changes: findings.changes.length === 0 ? NO_CHANGES : findings.changes.slice(),
    own_transaction: findings.own_transaction,
    needs_read_write: findings.needs_read_write,
    highest_parameter: findings.highest_parameter,
    on_parse: findings.on_parse,
    compared: findings.compared === null ? NO_PARAMETERS : [...findings.compared],
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof ParseFailure) {
    const where = error.position === null ? '' : ` at ${error.position}`;
    return error.kind === 'syntax' ? `parse error${where}: ${error.message}` : error.message;
  }
  if (error instanceof Budget) return error.message;
  if (error instanceof RangeError) return 'the statement is nested too deeply';
  const what = error instanceof Error ? error.message.slice(0, 200) : 'unknown error';
  return `the analysis failed: ${what}`;
}

/**
 * What a message would do, in this session and by this catalog (null: names can't be looked up).
 * Total: it never throws.
 */
export function analyze(
  text: string,
  context: SessionContext,
  catalog: CatalogSnapshot | null,
): Parsed {
  return remembered(text, context, catalog, judgeText);
}

/** What another thread has found out about a text. */
export function told(
  text: string,
  statements: readonly Statement[],
  catalogVersion: number,
  search: SearchTexts,
): Parsed {
  return new Outcome(text, statements, catalogVersion, search);
}

/** A text that is not judged at all: unknown, with the reason. */
export function untold(text: string, reason: string, catalogVersion: number): Parsed {
  return new Outcome(text, [opaqueStatement(text, reason)], catalogVersion, {
    normalized: withoutLiterals(text.slice(0, 2000)),
    fingerprint: digest(text),
  });
}
