// Judged texts, remembered for as long as what they were judged by holds: the session's context and
// the catalog.
// Invariant: an answer is given again only for the same text or shape, the same meaning of names,
// and the same snapshot.
import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { Parsed, SessionContext } from '../statement.ts';
import { alike, type Judged } from './analyze.ts';
import { contextKey } from './context.ts';
import { mixed, type Shape, shapeOf } from './shape.ts';

/** A judged text. */
interface Entry {
  /** What it was judged by: {@link Place}. */
  readonly shelf: number;
  readonly text: string;
  readonly parsed: Parsed;
}

/** A text whose answer does not rest on its literals. Its shape is made when one is like it. */
interface Pattern extends Entry {
  shape: string | null;
}

/**
 * Entries by the hash of their text, or shape. A hash has few places, and the oldest one's entry
 * makes room for a new one: nothing grows or is moved on the way in. A map would cost more than all
 * the rest of a short statement's judgement.
 */
interface Table<T> {
  readonly entries: (T | undefined)[];
  /** Of each entry, so that others are passed over unread. */
  readonly hashes: Int32Array;
  readonly weights: Int32Array;
  /** Which of a set's places is the oldest. */
  readonly oldest: Uint8Array;
  /** Sum of the weights. */
  held: number;
}

const WAYS = 4;
const SETS = EFFECT_LIMITS.cache_answers / WAYS;

function newTable<T>(): Table<T> {
  return {
    entries: new Array(SETS * WAYS),
    hashes: new Int32Array(SETS * WAYS),
    weights: new Int32Array(SETS * WAYS),
    oldest: new Uint8Array(SETS),
    held: 0,
  };
}

const texts = newTable<Entry>();
const patterns = newTable<Pattern>();

/** Spread over all sets, however alike the texts (Knuth's multiplicative hashing). */
function setOf(hash: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 16) % SETS;
}

function put<T extends Entry>(table: Table<T>, hash: number, entry: T): void {
  const { entries, hashes, weights, oldest } = table;
  const set = setOf(hash);
  const way = oldest[set] ?? 0;
  oldest[set] = (way + 1) % WAYS;
  const at = set * WAYS + way;
  const weight = weightOf(entry);
  table.held += weight - (weights[at] ?? 0);
  entries[at] = entry;
  hashes[at] = hash;
  weights[at] = weight;
  // Dropping all is as good as dropping the oldest, and needs no order to be kept on the hot path.
  if (table.held <= EFFECT_LIMITS.cache_bytes / 2) return;
  entries.fill(undefined);
  weights.fill(0);
  table.held = 0;
}

/** Bytes of an entry, roughly: its text and what was found. */
function weightOf({ text, parsed }: Entry): number {
  return 200 + text.length * 2 + parsed.effects.length * 400 + parsed.statements.length * 200;
}

/** Hash of a text's characters, or of some of those of a longer one. */
function hashOf(text: string): number {
  const { length } = text;
  let hash = length;
  const step = (length >> 8) + 1;
  for (let i = 0; i < length; i += step) hash = mixed(hash, text.charCodeAt(i));
  return hash;
}

/** Where a context's answers by one snapshot are: as numbers that entries carry. */
interface Place {
  readonly context: SessionContext;
  readonly version: number;
  /** Of all contexts that mean the same. */
  readonly shared: number;
  /** Of this context alone. */
  readonly own: number;
}

let ids = 0;
const shelves = new Map<string, number>();
const places = new WeakMap<SessionContext, Place>();
/** Most messages come from where the one before came from. */
let latest: Place | null = null;

function placeFor(context: SessionContext, version: number): Place {
  if (latest?.context === context && latest.version === version) return latest;
  let place = places.get(context);
  if (place?.version !== version) {
    place = { context, version, shared: shelfFor(context, version), own: ++ids };
    places.set(context, place);
  }
  latest = place;
  return place;
}

function shelfFor(context: SessionContext, version: number): number {
  const key = contextKey(context);
  if (key === null) return ++ids;
  const name = `${version} ${key}`;
  const shelf = shelves.get(name) ?? ++ids;
  shelves.delete(name);
  shelves.set(name, shelf);
  if (shelves.size > EFFECT_LIMITS.cache_contexts) {
    const oldest = shelves.keys().next().value;
    if (oldest !== undefined) shelves.delete(oldest);
  }
  return shelf;
}

function findText(place: Place, hash: number, text: string): Parsed | null {
  let found: Parsed | null = null;
  const from = setOf(hash) * WAYS;
  for (let at = from; at < from + WAYS; at++) {
    if (texts.hashes[at] !== hash) continue;
    const entry = texts.entries[at];
    if (entry?.text !== text) continue;
    if (entry.shelf === place.own) return entry.parsed;
    if (entry.shelf === place.shared) found = entry.parsed;
  }
  return found;
}

function findPattern({ shared }: Place, shape: Shape): Parsed | null {
  const from = setOf(shape.hash) * WAYS;
  for (let at = from; at < from + WAYS; at++) {
    if (patterns.hashes[at] !== shape.hash) continue;
    const entry = patterns.entries[at];
    if (entry?.shelf !== shared) continue;
    entry.shape ??= shapeOf(entry.text)?.text ?? '';
    if (entry.shape === shape.text) return entry.parsed;
  }
  return null;
}

type Work = (text: string, context: SessionContext, catalog: CatalogSnapshot | null) => Judged;

/** The answer for a text: one given before, or what `work` says now. */
export function remembered(
  text: string,
  context: SessionContext,
  catalog: CatalogSnapshot | null,
  work: Work,
): Parsed {
  const place = placeFor(context, catalog?.version ?? 0);
  const hash = hashOf(text);
  const known = findText(place, hash, text);
  if (known !== null) return known;
  const shape = shapeOf(text);
  const pattern = shape === null ? null : findPattern(place, shape);
  if (pattern !== null) {
    const parsed = alike(pattern, text);
    put(texts, hash, { shelf: place.shared, text, parsed });
    return parsed;
  }
  const { parsed, personal, shaped } = work(text, context, catalog);
  if (text.length > EFFECT_LIMITS.cache_text) return parsed;
  put(texts, hash, { shelf: personal ? place.own : place.shared, text, parsed });
  if (shape !== null && shaped)
    put(patterns, shape.hash, { shelf: place.shared, text, parsed, shape: null });
  return parsed;
}
