// Wraps comment lines that are over the column limit: `node test/tidy/wrap.ts FILE…`.
// Invariant: touches nothing but comments that stand on lines of their own.
import { readFileSync, writeFileSync } from 'node:fs';
import { COLUMNS } from './rules.ts';

const SINGLE = /^(\s*)\/\*\* (.*) \*\/$/;
const LINE = /^(\s*(?:\/\/|\*)) (\s*)(.*)$/;

function fill(prefix: string, words: readonly string[]): string[] {
  const lines: string[] = [];
  let line = prefix;
  for (const word of words) {
    if (line !== prefix && [...line].length + 1 + [...word].length > COLUMNS) {
      lines.push(line);
      line = prefix;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

export function wrapped(text: string): string {
  const out: string[] = [];
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if ([...line].length <= COLUMNS) {
      out.push(line);
      continue;
    }
    const single = SINGLE.exec(line);
    if (single !== null) {
      const indent = single[1] ?? '';
      const words = (single[2] ?? '').split(' ');
      out.push(`${indent}/**`, ...fill(`${indent} *`, words), `${indent} */`);
      continue;
    }
    const found = LINE.exec(line);
    if (found === null) {
      out.push(line);
      continue;
    }
    const prefix = `${found[1]}${found[2]}`;
    const all = fill(prefix, (found[3] ?? '').split(' '));
    // The rest runs on into the next line of the same comment, where it goes on as prose.
    const last = all.pop() ?? '';
    const next = LINE.exec(lines[i + 1] ?? '');
    const goesOn = next !== null && next[1] === found[1] && next[2] === '' && found[2] === '';
    if (goesOn && /^[a-z(]/.test(next[3] ?? '')) {
      lines[i + 1] = `${last} ${next[3]}`;
      out.push(...all);
    } else out.push(...all, last);
  }
  return out.join('\n');
}

if (import.meta.main) {
  for (const file of process.argv.slice(2)) {
    const text = readFileSync(file, 'utf8');
    const after = wrapped(text);
    if (after !== text) writeFileSync(file, after);
  }
}
