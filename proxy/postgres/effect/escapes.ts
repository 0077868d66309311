// Plain literals as they are read with standard_conforming_strings off: a backslash in one begins
// an escape.
// Invariant: literals begin and end where the server's own lexer has them; a text in which that is
// not sure has no answer.

/** A text for the grammar, which reads plain literals by the standard, and back to the original. */
export interface Escaped {
  readonly text: string;
  /** Bytes in front of which {@link MARK} was put, in the original. */
  readonly marks: readonly number[];
}

const MARK = ' E';

/** What stands at a place of the text, and can't be cut. */
const TOKEN = new RegExp(
  [
    '(?<comment>--[^\\n\\r]*|/\\*)',
    '(?<dollar>\\$(?:[A-Za-z_\\u0080-\\uffff][\\w\\u0080-\\uffff]*)?\\$)',
    '(?<parameter>\\$\\d+)',
    // U&'…' is an error there, and N'…' can't be said with an E.
    "(?<other>[uU]&'|[nN]')",
    "(?<escaped>[eE]')",
    "(?<bits>[bBxX]')",
    '(?<name>(?:[uU]&)?"|[A-Za-z_\\u0080-\\uffff][\\w$\\u0080-\\uffff]*)',
    '(?<number>\\.?\\d[\\w.$\\u0080-\\uffff]*)',
    "(?<plain>')",
    '(?<any>[^])',
  ].join('|'),
  'y',
);

const NESTED = /\/\*|\*\//g;

function commentEnd(text: string, from: number): number | null {
  let depth = 1;
  NESTED.lastIndex = from;
  for (let match = NESTED.exec(text); match !== null; match = NESTED.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return NESTED.lastIndex;
  }
  return null;
}

type Quoted = { readonly quote: string; readonly doubles: boolean; readonly escapes: boolean };
const NAME: Quoted = { quote: '"', doubles: true, escapes: false };
const BITS: Quoted = { quote: "'", doubles: false, escapes: false };
const ESCAPED: Quoted = { quote: "'", doubles: true, escapes: true };

/** End of what is quoted, its first sign in front of `from`. */
function quoteEnd(text: string, from: number, { quote, doubles, escapes }: Quoted): number | null {
  for (let at = from; at < text.length; at++) {
    const c = text.charAt(at);
    if (escapes && c === '\\') at += 1;
    else if (c === quote) {
      if (!doubles || text.charAt(at + 1) !== quote) return at + 1;
      at += 1;
    }
  }
  return null;
}

/** A literal goes on behind white space and comments with a line break among them. */
function goesOn(text: string, from: number): number | null {
  let broken = false;
  for (let at = from; at < text.length; at++) {
    const c = text.charAt(at);
    if (c === "'") return broken ? at + 1 : null;
    if (text.startsWith('--', at)) while (at + 1 < text.length && !isBreak(text, at + 1)) at += 1;
    else if (isBreak(text, at)) broken = true;
    else if (!' \t\f\v'.includes(c)) return null;
  }
  return null;
}

function isBreak(text: string, at: number): boolean {
  return text.charAt(at) === '\n' || text.charAt(at) === '\r';
}

/** End of a literal, with all that it goes on with. */
function literalEnd(text: string, from: number, quoted: Quoted): number | null {
  let end = quoteEnd(text, from, quoted);
  while (end !== null) {
    const next = goesOn(text, end);
    if (next === null) return end;
    end = quoteEnd(text, next, quoted);
  }
  return null;
}

function tokenEnd(
  text: string,
  { groups = {}, 0: token }: RegExpExecArray,
  from: number,
): number | null {
  const end = from + token.length;
  if (groups.comment !== undefined) return token === '/*' ? commentEnd(text, end) : end;
  if (groups.dollar !== undefined) {
    const close = text.indexOf(token, end);
    return close < 0 ? null : close + token.length;
  }
  if (groups.other !== undefined || token === '\\') return null;
  if (groups.escaped !== undefined || groups.plain !== undefined)
    return literalEnd(text, end, ESCAPED);
  if (groups.bits !== undefined) return literalEnd(text, end, BITS);
  if (token.endsWith('"')) return quoteEnd(text, end, NAME);
  // Where a number ends and what it touches begins is not the same in all versions.
  if ((groups.number ?? groups.parameter) !== undefined && /['"$&]/.test(text.charAt(end)))
    return null;
  if (groups.number?.includes('$') === true) return null;
  return end;
}

/** null: where its literals end is not sure, or the server would refuse it. */
export function asEscaped(text: string): Escaped | null {
  const marks: number[] = [];
  let out = '';
  let bytes = 0;
  for (let at = 0; at < text.length; ) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    const end = match === null ? null : tokenEnd(text, match, at);
    if (match === null || end === null) return null;
    const token = text.slice(at, end);
    if (match.groups?.plain !== undefined && token.includes('\\')) {
      marks.push(bytes);
      out += MARK;
    }
    out += token;
    bytes += Buffer.byteLength(token);
    at = end;
  }
  return { text: out, marks };
}

/** Where a byte of the marked text stands in the original. */
export function unmarked({ marks }: Escaped, at: number): number {
  let back = 0;
  for (const [index, mark] of marks.entries())
    if (at > mark + index * MARK.length) back = (index + 1) * MARK.length;
  return at - back;
}
