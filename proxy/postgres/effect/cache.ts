// Judged texts, remembered for as long as what they were judged by holds: the session's context and
// the catalog.
// Invariant: an answer is given again only for the same text, the same meaning of names, and the
// same snapshot.
import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { Parsed, SessionContext } from '../statement.ts';
import { alike, type Judged } from './analyze.ts';
import { shapeOf } from './shape.ts';

/** Answers of one context and one snapshot, oldest first. */
interface Shelf {
  readonly id: number;
  readonly version: number;
  readonly texts: Map<string, Parsed>;
  /** By shape: answers that do not rest on literals. */
  readonly shapes: Map<string, Parsed>;
}

const shelves = new Map<string, Shelf>();
/** Shelves by the context object itself: the usual way in, with no key to build. */
const byContext = new WeakMap<SessionContext, Shelf>();
const personal = new WeakMap<SessionContext, Shelf>();
let held = 0;
let ids = 0;

/**
 * A text just seen. A newer one takes its place: texts with other literals each time fill nothing.
 */
interface Seen {
  readonly shelf: number;
  readonly text: string;
  readonly parsed: Parsed;
}
const recent: (Seen | undefined)[] = new Array(EFFECT_LIMITS.cache_recent);

/** Its place there, by its characters, or by some of those of a longer one. */
function placeOf(text: string): number {
  const { length } = text;
  let hash = length;
  const step = (length >> 8) + 1;
  for (let i = 0; i < length; i += step) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return ((hash ^ (hash >>> 15)) >>> 0) % recent.length;
}

function see(place: number, shelf: Shelf, text: string, parsed: Parsed): Parsed {
  if (text.length <= EFFECT_LIMITS.cache_recent_text) {
    recent[place] = { shelf: shelf.id, text, parsed };
  }
  return parsed;
}

/** Rough memory of an answer: its text and what was found. */
function weight(text: string, parsed: Parsed): number {
  return 200 + text.length * 2 + parsed.effects.length * 400 + parsed.statements.length * 200;
}

function shelfFor(context: SessionContext, key: string | null, version: number): Shelf {
  const near = byContext.get(context);
  if (near !== undefined && near.version === version) return near;
  const place = key === null ? null : `${version} ${key}`;
  let shelf = place === null ? undefined : shelves.get(place);
  if (shelf === undefined) {
    shelf = { id: ++ids, version, texts: new Map(), shapes: new Map() };
    if (place !== null) keep(place, shelf);
  }
  byContext.set(context, shelf);
  return shelf;
}

function keep(key: string, shelf: Shelf): void {
  shelves.delete(key);
  shelves.set(key, shelf);
  if (shelves.size <= EFFECT_LIMITS.cache_contexts) return;
  const oldest = shelves.keys().next().value;
  if (oldest !== undefined) shelves.delete(oldest);
}

function put(shelf: Shelf, text: string, parsed: Parsed): void {
  held += weight(text, parsed);
  shelf.texts.set(text, parsed);
  // Dropping all is as good as dropping the oldest, and needs no order to be kept on the hot path.
  if (held > EFFECT_LIMITS.cache_bytes) {
    for (const each of shelves.values()) each.texts.clear();
    shelf.texts.clear();
    held = 0;
  }
}

type Work = (text: string, context: SessionContext, catalog: CatalogSnapshot | null) => Judged;

export function remembered(
  text: string,
  context: SessionContext,
  key: string | null,
  catalog: CatalogSnapshot | null,
  longest: number,
  work: Work,
): Parsed {
  const version = catalog?.version ?? 0;
  const shelf = shelfFor(context, key, version);
  const own = personal.get(context);
  const mine = own?.version === version ? own.texts.get(text) : undefined;
  if (mine !== undefined) return mine;
  const place = placeOf(text);
  const seen = recent[place];
  if (seen !== undefined && seen.shelf === shelf.id && seen.text === text) return seen.parsed;
  // Shapes come first, and a text of a known shape is not kept for long: texts with other literals
  // each time would fill the cache, and to find one costs more than to see its shape.
  const shape = shapeOf(text);
  const pattern = shape === null ? undefined : shelf.shapes.get(shape);
  const known = pattern === undefined ? shelf.texts.get(text) : alike(pattern, text);
  if (known !== undefined) return see(place, shelf, text, known);
  const judged = work(text, context, catalog);
  if (shape !== null && judged.shaped) {
    if (shelf.shapes.size >= EFFECT_LIMITS.cache_shapes) shelf.shapes.clear();
    shelf.shapes.set(shape, judged.parsed);
    return see(place, shelf, text, judged.parsed);
  }
  if (text.length > longest) return judged.parsed;
  if (!judged.personal) {
    put(shelf, text, judged.parsed);
    return see(place, shelf, text, judged.parsed);
  }
  const kept =
    own?.version === version ? own : { id: ++ids, version, texts: new Map(), shapes: new Map() };
  personal.set(context, kept);
  put(kept, text, judged.parsed);
  return judged.parsed;
}
