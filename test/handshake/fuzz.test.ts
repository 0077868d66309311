// The door under random and mutated bytes: never a crash, never a way in, always a proper answer or
// a closed socket.
// The stream is seeded: HOLDPOINT_SEED=n repeats a run, HOLDPOINT_ROUNDS=n makes it longer.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { makeVerifier } from '../../proxy/agents.ts';
import { HandshakeFailed } from '../../proxy/postgres/handshake.ts';
import { parseVerifier, SCRAM, serverFinal, serverFirst } from '../../proxy/postgres/scram.ts';
import { decodeFirstPacket, decodeOptions, encodeStartup } from '../../proxy/postgres/startup.ts';
import { mulberry } from '../peers/dice.ts';
import { until } from '../setup/holds.ts';
import { openDoor } from './door.ts';

const SEED = Number(process.env.HOLDPOINT_SEED ?? 20_261_121);
const ROUNDS = Number(process.env.HOLDPOINT_ROUNDS ?? 300);
const door = await openDoor({ handshakeTimeoutMs: 400 });
after(() => door.close());

type Pick = (below: number) => number;

function bytes(pick: Pick, most: number): Buffer {
  return Buffer.from(Array.from({ length: pick(most) }, () => pick(256)));
}

/**
 * One to four edits: a byte changed, a piece cut out, doubled or filled with noise, a length word
 * bent.
 */
function mutate(pick: Pick, whole: Buffer): Buffer {
  let now = Buffer.from(whole);
  for (let edits = 1 + pick(4); edits > 0 && now.length > 0; edits--) {
    const at = pick(now.length);
    const piece = 1 + pick(Math.min(16, now.length - at));
    const kind = pick(5);
    if (kind === 0) now[at] = pick(256);
    else if (kind === 1) now = Buffer.concat([now.subarray(0, at), now.subarray(at + piece)]);
    else if (kind === 2) now = Buffer.concat([now.subarray(0, at + piece), now.subarray(at)]);
    else if (kind === 3)
      now = Buffer.concat([now.subarray(0, at), bytes(pick, 40), now.subarray(at)]);
    else if (now.length >= at + 4)
      now.writeInt32BE([0, -1, 3, 4, 8, 10_000, 2 ** 31 - 1][pick(7)] ?? 0, at);
  }
  return now;
}

function message(type: string, body: string): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, Buffer.from(body, 'latin1')]);
}

const OPTIONS = 'options\0-c search_path=a\\ b --work-mem=1MB\0';
const STARTUP = (() => {
  const plain = encodeStartup(door.agent, 'shop', [{ name: 'application_name', value: 'fuzz' }]);
  const whole = Buffer.concat([plain.subarray(0, -1), Buffer.from(`${OPTIONS}\0`)]);
  whole.writeInt32BE(whole.length, 0);
  return whole;
})();
const INITIAL = message('p', 'SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd');
const FINAL = message('p', `c=biws,r=abcd,p=${'A'.repeat(43)}=`);
const SSL = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const GSSENC = Buffer.from([0, 0, 0, 8, 4, 210, 22, 48]);
const CANCEL = Buffer.from([0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 1, 2, 3, 4]);

test(`first packets decode or are refused, seed ${SEED}`, () => {
  const pick = mulberry(SEED);
  for (let round = 0; round < ROUNDS * 100; round++) {
    const source = [STARTUP, SSL, CANCEL, GSSENC][pick(4)] ?? STARTUP;
    const body = pick(4) === 0 ? bytes(pick, 200) : mutate(pick, source).subarray(4);
    const packet = decodeFirstPacket(body);
    if (packet.kind === 'refused') assert.match(packet.sqlstate, /^[0-9A-Z]{5}$/);
    if (packet.kind !== 'startup') continue;
    const { user, settings } = packet.startup;
    assert.notEqual(user, '');
    for (const { name, value } of settings) {
      assert.ok(!name.includes('\0') && !value.includes('\0') && name !== 'role', name);
    }
    // What is taken can be sent on: no setting turns into a field of the packet upstream.
    encodeStartup('holdpoint', 'shop', settings);
  }
});

test('options written with PostgreSQL’s escapes come back as they were', () => {
  const pick = mulberry(SEED);
  const alphabet = ['a', 'B', '\\', ' ', '\t', '\n', "'", '"', '=', '-', 'é', ','];
  const text = () =>
    Array.from({ length: pick(12) }, () => alphabet[pick(alphabet.length)]).join('');
  for (let round = 0; round < ROUNDS * 20; round++) {
    const settings = Array.from({ length: pick(5) }, (_, at) => ({
      name: `n_${at}`,
      value: text(),
    }));
    const escaped = (value: string) => value.replace(/[\\\s]/g, '\\$&');
    const forms = [
      (pair: string) => `-c ${pair}`,
      (pair: string) => `-c${pair}`,
      (pair: string) => `--${pair}`,
    ];
    const options = settings.map(({ name, value }) =>
      forms[pick(3)]?.(escaped(`${name}=${value}`)),
    );
    assert.deepEqual(decodeOptions(options.join([' ', '\t \n'][pick(2)])), settings);
  }
});

test('SCRAM messages are answered or refused, and no noise is a proof', () => {
  const pick = mulberry(SEED);
  const verifier = parseVerifier(makeVerifier('pencil'));
  assert.ok(verifier);
  const good = serverFirst(SCRAM, 'n,,n=,r=abcd', verifier, null);
  assert.ok(good.ok);
  const final = Buffer.from(`c=biws,r=${good.nonce},p=${'A'.repeat(43)}=`);
  for (let round = 0; round < ROUNDS * 20; round++) {
    const hello = mutate(pick, Buffer.from('n,,n=,r=abcd')).toString('latin1');
    const one = serverFirst(SCRAM, hello, verifier, pick(2) === 0 ? null : Buffer.alloc(32));
    if (!one.ok) assert.match(one.sqlstate, /^(?:08P01|0A000|28000)$/);
    const last = (pick(3) === 0 ? bytes(pick, 99) : mutate(pick, final)).toString('latin1');
    const two = serverFinal(good, last, verifier, null);
    assert.ok(!two.ok, last);
  }
});

/**
 * What the server said as its messages: `N`, `S` alone, or type, length, body. Anything else is not
 * proper.
 */
function types(said: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < said.length; ) {
    // A TLS alert: what began with 0x16 was taken for a ClientHello.
    if (at === 0 && said[0] === 0x15) return ['alert'];
    const type = String.fromCharCode(said[at] ?? 0);
    const length = said.length >= at + 5 ? said.readInt32BE(at + 1) : -1;
    if ((type === 'N' || type === 'S') && !(length > 4 && length < 1_000)) {
      found.push(type);
      if (type === 'S') return found;
      at += 1;
      continue;
    }
    assert.ok(
      'RvE'.includes(type) && length >= 4 && at + 1 + length <= said.length,
      said.toString('latin1'),
    );
    found.push(type);
    at += 1 + length;
  }
  return found;
}

async function attack(payload: Buffer, pick: Pick): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const socket = connect(door.port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const cut = pick(payload.length + 1);
  socket.write(payload.subarray(0, cut));
  setImmediate(() => {
    if (socket.destroyed) return;
    socket.write(payload.subarray(cut));
    if (pick(3) === 0) socket.end();
  });
  await closed;
  return Buffer.concat(chunks);
}

test('a live door under mutated conversations', async () => {
  const pick = mulberry(SEED);
  for (let round = 0; round < ROUNDS; round += 10) {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const prelude = [[], [GSSENC], [SSL], [CANCEL]][pick(8)] ?? [];
        const talk = Buffer.concat([...prelude, STARTUP, INITIAL, FINAL]);
        const payload = pick(5) === 0 ? bytes(pick, 12_000) : mutate(pick, talk);
        const said = types(await attack(payload, pick));
        assert.ok(said.filter((type) => type === 'E').length <= 1, said.join(''));
        if (said.includes('E')) assert.equal(said.at(-1), 'E');
      }),
    );
  }
  // A client may see the end before the door has said what became of it.
  await until('all have come', () => door.came.length >= ROUNDS);
  const inside = door.came.filter(
    (one) => !(one instanceof HandshakeFailed) && one.kind === 'session',
  );
  assert.deepEqual(inside, []);
});
