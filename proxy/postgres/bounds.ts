// Texts that the grammar is not given: what it would misread, or would not survive, or would only
// find out after a long while to be too much.
// Invariant: nothing is parsed to find that out, and one pass over the text is enough.
import { EFFECT_LIMITS, PARSER_LIMITS } from '../limits.ts';

/** Why a text is not parsed; null where it may be. */
export function excessOf(text: string): string | null {
  const { statement_characters, nesting } = PARSER_LIMITS;
  if (text.length > statement_characters)
    return `statement of ${text.length} characters, more than ${statement_characters}`;
  // It would end the C string.
  if (text.includes('\0')) return 'statement holds a NUL byte';
  return text.length > nesting ? excessOfMarks(text) : null;
}

/**
 * Deepest run of open brackets, and marks that separate tokens; quotes are not looked at, so both
 * are upper bounds.
 */
function excessOfMarks(text: string): string | null {
  let marks = 0;
  let semicolons = 0;
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 40 || c === 91) {
      depth += 1;
      if (depth > deepest) deepest = depth;
      if (c === 91) marks += 1;
    } else if (c === 41 || c === 93) {
      if (depth > 0) depth -= 1;
    } else if ((c > 32 && c < 48 && c !== 39) || (c > 57 && c < 64)) {
      marks += 1;
      if (c === 59) semicolons += 1;
    }
  }
  const { marks: most, nesting } = PARSER_LIMITS;
  if (marks > most) return `more than ${most} commas and operators`;
  if (deepest > nesting) return `more than ${nesting} brackets are open at once`;
  const { statements } = EFFECT_LIMITS;
  return semicolons > statements && ends(text) > statements
    ? `more than ${statements} statements in one message`
    : null;
}

const DOLLAR_QUOTE = /\$(?:[a-z_\x80-\uffff][\w\x80-\uffff]*)?\$/iy;

/** Semicolons that stand outside quotes and comments. */
function ends(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 59) count += 1;
    else if (c === 39 || c === 34) i = quoteEnd(text, i, c);
    else if (c === 36) {
      DOLLAR_QUOTE.lastIndex = i;
      const [tag] = /\w/.test(text.charAt(i - 1)) ? [] : (DOLLAR_QUOTE.exec(text) ?? []);
      if (tag !== undefined) i = past(text, tag, i + tag.length);
    } else if (c === 45 && text.charCodeAt(i + 1) === 45) i = past(text, '\n', i);
    else if (c === 47 && text.charCodeAt(i + 1) === 42) i = commentEnd(text, i);
  }
  return count;
}

/** Where `end` ends at its next place, or the text. */
function past(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from);
  return at < 0 ? text.length : at + end.length - 1;
}

/** The quote that closes the one at `from`; in E'…' a backslash takes the next character along. */
function quoteEnd(text: string, from: number, quote: number): number {
  const escapes = quote === 39 && /(?:^|\W)e$/i.test(text.slice(Math.max(from - 2, 0), from));
  for (let i = from + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 92 && escapes) i += 1;
    else if (c === quote) return i;
  }
  return text.length;
}

/** Comments nest. */
function commentEnd(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const two = text.startsWith('/*', i) ? 1 : text.startsWith('*/', i) ? -1 : 0;
    if (two === 0) continue;
    depth += two;
    i += 1;
    if (depth === 0) return i;
  }
  return text.length;
}
