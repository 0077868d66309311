// A statement's shape: its text with plain literals taken out, found without parsing.
// Invariant: two texts of one shape differ in nothing but the values of short whole numbers and
// plain strings; a text that holds anything else that could be read in more than one way (comments,
// escapes, dollar quotes) has no shape.

/** Longer texts are parsed. */
const LONGEST = 4000;
/** Whole numbers of so many digits are all of one type, int4. */
const DIGITS = 9;

function isWord(c: number): boolean {
  return (
    (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || c === 95 || (c >= 48 && c <= 57) || c === 36
  );
}

function isDigit(c: number): boolean {
  return c >= 48 && c <= 57;
}

/** End of the quoted run that begins at `from`, or -1. */
function quoteEnd(text: string, from: number, quote: number): number {
  for (let i = from + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 92 || c > 126) return -1;
    if (c !== quote) continue;
    if (text.charCodeAt(i + 1) !== quote) return i + 1;
    i += 1;
  }
  return -1;
}

export interface Shape {
  /** The text, with marks for its literals. */
  readonly text: string;
  /** Of what stands between the literals. */
  readonly hash: number;
}

/** The shape of a text; null when it has none. */
export function shapeOf(text: string): Shape | null {
  const { length } = text;
  if (length > LONGEST) return null;
  let shape = '';
  let hash = 0x811c9dc5 | 0;
  let kept = 0;
  let i = 0;
  while (i < length) {
    const c = text.charCodeAt(i);
    if (c > 126) return null;
    if (c === 39) {
      const end = quoteEnd(text, i, 39);
      if (end < 0) return null;
      shape += `${text.slice(kept, i)}'?'`;
      hash = mixed(hash, c);
      kept = i = end;
    } else if (isDigit(c)) {
      let end = i + 1;
      while (isDigit(text.charCodeAt(end))) end += 1;
      // 4.5 is numeric, whatever its digits; 4. and 4..5 are left to the grammar.
      const whole = text.charCodeAt(end) !== 46;
      if (!whole) {
        end += 1;
        if (!isDigit(text.charCodeAt(end))) return null;
        while (isDigit(text.charCodeAt(end))) end += 1;
      }
      const next = text.charCodeAt(end);
      if (end - i > DIGITS || next === 46 || isWord(next)) return null;
      shape += `${text.slice(kept, i)}${whole ? '?0' : '?.0'}`;
      hash = mixed(hash, whole ? 48 : 46);
      kept = i = end;
    } else if (isWord(c)) {
      let end = i;
      let next = c;
      let dollar = false;
      while (isWord(next)) {
        if (next === 36) dollar = true;
        hash = mixed(hash, next);
        end += 1;
        next = text.charCodeAt(end);
      }
      // E'…', U&'…' and the like, and dollar quotes; $1 is a word of its own.
      if (next === 39 || next === 38) return null;
      if (dollar && !isParameter(text, i, end)) return null;
      i = end;
    } else if (c === 34) {
      const end = quoteEnd(text, i, 34);
      if (end < 0) return null;
      for (; i < end; i++) hash = mixed(hash, text.charCodeAt(i));
    } else {
      const next = text.charCodeAt(i + 1);
      if ((c === 45 && next === 45) || (c === 47 && next === 42) || c === 92) return null;
      // One that ends the statement is as good as none; another statement may follow any other.
      if (c === 59 && text.slice(i + 1).trim() !== '') return null;
      if (c === 46 && isDigit(next)) return null;
      if (c < 32 && c !== 10 && c !== 9 && c !== 13) return null;
      hash = mixed(hash, c);
      i += 1;
    }
  }
  // A text without literals is its own shape: to know the text is enough.
  return kept === 0 ? null : { text: shape + text.slice(kept), hash };
}

/** FNV-1a's step, 32 bits. */
export function mixed(hash: number, c: number): number {
  return Math.imul(hash ^ c, 0x01000193);
}

/** `$12` and nothing else. */
function isParameter(text: string, from: number, end: number): boolean {
  if (text.charCodeAt(from) !== 36 || end - from < 2) return false;
  for (let i = from + 1; i < end; i++) if (!isDigit(text.charCodeAt(i))) return false;
  return true;
}
