// Witnesses as tlog-witness has them: asked as the log grows, told what they have seen, never
// believed without their signature. The witness here is scripted, but checks what a real one must.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openCheckpoint, parseCheckpoint } from '../../ledger/checkpoint.ts';
import { cosign } from '../../ledger/cosignature.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { EMPTY_ROOT, provesConsistency } from '../../ledger/merkle.ts';
import {
  COSIGNATURE,
  generateKey,
  openNote,
  parseNote,
  parseVkey,
  type Signer,
  signerOf,
  type Verifier,
} from '../../ledger/note.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { Witness, Witnesses } from '../../ledger/witness.ts';
import { appendOf } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-witness-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** A witness as tlog-witness wants it, with its own memory of the log. */
async function witnessServer(log: Verifier, witness: Signer) {
  let seen = { size: 0, root: EMPTY_ROOT };
  const statuses: number[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const [status, text] = answer(Buffer.concat(chunks).toString());
      statuses.push(status);
      response
        .writeHead(status, status === 409 ? { 'content-type': 'text/x.tlog.size' } : {})
        .end(text);
    });
  });
  const answer = (body: string): [number, string] => {
    const end = body.indexOf('\n\n');
    const [old, ...hashes] = body.slice(0, end).split('\n');
    const note = body.slice(end + 2);
    const checkpoint = openCheckpoint(note, [log]);
    if (old !== `old ${seen.size}`) return [409, `${seen.size}\n`];
    const proof = hashes.map((hash) => Buffer.from(hash, 'base64'));
    const consistent = provesConsistency(
      seen.size,
      checkpoint.size,
      seen.root,
      checkpoint.root,
      proof,
    );
    if (!consistent) return [422, ''];
    seen = { size: checkpoint.size, root: checkpoint.root };
    return [200, cosign(parseNote(note).text, witness, 1_700_000_000)];
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    statuses,
    close: () => server.close(),
    forget: () => (seen = { size: 0, root: EMPTY_ROOT }),
  };
}

test(
  'a witness co-signs as the log grows; its co-signatures are kept, served and demanded by ' +
    'verify',
  async () => {
    const signer = signerOf('witness.example.com/w1', generateKey(), COSIGNATURE);
    const where = join(directory, 'log');
    const ledger = await openLedger({ directory: where, origin: 'example.com/witnessed' });
    const log = parseVkey(ledger.publicKey);
    const server = await witnessServer(log, signer);
    const witness = new Witness({ url: server.url, key: signer.vkey });
    const warnings: string[] = [];
    const warn = (text: string): number => warnings.push(text);
    // Asked by this test alone, however long it takes.
    const known = [{ url: server.url, key: signer.vkey }];
    const witnesses = Witnesses.start(ledger, known, warn, 3_600_000);
    for (const batch of [3, 300, 1]) {
      await ledger.append(
        Array.from({ length: batch }, () =>
          appendOf(ledger.size + Math.floor(Math.random() * 1e9)),
        ),
      );
      await witnesses?.ask();
    }
    assert.deepEqual(server.statuses, [200, 200, 200]);
    const witnessed = readFileSync(join(where, 'log', 'witnessed'));
    const opened = openNote(witnessed, [log, parseVkey(signer.vkey)]);
    assert.equal(opened.by.length, 2);
    assert.equal(parseCheckpoint(opened.text).size, 304);
    assert.ok(readFileSync(join(where, 'log', 'checkpoint')).equals(witnessed));
    // A new client does not know what the witness has seen: it is told, and goes on from there.
    const lines = await witness.cosign(await ledger.publish(), (from, to) =>
      ledger.consistency(from, to),
    );
    assert.equal(lines.length, 1);
    assert.deepEqual(server.statuses, [200, 200, 200, 409, 200]);
    const stranger = signerOf('witness.example.com/w2', generateKey(), COSIGNATURE);
    const other = new Witness({ url: server.url, key: stranger.vkey });
    await assert.rejects(
      other.cosign(await ledger.publish(), (from, to) => ledger.consistency(from, to)),
      /co-signature/,
    );
    await witnesses?.close();
    server.close();
    await ledger.close();
    const good = await verifyLog({
      directory: where,
      verifier: log,
      witnesses: [parseVkey(signer.vkey)],
    });
    assert.deepEqual(good.findings, []);
    const bad = await verifyLog({
      directory: where,
      verifier: log,
      witnesses: [parseVkey(stranger.vkey)],
    });
    assert.equal(bad.ok, false);
  },
);
