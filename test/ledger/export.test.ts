// Export: what other programs read, cell by cell and event by event.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ExportFormat, exportHeader, exportLine } from '../../ledger/export.ts';
import { decision, outcome } from './entries.ts';

const log = 'example.com/export';
const held = decision(1, {
  agent: '=HYPERLINK("http://evil.example","x")',
  disposition: 'refuse',
  verdict: { kind: 'deny', rule: 'no, "never"', reason: 'line one\nline two' },
});

/** RFC 4180, read back. */
function cells(line: string): string[] {
  const found: string[] = [];
  const pattern = /(?:^|,)(?:"((?:[^"]|"")*)"|([^,"]*))/g;
  for (const [, quoted, plain] of line.matchAll(pattern)) {
    found.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
  }
  return found;
}

test('CSV: quoted, without formulas, a cell for each column', () => {
  const header = exportHeader('csv')?.split(',') ?? [];
  const row = cells(exportLine('csv', 7, { ...held, key: 'k' }, log));
  assert.equal(row.length, header.length);
  const at = (name: string): string | undefined => row[header.indexOf(name)];
  assert.equal(at('index'), '7');
  assert.equal(at('agent'), '\'=HYPERLINK("http://evil.example","x")');
  assert.equal(at('rule'), 'no, "never"');
  assert.equal(at('detail'), 'line one\nline two');
  assert.equal(at('verdict'), 'deny');
});

test('JSON lines: the entry itself, with its place', () => {
  const line = JSON.parse(exportLine('jsonl', 7, { ...held, key: 'k' }, log));
  assert.deepEqual(line, { index: 7, ...held, key: 'k' });
});

test('OCSF: the fields that the class demands, and the entry unmapped', () => {
  const formats: ExportFormat = 'ocsf';
  const event = JSON.parse(exportLine(formats, 7, { ...held, key: 'k' }, log));
  for (const name of ['metadata', 'time', 'actor', 'src_endpoint', 'database'])
    assert.ok(event[name]);
  assert.equal(event.class_uid, 6005);
  assert.equal(event.category_uid, 6);
  assert.equal(event.type_uid, event.class_uid * 100 + event.activity_id);
  assert.deepEqual(
    [event.activity_name, event.disposition, event.status],
    ['Update', 'Blocked', 'Failure'],
  );
  assert.equal(event.metadata.uid, `${log}/7`);
  assert.deepEqual(event.unmapped, { ...held, key: 'k' });
  const ran = JSON.parse(exportLine(formats, 8, { ...outcome(2), key: 'k' }, log));
  assert.deepEqual([ran.class_uid, ran.status], [6005, 'Success']);
  const drill = {
    v: 1,
    time: held.time,
    by: 'x',
    kind: 'drill',
    name: 'n',
    passed: true,
    detail: '',
  } as const;
  const own = JSON.parse(exportLine(formats, 9, { ...drill, key: 'k' }, log));
  assert.equal(own.class_uid, 6003);
  assert.equal(own.api.operation, 'drill');
});
