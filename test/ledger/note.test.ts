// Signed notes, checkpoints, cosignatures and proof files against published vectors and against
// malformed input.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openCheckpoint, parseCheckpoint, signCheckpoint } from '../../ledger/checkpoint.ts';
import { EMPTY_ROOT, hashLeaf } from '../../ledger/merkle.ts';
import {
  COSIGNATURE,
  generateKey,
  openNote,
  parseNote,
  parseVkey,
  signerOf,
} from '../../ledger/note.ts';
import { formatProof, parseProof, verifyProof } from '../../ledger/proof.ts';

// From the documentation of Go's note package.
const VKEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const SEED = 'AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const TEXT =
  'If you think cryptography is the answer to your problem,\n' +
  "then you don't know what your problem is.\n";
const NOTE =
  `${TEXT}\n— PeterNeumann ` +
  'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';

/** A PKCS #8 PEM of Go's encoded signing key: type byte, then the seed. */
function pemOf(encoded: string): string {
  const seed = Buffer.from(encoded, 'base64').subarray(1);
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

test("Go's example: the same vkey, the same signature, both ways", async () => {
  const { signNote } = await import('../../ledger/note.ts');
  const signer = signerOf('PeterNeumann', pemOf(SEED));
  assert.equal(signer.vkey, VKEY);
  assert.equal(signNote(TEXT, signer), NOTE);
  assert.equal(openNote(NOTE, [parseVkey(VKEY)]).text, TEXT);
});

test('every single-byte change of a note is refused', () => {
  const verifier = parseVkey(VKEY);
  const bytes = Buffer.from(NOTE);
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [0x01, 0x20, 0x80]) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] ?? 0) ^ flip;
      assert.throws(() => openNote(bent, [verifier]), { code: 'note-invalid' }, `byte ${at}`);
    }
    assert.throws(() => openNote(bytes.subarray(0, at), [verifier]), { code: 'note-invalid' });
  }
});

test('unknown signatures are ignored, a wrong one rejects, none at all rejects', () => {
  const signer = signerOf('example.com/log', generateKey());
  const stranger = signerOf('example.com/other', generateKey());
  const namesake = signerOf('example.com/log', generateKey());
  const note = signCheckpoint({ origin: 'example.com/log', size: 0, root: EMPTY_ROOT }, signer);
  const line = (s: typeof signer): string =>
    signCheckpoint({ origin: 'example.com/log', size: 0, root: EMPTY_ROOT }, s).split('\n\n')[1] ??
    '';
  assert.equal(openCheckpoint(note + line(stranger) + line(namesake), [signer]).size, 0);
  assert.throws(() => openCheckpoint(note, [namesake]), { code: 'note-invalid' });
  const forged = signCheckpoint(
    { origin: 'example.com/log', size: 1, root: EMPTY_ROOT },
    signer,
  ).split('\n\n')[0];
  assert.throws(() => openCheckpoint(`${forged}\n\n${line(signer)}`, [signer]), {
    code: 'note-invalid',
  });
  for (const bad of [
    '',
    'x',
    'text\n',
    'text\n\n',
    'text\n\n— a b\n',
    `${note}x`,
    note.slice(0, -1),
    note.replace('—', '-'),
    `\r${note}`,
  ]) {
    assert.throws(() => parseNote(bad), { code: 'note-invalid' }, JSON.stringify(bad));
  }
});

test('keys: the id must fit, names have no spaces or plus signs', () => {
  for (const bad of [
    '',
    VKEY.replace('c74f20a3', 'c74f20a4'),
    VKEY.replace('PeterNeumann', 'Peter'),
    `${VKEY}AA`,
    VKEY.slice(0, -4),
    VKEY.replace('+AR', '+Ax'),
  ]) {
    assert.throws(() => parseVkey(bad), { code: 'note-invalid' }, bad);
  }
  for (const name of ['', 'a b', 'a+b', 'a\u00a0b', 'a\nb'])
    assert.throws(() => signerOf(name, generateKey()), { code: 'note-invalid' });
});

test("the specification's checkpoint is read; malformed ones are not", () => {
  const text =
    'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';
  const checkpoint = parseCheckpoint(text);
  assert.equal(checkpoint.origin, 'example.com/behind-the-sofa');
  assert.equal(checkpoint.size, 20852163);
  for (const bad of [
    text.replace('2085', '02085'),
    text.replace('20852163', '-1'),
    text.replace('20852163', '1e3'),
    text.replace('Cs', ''),
    text.slice(0, -1),
    `\n${text}`,
  ]) {
    assert.throws(() => parseCheckpoint(bad), { code: 'note-invalid' }, bad);
  }
  const note =
    `${text}\n— example.com/behind-the-sofa ` +
    'Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+' +
    'zyWE+xeMcTOAYQ8=\n— ' +
    'witness.example.com/w1 ' +
    'jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe' +
    '+mbIUBkBIfZ+qnA==\n';
  const signatures = parseNote(note).signatures;
  assert.deepEqual(
    signatures.map((s) => [s.name, s.signature.length]),
    [
      ['example.com/behind-the-sofa', 64],
      ['witness.example.com/w1', 72],
    ],
  );
  assert.equal(signatures[1]?.signature.readBigUInt64BE(0), 1679315147n);
});

test('a cosignature is over its own header and time, not over the plain text', async () => {
  const { cosign } = await import('../../ledger/cosignature.ts');
  const log = signerOf('example.com/log', generateKey());
  const witness = signerOf('witness.example.com/w1', generateKey(), COSIGNATURE);
  const note = signCheckpoint({ origin: 'example.com/log', size: 0, root: EMPTY_ROOT }, log);
  const line = cosign(parseNote(note).text, witness, 1679315147);
  assert.equal(openNote(note + line, [log, parseVkey(witness.vkey)]).by.length, 2);
  const [signature] = parseNote(note + line).signatures.slice(1);
  assert.equal(signature?.signature.readBigUInt64BE(0), 1679315147n);
  const later = cosign(parseNote(note).text, witness, 1679315148);
  const mixed = Buffer.from(later.split(' ')[2] ?? '', 'base64');
  mixed.writeBigUInt64BE(1679315147n, 4);
  assert.throws(
    () =>
      openNote(`${note}— ${witness.name} ${mixed.toString('base64')}\n`, [parseVkey(witness.vkey)]),
    { code: 'note-invalid' },
  );
});

test('a proof file is read back as written and holds for its entry only', () => {
  const signer = signerOf('example.com/log', generateKey());
  const entry = Buffer.from('{}');
  const leaf = hashLeaf(entry);
  const checkpoint = signCheckpoint({ origin: 'example.com/log', size: 1, root: leaf }, signer);
  const text = formatProof({ index: 0, path: [], checkpoint, extra: entry });
  assert.equal(text, `c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\n${checkpoint}`);
  const proof = parseProof(text);
  assert.equal(verifyProof(proof, leaf, signer).size, 1);
  assert.throws(() => verifyProof(proof, hashLeaf(Buffer.from('{ }')), signer), {
    code: 'proof-invalid',
  });
  assert.throws(() => verifyProof({ ...proof, index: 1 }, leaf, signer), { code: 'proof-invalid' });
  assert.throws(() => verifyProof({ ...proof, path: [leaf] }, leaf, signer), {
    code: 'proof-invalid',
  });
  for (const bad of [
    '',
    text.replace('v1', 'v2'),
    text.replace('index 0', 'index 00'),
    text.replace('index 0', 'index 0\nAA=='),
    text.replace('e30=', 'e30'),
  ]) {
    assert.throws(() => parseProof(bad), { code: 'proof-invalid' }, bad);
  }
});
