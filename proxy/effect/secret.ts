// Whether a statement's text may hold a secret: a password given to a role, a key in a connection
// string.
// Invariant: wrong only on the safe side as far as words tell: what looks like it is kept without
// its literals.

const SIGNS = new RegExp(
  [
    'passw(?:or)?d|passfile|secret|credential|identified\\s+by',
    '(?:api|access|private)[_ -]?key|\\btoken\\b',
  ].join('|'),
  'i',
);

/** true: the record keeps the normalized text and the digest, not the statement and its values. */
export function mayHoldSecret(statement: Uint8Array): boolean {
  return SIGNS.test(Buffer.from(statement).toString('latin1'));
}

/** Quoted literals taken out, where normalizing has left some. */
export function withoutLiterals(text: string): string {
  return text.replaceAll(/'(?:[^']|'')*(?:'|$)/g, "'?'");
}
