// holdpoint.yaml: what is taken, what is refused, and that each refusal names the line.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { type Config, loadConfig } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import { settings } from '../../proxy/settings.ts';
import { ROOT } from '../tidy/files.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-config-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const file = join(directory, 'holdpoint.yaml');
function load(text: string): Config {
  writeFileSync(file, text);
  return loadConfig(file);
}

/** The complaint without the directory's name: `3: targets.0.host: …`. */
function complaint(text: string): string {
  try {
    load(text);
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return error.message.replaceAll(`${file}:`, '');
  }
  return 'taken';
}

process.env.HOLDPOINT_TEST_SECRET = 'pw-1';
const TARGET = `targets:
  - name: shop
    host: localhost
    user: holdpoint
    password: { env: HOLDPOINT_TEST_SECRET }
`;

test('the smallest file, and every default', () => {
  const config = load(TARGET);
  const [shop] = config.targets;
  assert.ok(shop);
  assert.equal(shop.password(), 'pw-1');
  assert.equal(shop.port, 5432);
  assert.equal(shop.environment, 'production');
  assert.equal(shop.enforce, true);
  assert.equal(shop.tls.mode, 'verify-full');
  assert.deepEqual(shop.hold, { wait_ms: 45_000, in_transaction: false });
  assert.deepEqual(shop.record, { reads: 'summary', literals: 'full', seal_to: null });
  assert.deepEqual(config.listen.postgres, { host: '127.0.0.1', port: 6432 });
  assert.deepEqual(config.bus, { kind: 'memory' });
  assert.equal(config.state, join(directory, '.holdpoint'));
  assert.equal(config.approver.url, 'http://localhost:8080');
  assert.equal(config.policy.rego, join(directory, 'policies.rego'));
  const { ledger } = config;
  assert.equal(
    ledger.kind === 'files' && ledger.directory,
    join(directory, '.holdpoint', 'ledger'),
  );
});

test('it is frozen to the bottom, and its secrets are not in it', () => {
  const config = load(TARGET);
  const shop = config.targets[0] as { tls: { mode: string } };
  assert.throws(() => Object.assign(shop.tls, { mode: 'disable' }), TypeError);
  assert.throws(() => Object.assign(config, { state: '/' }), TypeError);
  assert.ok(!JSON.stringify(config).includes('pw-1'));
});

test('a secret file is read again at each use, without its line end', () => {
  const secret = join(directory, 'secret');
  writeFileSync(secret, 'first\n');
  const text = TARGET.replace('{ env: HOLDPOINT_TEST_SECRET }', '{ file: secret }');
  const [shop] = load(text).targets;
  assert.equal(shop?.password(), 'first');
  writeFileSync(secret, 'second\r\n');
  assert.equal(shop?.password(), 'second');
});

test('each mistake is refused, by line and by name, with the next step', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [`${TARGET}colour: red\n`, /^6: colour: there is no such setting/],
    [TARGET.replace('    host', '    hots'), /^3: targets\.0\.hots: there is no such setting/m],
    [TARGET.replace('    host', '    hots'), /^2: targets\.0\.host: /m],
    [`${TARGET}    tls:\n      mode: on\n`, /^7: targets\.0\.tls\.mode: /],
    [`${TARGET}    tls: { mod: require }\n`, /^6: targets\.0\.tls\.mod: there is no such setting/],
    [`${TARGET}    port: 70000\n`, /^6: targets\.0\.port: /],
    [`${TARGET}    port: '5432'\n`, /^6: targets\.0\.port: /],
    [`${TARGET}    enforce: 'no'\n`, /^6: targets\.0\.enforce: /],
    [`${TARGET}    hold: { wait: 45 }\n`, /^6: targets\.0\.hold\.wait: /],
    [`${TARGET}    hold: { wait: 1d }\n`, /^6: targets\.0\.hold\.wait: write a duration/],
    [`${TARGET}    engine: oracle\n`, /^6: targets\.0\.engine: /],
    [
      `${TARGET}  - name: shop\n    host: b\n    user: c\n`,
      /^6: targets\.1\.name: shop is there twice/,
    ],
    [
      TARGET.replace('{ env: HOLDPOINT_TEST_SECRET }', 'hunter2'),
      /^5: targets\.0\.password: say where/,
    ],
    [
      TARGET.replace('HOLDPOINT_TEST_SECRET', 'HOLDPOINT_NOT_SET'),
      /^5: the environment variable HOLDPOINT_NOT_SET is not set: set it/,
    ],
    [TARGET.replace('env: HOLDPOINT_TEST_SECRET', 'file: none'), /^5: the file .*none is missing/],
    [`${TARGET}    tls: { ca: none.pem }\n`, /^6: can't read .*none\.pem/],
    [
      `${TARGET}agents:\n  - name: a\n    verifier: secret\n`,
      /^8: agents\.0\.verifier: not a SCRAM/,
    ],
    [`${TARGET}bus: { kind: kafka }\n`, /^6: bus/],
    [`${TARGET}bus: { kind: nats }\n`, /^6: bus\.servers: /],
    [`${TARGET}listen: { tls: { cert: a.pem } }\n`, /^6: listen\.tls: give cert and key/],
    [`${TARGET}ledger: { kind: http }\n`, /^6: ledger\.urls: /],
    [`${TARGET}ledger: { clients: [{ name: a, may: [append] }] }\n`, /^6: ledger/],
    [
      `${TARGET}ledger:\n  kind: files\n  clients:\n    - { name: a, may: [append] }\n`,
      /^9: ledger\.clients\.0.*token/,
    ],
    ['targets: [', /^1: .*flow|^1: /i],
    [`${TARGET}state: a\nstate: b\n`, /^7: .*unique/i],
    [`${TARGET}\t- x\n`, /^6: /],
    ['just text', /^1: the file: /],
    ['[]', /^1: the file: /],
  ];
  for (const [text, wanted] of cases) {
    const said = complaint(text);
    assert.match(said, wanted, text);
    assert.ok(!said.includes('hunter2') && !said.includes('pw-1'), said);
  }
});

test('an agent’s target must be there', () => {
  const verifier = /verifier: (\S+)/.exec(
    readFileSync(join(ROOT, 'holdpoint.example.yaml'), 'utf8'),
  )?.[1];
  const targets = '    targets:\n      - shop\n      - ship\n';
  const agent = `  - name: a\n    verifier: ${verifier}\n${targets}`;
  const text = `${TARGET}agents:\n${agent}`;
  assert.match(complaint(text), /^11: agents\.0\.targets\.1: there is no target ship/);
});

test('a file that is not there says which option to give', () => {
  assert.throws(() => loadConfig(join(directory, 'none.yaml')), /none\.yaml.*--config/);
});

test('the example has every setting there is, and is itself taken', () => {
  const text = readFileSync(join(ROOT, 'holdpoint.example.yaml'), 'utf8');
  process.env.SHOP_PASSWORD = 'x';
  process.env.OIDC_SECRET = 'x';
  process.env.LEDGER_TOKEN = 'a token of some length';
  const config = load(text);
  assert.equal(config.targets.length, 1);
  const keys = new Set<string>();
  const collect = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('properties' in node) for (const key of Object.keys(node.properties ?? {})) keys.add(key);
    for (const inner of Object.values(node)) collect(inner);
  };
  collect(z.toJSONSchema(settings, { io: 'input' }));
  assert.ok(keys.has('in_transaction') && keys.has('servers'), [...keys].join());
  const missing = [...keys].filter((key) => !new RegExp(`\\b${key}:`).test(text));
  assert.deepEqual(missing, []);
});
