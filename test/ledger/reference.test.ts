// The entries' reference page against the contract it is made from. HOLDPOINT_WRITE=1 writes it
// anew.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { KINDS, readAppends } from '../../ledger/entry.ts';
import { appendOf } from './entries.ts';

const root = join(import.meta.dirname, '../..');
const contract = readFileSync(join(root, 'ledger/contract.ts'), 'utf8');
const page = join(root, 'ledger/ENTRIES.md');

interface Field {
  readonly name: string;
  readonly type: string;
  readonly note: string;
}

interface Shape {
  readonly note: string;
  readonly parents: string;
  readonly fields: readonly Field[];
}

function comment(text: string | undefined): string {
  return (text ?? '')
    .replaceAll(/\/\*\*|\*\/|\n\s*\*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

const COMMENT = '/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/';

/** The interfaces of the contract, as far as this file's own style goes. */
function shapes(): Map<string, Shape> {
  const found = new Map<string, Shape>();
  const pattern = new RegExp(
    `(${COMMENT}\\s*)?(?:export )?interface (\\w+)(?: extends ([^{]+))? \\{\\n([\\s\\S]*?)\\n\\}`,
    'g',
  );
  const line = new RegExp(
    `(?:(${COMMENT})\\s*)?readonly (\\w+)\\??: ([\\s\\S]*?);(?=\\n\\s{2}(?:readonly|/\\*\\*)|$)`,
    'g',
  );
  for (const [, note, name, parents, body] of contract.matchAll(pattern)) {
    const fields: Field[] = [];
    for (const [, about, field, type] of (body ?? '').matchAll(line)) {
      fields.push({
        name: field ?? '',
        type: (type ?? '').replaceAll(/\s+/g, ' '),
        note: comment(about),
      });
    }
    found.set(name ?? '', { note: comment(note), parents: parents ?? '', fields });
  }
  return found;
}

function table(fields: readonly Field[]): string {
  const rows = fields.map(
    ({ name, type, note }) => `| \`${name}\` | ` + `\`${type.replaceAll('|', '\\|')}\` | ${note} |`,
  );
  return ['| field | type | |', '| --- | --- | --- |', ...rows].join('\n');
}

function render(): string {
  const all = shapes();
  const parts = [
    '# Entries, field by field',
    'Made from `contract.ts` by `test/ledger/reference.test.ts`. Every entry also has `key`, ' +
      'its idempotence key.',
  ];
  for (const [name, title] of [
    ['Common', 'In every entry'],
    ['Asked', 'In entries about an operation'],
    ['StatementRecord', 'The statement of a decision'],
  ] as const) {
    const shape = all.get(name);
    assert.ok(shape, name);
    parts.push(`## ${title}`, ...(shape.note === '' ? [] : [shape.note]), table(shape.fields));
  }
  for (const [name, shape] of all) {
    const kind = /^'(\w+)'$/.exec(
      shape.fields.find((field) => field.name === 'kind')?.type ?? '',
    )?.[1];
    if (kind === undefined) continue;
    const about = shape.parents.includes('Omit<Asked')
      ? ' All the fields about an operation but `operation`.'
      : shape.parents.includes('Asked')
        ? ' All the fields about an operation.'
        : '';
    const note = `${shape.note}${about}`.trim();
    parts.push(
      `## \`${kind}\``,
      ...(note === '' ? [] : [note]),
      table(shape.fields.filter((field) => field.name !== 'kind')),
    );
    assert.ok(name.endsWith('Entry'));
  }
  return `${parts.join('\n\n')}\n`;
}

test('ENTRIES.md is what the contract says', () => {
  const wanted = render();
  if (process.env.HOLDPOINT_WRITE === '1') writeFileSync(page, wanted);
  assert.equal(
    readFileSync(page, 'utf8'),
    wanted,
    'HOLDPOINT_WRITE=1 node --test test/ledger/reference.test.ts',
  );
  for (const kind of KINDS) assert.ok(wanted.includes(`## \`${kind}\``), kind);
});

test('the door demands every field that it lists', () => {
  const writer = { name: 'proxy', kinds: null, writes_as: null };
  const { key, entry } = appendOf(1);
  assert.equal(readAppends({ appends: [{ key, entry }] }, writer).length, 1);
  for (const name of Object.keys(entry)) {
    if (['in_transaction', 'hold', 'binding', 'receipt'].includes(name)) continue;
    const { [name as keyof typeof entry]: _, ...less } = entry;
    assert.throws(
      () => readAppends({ appends: [{ key, entry: less }] }, writer),
      { code: 'entry-invalid' },
      name,
    );
  }
});
