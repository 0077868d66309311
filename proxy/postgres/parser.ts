// PostgreSQL's own grammar (libpg-query, WASM), loaded once and replaced when it traps.
// Invariant: no call throws anything but ParseFailure, and none runs on an instance that has
// trapped.
import type { ParseResult } from '@pgsql/types';
import createGrammar, { type GrammarModule } from 'libpg-query/wasm/libpg-query.js';
import { PARSER_LIMITS } from '../limits.ts';
import { excessOf } from './bounds.ts';

export type ParseFailureKind = 'syntax' | 'limit' | 'trap' | 'unready';

export class ParseFailure extends Error {
  readonly kind: ParseFailureKind;
  /** Character offset of a syntax error, where the grammar gave one. */
  readonly position: number | null;
  constructor(kind: ParseFailureKind, message: string, position: number | null, cause?: unknown) {
    super(message, { cause });
    this.name = 'ParseFailure';
    this.kind = kind;
    this.position = position;
  }
}

/**
 * Instances made ahead, so that hostile statements in a row don't leave others without a grammar.
 */
const SPARES = 2;

/** Texts that surely fit are written to one place of the instance's memory, again and again. */
const SCRATCH_BYTES = 16 * 1024;

/** An instance of the grammar, and a piece of its memory that short texts are written to. */
interface Instance {
  readonly grammar: GrammarModule;
  readonly scratch: number;
  bytes: Buffer;
}

async function newInstance(): Promise<Instance> {
  const grammar = await createGrammar();
  const scratch = grammar._malloc(SCRATCH_BYTES);
  return { grammar, scratch, bytes: Buffer.from(grammar.HEAPU8.buffer) };
}

/** The instance's memory: another buffer when it has grown. */
function bytesOf(instance: Instance): Buffer {
  const { buffer } = instance.grammar.HEAPU8;
  if (instance.bytes.buffer !== buffer) instance.bytes = Buffer.from(buffer);
  return instance.bytes;
}

let active: Instance | null = null;
const spares: Instance[] = [];
let loading: Promise<void> | null = null;
/** The newest replacement is there, or failed. */
let replaced: Promise<void> = Promise.resolve();

/**
 * Loads the grammar and its spares. Call once before the first {@link parse}; safe to call again.
 */
export async function loadParser(): Promise<void> {
  loading ??= (async () => {
    active = await newInstance();
    for (let i = 0; i < SPARES; i++) spares.push(await newInstance());
  })();
  await loading;
}

/**
 * Drops an instance that trapped: a spare takes over at once, and another is made in the
 * background.
 */
function replace(): void {
  active = spares.pop() ?? null;
  replaced = newInstance().then(
    (instance) => {
      if (active === null) active = instance;
      else spares.push(instance);
    },
    () => undefined,
  );
}

/** Waits for an instance when several in a row have trapped. */
export async function grammarBack(): Promise<void> {
  if (active === null) await replaced;
}

/** Gives up an instance that a long text has left with much memory. */
export function trimParser(): void {
  if (active !== null && active.grammar.HEAPU8.length > PARSER_LIMITS.memory_bytes) replace();
}

function trapped(error: unknown): never {
  replace();
  throw new ParseFailure(
    'trap',
    `the grammar gave up: ${String(error).slice(0, 120)}`,
    null,
    error,
  );
}

/** The C string at `pointer`. */
function read(instance: Instance, pointer: number): string {
  const bytes = bytesOf(instance);
  return bytes.toString('utf8', pointer, bytes.indexOf(0, pointer));
}

/** Runs `work` on the text as a C string of the instance. */
function run<T>(text: string, work: (instance: Instance, pointer: number) => T): T {
  const excess = excessOf(text);
  if (excess !== null) throw new ParseFailure('limit', excess, null);
  const instance = active;
  if (instance === null) throw new ParseFailure('unready', 'the grammar is not loaded', null);
  try {
    // A character takes three bytes at most, and what is in the scratch is not needed afterwards.
    const short = text.length * 3 < SCRATCH_BYTES;
    const size = short ? SCRATCH_BYTES : Buffer.byteLength(text) + 1;
    const pointer = short ? instance.scratch : instance.grammar._malloc(size);
    if (pointer === 0) throw new Error('out of memory');
    const bytes = bytesOf(instance);
    bytes[pointer + bytes.write(text, pointer, size - 1, 'utf8')] = 0;
    try {
      return work(instance, pointer);
    } finally {
      if (!short) instance.grammar._free(pointer);
    }
  } catch (error) {
    if (error instanceof ParseFailure) throw error;
    return trapped(error);
  }
}

/** Layout of PgQueryError: message, function, file, line, cursor; each four bytes. */
function failure(instance: Instance, pointer: number): ParseFailure {
  const memory = bytesOf(instance);
  const message = memory.readInt32LE(pointer);
  const cursor = memory.readInt32LE(pointer + 16);
  // It quotes the text where it went wrong, however long that is.
  const text = message === 0 ? 'syntax error' : read(instance, message).slice(0, 300);
  return new ParseFailure('syntax', text, cursor > 0 ? cursor - 1 : null);
}

/** The syntax tree of a whole message. An empty or blank text has no statements. */
export function parse(text: string): ParseResult {
  if (text === '') return { version: 0, stmts: [] };
  try {
    return treeOf(text);
  } catch (error) {
    // After NOT, NULLS, WITH and a few more this build of the grammar takes a comment for the next
    // token, which the server does not.
    const bare = isSyntax(error) && /--|\/\*/.test(text) ? withoutComments(text) : null;
    if (bare === null) throw error;
    return treeOf(bare);
  }
}

function isSyntax(error: unknown): boolean {
  return error instanceof ParseFailure && error.kind === 'syntax';
}

/** Spaces for comments, byte for byte, where the grammar's own lexer finds them. */
function withoutComments(text: string): string | null {
  if (text.length > PARSER_LIMITS.scanned_characters) return null;
  const answer = run(text, (instance, at) => textOf(instance, instance.grammar._wasm_scan(at)));
  if (!answer.startsWith('{')) return null;
  const { tokens = [] } = JSON.parse(answer) as { readonly tokens?: readonly ScanToken[] };
  const bytes = Buffer.from(text, 'utf8');
  for (const { start, end, tokenName } of tokens) {
    if (tokenName === 'C_COMMENT' || tokenName === 'SQL_COMMENT') bytes.fill(' ', start, end);
  }
  return bytes.toString('utf8');
}

type ScanToken = { readonly start: number; readonly end: number; readonly tokenName: string };

function treeOf(text: string): ParseResult {
  return run(text, (instance, pointer) => {
    const { grammar } = instance;
    const result = grammar._wasm_parse_query_raw(pointer);
    if (result === 0) throw new Error('out of memory');
    // Layout of PgQueryParseResult: tree, stderr, error; each a pointer.
    const memory = bytesOf(instance);
    const tree = memory.readInt32LE(result);
    const error = memory.readInt32LE(result + 8);
    let json: string | ParseFailure;
    if (error !== 0) json = failure(instance, error);
    else if (tree === 0) throw new Error('no tree');
    else json = read(instance, tree);
    grammar._wasm_free_parse_result(result);
    if (typeof json !== 'string') throw json;
    return readTree(json);
  });
}

/** A tree too deep for JSON.parse is refused; the instance is as good as before. */
function readTree(json: string): ParseResult {
  try {
    return JSON.parse(json) as ParseResult;
  } catch (error) {
    throw new ParseFailure('limit', 'the statement is nested too deeply', null, error);
  }
}

function textOf(instance: Instance, result: number): string {
  if (result === 0) throw new Error('out of memory');
  const text = read(instance, result);
  instance.grammar._wasm_free_string(result);
  return text;
}

/** The tree of a PL/pgSQL body, given as a CREATE FUNCTION statement. */
export function parsePlpgsql(text: string): unknown {
  return run(text, (instance, pointer) => {
    const answer = textOf(instance, instance.grammar._wasm_parse_plpgsql(pointer));
    if (!answer.startsWith('{')) throw new ParseFailure('syntax', answer.slice(0, 300), null);
    return readTree(answer);
  });
}

function isRefusal(answer: string): boolean {
  return /^(syntax error|deparse error|ERROR)/.test(answer);
}

/** Identity of the shape: the same for statements that differ in literals only. */
export function fingerprint(text: string): string {
  return run(text, (instance, pointer) => {
    const answer = textOf(instance, instance.grammar._wasm_fingerprint(pointer));
    if (!/^[0-9a-f]{16}$/.test(answer))
      throw new ParseFailure('syntax', answer.slice(0, 300), null);
    return answer;
  });
}

/** The text with literals replaced by placeholders. */
export function normalize(text: string): string {
  return run(text, (instance, pointer) => {
    const answer = textOf(instance, instance.grammar._wasm_normalize_query(pointer));
    if (isRefusal(answer)) throw new ParseFailure('syntax', answer.slice(0, 300), null);
    return answer;
  });
}
