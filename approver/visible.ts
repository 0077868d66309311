// A statement as people must see it: every byte accounted for, what hides or imitates made visible.
// Invariant: the pieces' own texts joined are the statement; a mark only adds what the eye would
// miss.
import { isUtf8 } from 'node:buffer';

export interface Piece {
  readonly text: string;
  /** What this piece is when the eye can't tell: `U+202E right-to-left override`, `byte 0xFF`. */
  readonly mark: string | null;
}

const NAMES: { readonly [codePoint: number]: string } = {
  0: 'NUL',
  13: 'carriage return',
  27: 'escape',
  133: 'next line',
  160: 'no-break space',
  173: 'soft hyphen',
  8203: 'zero width space',
  8204: 'zero width non-joiner',
  8205: 'zero width joiner',
  8206: 'left-to-right mark',
  8207: 'right-to-left mark',
  8232: 'line separator',
  8233: 'paragraph separator',
  8234: 'left-to-right embedding',
  8235: 'right-to-left embedding',
  8236: 'pop directional formatting',
  8237: 'left-to-right override',
  8238: 'right-to-left override',
  8288: 'word joiner',
  8294: 'left-to-right isolate',
  8295: 'right-to-left isolate',
  8296: 'first strong isolate',
  8297: 'pop directional isolate',
  12288: 'ideographic space',
  12644: 'hangul filler',
  65279: 'byte order mark',
};

const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]|\u034f/u;
const ODD_SPACE = /[\p{Zs}]/u;
const WORD = /[\p{L}\p{M}\p{N}_$]/u;
/** Letters of other scripts that read as Latin ones. */
const LOOKALIKES =
  'аеорсухіјѕһԁԛԝгпАВЕЗКМНОРСТУХІЈЅԌ' +
  'ονυαικρτωχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ' +
  'օսցհոԱՍՕ' +
  'ᴀᴄᴅᴇɪᴊᴋᴍɴᴏᴘʀꜱᴛᴜᴠᴡᴢ';

/** The pieces of a statement's exact bytes. */
export function visible(bytes: Uint8Array): readonly Piece[] {
  const pieces: Piece[] = [];
  let plain = '';
  const push = (text: string, mark: string | null) => {
    if (mark === null) {
      plain += text;
      return;
    }
    if (plain !== '') pieces.push({ text: plain, mark: null });
    plain = '';
    pieces.push({ text, mark });
  };
  for (const run of decode(bytes)) {
    if (run.byte !== null) push('\ufffd', `byte 0x${hex(run.byte, 2)}`);
    else for (const [text, mark] of marks(run.text)) push(text, mark);
  }
  if (plain !== '') pieces.push({ text: plain, mark: null });
  return pieces;
}

/**
 * The same for a terminal: marks in angle brackets, nothing that moves the cursor or changes
 * colours.
 */
export function visibleText(bytes: Uint8Array): string {
  return visible(bytes)
    .map((p) =>
      p.mark === null ? p.text : isSeen(p.text) ? `${p.text}⟨${p.mark}⟩` : `⟨${p.mark}⟩`,
    )
    .join('');
}

function isSeen(text: string): boolean {
  return text !== '\ufffd' && !HIDDEN.test(text) && !ODD_SPACE.test(text);
}

function* marks(text: string): Generator<readonly [string, string | null]> {
  let word = '';
  for (const c of text) {
    if (WORD.test(c)) {
      word += c;
      continue;
    }
    yield* wordMarks(word);
    word = '';
    yield [c, markOf(c)];
  }
  yield* wordMarks(word);
}

/** A character that hides: controls, directions, zero widths, spaces that are not the space. */
function markOf(c: string): string | null {
  if (c === '\n' || c === '\t' || c === ' ') return null;
  if (!HIDDEN.test(c) && !ODD_SPACE.test(c)) return /[\uff01-\uff5e]/.test(c) ? nameOf(c) : null;
  return nameOf(c);
}

/** Letters that imitate: another script among Latin letters, or a whole word of look-alikes. */
function* wordMarks(word: string): Generator<readonly [string, string | null]> {
  if (word === '') return;
  if (/^[\w$]*$/.test(word)) {
    yield [word, null];
    return;
  }
  const letters = [...word];
  const latin = letters.some((c) => /[a-zA-Z]/.test(c));
  const imitates = letters.every((c) => /[\p{N}_$]/u.test(c) || LOOKALIKES.includes(c));
  for (const c of letters) yield [c, letterMark(c, latin, imitates)];
}

function letterMark(c: string, latin: boolean, imitates: boolean): string | null {
  if (/[\w$]/.test(c)) return null;
  if (/[\uff01-\uff5e\u{1d400}-\u{1d7ff}]/u.test(c)) return nameOf(c);
  if (HIDDEN.test(c) || /\p{M}/u.test(c)) return nameOf(c);
  const foreign = /\p{L}/u.test(c) && !/\p{Script=Latin}/u.test(c);
  if ((latin && foreign) || (imitates && LOOKALIKES.includes(c))) return nameOf(c);
  return null;
}

function nameOf(c: string): string {
  const code = c.codePointAt(0) ?? 0;
  const known = NAMES[code] ?? scriptOf(c);
  return `U+${hex(code, 4)}${known ? ` ${known}` : ''}`;
}

function scriptOf(c: string): string | null {
  if (/\p{Script=Cyrillic}/u.test(c)) return 'Cyrillic letter';
  if (/\p{Script=Greek}/u.test(c)) return 'Greek letter';
  if (/\p{Script=Armenian}/u.test(c)) return 'Armenian letter';
  if (/[\uff01-\uff5e]/.test(c)) return 'full-width character';
  if (/\p{M}/u.test(c)) return 'combining mark';
  if (/[\u{e0000}-\u{e007f}]/u.test(c)) return 'tag character';
  if (/\p{Cc}/u.test(c)) return 'control character';
  return null;
}

function hex(n: number, digits: number): string {
  return n.toString(16).toUpperCase().padStart(digits, '0');
}

/** Runs of text, and the single bytes that are no UTF-8. */
function* decode(bytes: Uint8Array): Generator<{ text: string; byte: number | null }> {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(all)) {
    yield { text: all.toString('utf8'), byte: null };
    return;
  }
  let start = 0;
  let at = 0;
  while (at < all.length) {
    const n = [1, 2, 3, 4].find((k) => at + k <= all.length && isUtf8(all.subarray(at, at + k)));
    if (n !== undefined) {
      at += n;
      continue;
    }
    if (at > start) yield { text: all.toString('utf8', start, at), byte: null };
    yield { text: '', byte: all[at] ?? 0 };
    at += 1;
    start = at;
  }
  if (at > start) yield { text: all.toString('utf8', start, at), byte: null };
}
