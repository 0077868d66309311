// The tree keeps the shape that STYLE.md's readers expect; each complaint says what to do instead.
// Invariant: every rule is shown a bad example first, so that none of them can pass by never
// looking.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { allFiles, EXTRA, GENERATED, isCode, isGenerated, LONG, ROOT } from './tidy/files.ts';
import * as rules from './tidy/rules.ts';

const files = allFiles();
const code = files.filter((file) => isCode(file) && !isGenerated(file));
const manifest: {
  dependencies: { [name: string]: string };
  devDependencies: { [name: string]: string };
} = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const dependencies = new Set(Object.keys(manifest.dependencies));

function example(path: string, text: string) {
  return { path, text };
}

function complaints(found: readonly string[]): void {
  assert.equal(found.length, 0, `\n${found.join('\n')}\n`);
}

/** The rule objects to each bad example and to none of the good ones; then it looks at the tree. */
function holds(
  name: string,
  rule: rules.Rule,
  over: readonly { path: string; text: string }[],
  bad: readonly { path: string; text: string }[],
  good: readonly { path: string; text: string }[] = [],
): void {
  test(name, () => {
    for (const b of bad)
      assert.notEqual(rule(b).length, 0, `no complaint about ${b.path}\n${b.text}`);
    for (const g of good) assert.deepEqual(rule(g), [], `a complaint about a good ${g.path}`);
    complaints(over.flatMap(rule));
  });
}

const LONG_FUNCTION = `export function f(\n  a: number,\n): void {\n${'  a;\n'.repeat(70)}}\n`;
const BETWEEN = 'const x = 1;\n'.repeat(80);
const SHORT_FUNCTIONS = `function f() {\n  a;\n}\n\n${BETWEEN}function g() {\n}\n`;

describe('tidy', () => {
  holds(`a file has at most ${rules.LINES_PER_FILE} lines`, rules.fileLength, code, [
    example('proxy/a.ts', 'x;\n'.repeat(401)),
  ]);
  holds(`a line has at most ${rules.COLUMNS} columns`, rules.columns, code, [
    example('proxy/a.ts', `// ${'x'.repeat(98)}`),
  ]);
  holds(
    `a function has at most ${rules.LINES_PER_FUNCTION} lines`,
    rules.functionLength,
    code,
    [
      example('proxy/a.ts', LONG_FUNCTION),
      example(
        'proxy/a.ts',
        `class A {\n  async f(): Promise<void> {\n${'    a;\n'.repeat(70)}  }\n}\n`,
      ),
      example('proxy/a.ts', `const f = (a: number) => {\n${'  a;\n'.repeat(70)}};\n`),
      example('test/a.test.ts', `test('x', () => {\n${'  a;\n'.repeat(70)}});\n`),
    ],
    [example('proxy/a.ts', SHORT_FUNCTIONS)],
  );
  holds(
    'a file says first what it is',
    rules.firstComment,
    code,
    [example('proxy/a.ts', "import 'node:fs';\n"), example('proxy/a.ts', '// a file\nx;\n')],
    [
      example(
        'a.mjs',
        '#!/usr/bin/env node\n// Starts what is asked for; never answers by itself.\n',
      ),
    ],
  );
  holds('no drawers', rules.drawers, files, [
    example('proxy/utils/a.ts', ''),
    example('proxy/helpers.ts', ''),
  ]);
  holds('nothing that a program left behind', rules.kinds, files, [
    example('check.audit.port.5432.db.shop', ''),
    example('core', ''),
  ]);
  holds(
    'no any, no non-null assertion, only erasable syntax',
    rules.types,
    code,
    [
      example('a.ts', 'const a: any = 1;\n'),
      example('a.ts', 'const a = [1] as any[];\n'),
      example('a.ts', 'const a = b!.c;\n'),
      example('a.ts', 'enum A { b }\n'),
    ],
    [
      example(
        'a.ts',
        "// any!\ninterface A {\n  /** any! */\n  b: 'any!';\n}\nif (!a) a != 'any!';\n",
      ),
    ],
  );
  holds('the engines have twin files', rules.twins, files, [
    example('proxy/postgres/stuff.ts', ''),
    example('proxy/mysql/thing/a.ts', ''),
  ]);
  holds('imports point one way', rules.oneWay, code, [
    example('proxy/postgres/a.ts', "import { a } from '../mysql/a.ts';\n"),
    example('proxy/postgres/a.ts', "import {\n  a,\n} from '../session/listen.ts';\n"),
    example('proxy/session/flow.ts', "import type { A } from '../postgres/a.ts';\n"),
    example('proxy/verdict/a.ts', "import type { A } from '../postgres/a.ts';\n"),
    example('ledger/a.ts', "import { a } from '../proxy/postgres/a.ts';\n"),
    example('proxy/bytes/a.ts', "import type { A } from '../operation.ts';\n"),
    example('proxy/a.ts', "const a = await import('../cli/main.ts');\n"),
  ]);
  holds('no paths of one machine', rules.noMachinePaths, files, [
    example('a.md', `see /${'work'}/x`),
    example('a.ts', `const a = '/${'home'}/me/x';`),
  ]);

  test('links between pages lead somewhere', () => {
    const exists = (path: string) => existsSync(join(ROOT, path));
    assert.equal(rules.deadLinks(example('a.md', 'see [a](gone.ts#x)'), exists).length, 1);
    complaints(files.flatMap((file) => rules.deadLinks(file, exists)));
  });

  test('what ships imports only what is installed with it', () => {
    const bad = example('proxy/a.ts', "import { chromium } from 'playwright-core';\n");
    assert.equal(rules.devImports(bad, dependencies).length, 1);
    complaints(files.flatMap((file) => rules.devImports(file, dependencies)));
  });

  test('the lock file names the public registry only', () => {
    const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
    const others = [...lock.matchAll(/"resolved": "(.*?)"/g)]
      .map((found) => found[1] ?? '')
      .filter((url) => !url.startsWith('https://registry.npmjs.org/'));
    assert.deepEqual(others, [], 'install again with the public registry');
  });

  test('no exception outlives its file', () => {
    const gone = [...Object.keys(GENERATED), ...Object.keys(LONG)].filter(
      (path) => !existsSync(join(ROOT, path)),
    );
    const stale = Object.keys(EXTRA).filter(
      (name) => !files.some((file) => file.path.startsWith(`proxy/${name}`)),
    );
    complaints(
      [...gone, ...stale].map((path) => `${path} is gone: take it off test/tidy/files.ts`),
    );
  });
});
