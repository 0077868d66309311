// Long texts are judged on threads of their own, so that nobody else waits for them.
// Invariant: the answer is what analyze would say, or unknown: a thread that takes too long, dies
// or is not to be had is a refusal of that one text.
import { LRUCache } from 'lru-cache';
import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { Parsed, SessionContext } from '../statement.ts';
import { analyze, isLong, told, untold } from './analyze.ts';
import { contextKey } from './context.ts';
import { Threads } from './long-threads.ts';

const threads = new Threads(EFFECT_LIMITS);
const answers = new LRUCache<string, Parsed>({ maxSize: EFFECT_LIMITS.long_bytes });
const asked = new Map<string, Promise<void>>();

const own = new WeakMap<SessionContext, number>();
let owners = 0;

/** Texts with the same key have the same answer. */
function keyOf(text: string, context: SessionContext, catalog: CatalogSnapshot | null): string {
  let place = contextKey(context);
  if (place === null) {
    const owner = own.get(context) ?? ++owners;
    own.set(context, owner);
    place = `own ${owner}`;
  }
  return `${catalog?.version ?? 0} ${place} ${text}`;
}

/** What is large in a context is left out: EXECUTE and FETCH are not understood in a long text. */
function portable(context: SessionContext): SessionContext {
  return { ...context, prepared: new Map(), cursors: new Map() };
}

/** What has to be waited for before {@link understand} can answer; null when it can at once. */
export function ahead(
  text: string,
  context: SessionContext,
  catalog: CatalogSnapshot | null,
): Promise<void> | null {
  if (!isLong(text)) return null;
  const key = keyOf(text, context, catalog);
  if (answers.has(key)) return null;
  const under = asked.get(key);
  if (under !== undefined) return under;
  const version = catalog?.version ?? 0;
  const answered = threads.judge(text, portable(context), catalog).then((answer) => {
    asked.delete(key);
    const refused = typeof answer === 'string';
    const parsed = refused
      ? untold(text, `the text is long, and ${answer}`, version)
      : told(text, answer.statements, version, answer);
    const size = 1000 + key.length * 4 + parsed.effects.length * 1000;
    // The same again, soon, costs nobody anything.
    answers.set(key, parsed, refused ? { size, ttl: EFFECT_LIMITS.long_failed_ms } : { size });
  });
  asked.set(key, answered);
  return answered;
}

/** What a message would do. A long text is judged before this is asked: see {@link ahead}. */
export function understand(
  text: string,
  context: SessionContext,
  catalog: CatalogSnapshot | null,
): Parsed {
  if (!isLong(text)) return analyze(text, context, catalog);
  const known = answers.get(keyOf(text, context, catalog));
  return known ?? untold(text, 'the text is long, and is not judged yet', catalog?.version ?? 0);
}
