// The tree against published vectors (the Certificate Transparency reference tree) and a recursion
// straight from RFC 6962.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  consistencyProof,
  EMPTY_ROOT,
  hashLeaf,
  hashNode,
  inclusionProof,
  provesConsistency,
  rootOfInclusion,
  treeRoot,
} from '../../ledger/merkle.ts';
import { bundlePath, parseTilePath, splitBundle, tilePath } from '../../ledger/tile.ts';
import { Tree } from '../../ledger/tree.ts';

const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
/** Inclusion and consistency proofs of the same reference tree, as hex. */
const PATH_5_8 = [
  'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
  'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
];
const CONSISTENCY_6_8 = [
  '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
  'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
];

/** MTH of RFC 6962, 2.1, word by word. */
function mth(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return createHash('sha256').digest();
  if (leaves.length === 1) return only;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return hashNode(mth(leaves.slice(0, k)), mth(leaves.slice(k)));
}

function none(): null {
  return null;
}

function grow(count: number): { tree: Tree; leaves: Buffer[] } {
  const tree = new Tree(none);
  const leaves: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const framed = Buffer.concat([Buffer.from([0, 4]), Buffer.from(String(i).padStart(4, '0'))]);
    const leaf = hashLeaf(framed.subarray(2));
    leaves.push(leaf);
    tree.append(leaf, framed);
  }
  return { tree, leaves };
}

test('the reference tree: roots, an inclusion path, a consistency proof', () => {
  const tree = new Tree(none);
  assert.equal(EMPTY_ROOT.toString('hex'), ROOTS[0]);
  LEAVES.forEach((leaf, i) => {
    const bytes = Buffer.from(leaf, 'hex');
    tree.append(hashLeaf(bytes), Buffer.concat([Buffer.from([0, bytes.length]), bytes]));
    assert.equal(tree.root().toString('hex'), ROOTS[i + 1]);
  });
  assert.deepEqual(
    inclusionProof(5, 8, tree.node).map((h) => h.toString('hex')),
    PATH_5_8,
  );
  assert.deepEqual(
    consistencyProof(6, 8, tree.node).map((h) => h.toString('hex')),
    CONSISTENCY_6_8,
  );
});

test('roots equal the recursion at every size to 600, over tile borders', () => {
  const { leaves } = grow(600);
  const tree = new Tree(none);
  leaves.forEach((leaf, i) => {
    tree.append(leaf, Buffer.alloc(2));
    if (i < 20 || i % 37 === 0 || i % 256 > 253 || i % 256 < 3)
      assert.ok(tree.root().equals(mth(leaves.slice(0, i + 1))));
  });
});

test('every inclusion proof to size 70 holds for its leaf and for no other index or size', () => {
  const { tree, leaves } = grow(70);
  for (let size = 1; size <= 70; size++) {
    const root = treeRoot(size, tree.node);
    const proofs = tree.proofs(size);
    for (let index = 0; index < size; index++) {
      const path = inclusionProof(index, size, tree.node);
      const leaf = leaves[index] ?? Buffer.alloc(0);
      assert.ok(rootOfInclusion(index, size, leaf, path).equals(root));
      assert.deepEqual(
        proofs(index).proof,
        path.map((hash) => hash.toString('base64')),
      );
      assert.throws(() => rootOfInclusion(index, size, leaf, [...path, root]), {
        code: 'proof-invalid',
      });
      if (path.length > 0)
        assert.throws(() => rootOfInclusion(index, size, leaf, path.slice(1)), {
          code: 'proof-invalid',
        });
      const other = (index + 1) % size;
      if (other !== index) {
        let wrong: Buffer | null = null;
        try {
          wrong = rootOfInclusion(other, size, leaf, path);
        } catch {}
        assert.ok(wrong === null || !wrong.equals(root), `leaf ${index} as ${other} of ${size}`);
      }
    }
  }
});

test('every consistency proof to size 70 holds, and a changed one does not', () => {
  const { tree } = grow(70);
  for (let to = 0; to <= 70; to++) {
    const newRoot = treeRoot(to, tree.node);
    for (let from = 0; from <= to; from++) {
      const oldRoot = treeRoot(from, tree.node);
      const path = consistencyProof(from, to, tree.node);
      assert.ok(provesConsistency(from, to, oldRoot, newRoot, path), `${from} to ${to}`);
      const [first] = path;
      if (first === undefined) continue;
      const bent = Buffer.from(first);
      bent[3] = (bent[3] ?? 0) ^ 1;
      assert.ok(!provesConsistency(from, to, oldRoot, newRoot, [bent, ...path.slice(1)]));
      assert.ok(!provesConsistency(from, to, oldRoot, newRoot, path.slice(1)));
      assert.ok(!provesConsistency(from, to, oldRoot, newRoot, [...path, first]));
      assert.ok(!provesConsistency(from, to, newRoot, oldRoot, path));
    }
  }
});

test('paths are those of the specification', () => {
  assert.equal(tilePath(0, 1234067, 256), 'tile/0/x001/x234/067');
  assert.equal(tilePath(1, 0, 17), 'tile/1/000.p/17');
  assert.equal(bundlePath(273, 112), 'tile/entries/273.p/112');
  assert.equal(bundlePath(1000, 256), 'tile/entries/x001/000');
  for (const path of ['tile/0/x001/x234/067', 'tile/entries/273.p/112', 'tile/63/000'])
    assert.notEqual(parseTilePath(path), null);
  for (const path of [
    'tile/00/000',
    'tile/64/000',
    'tile/0/0',
    'tile/0/x000/001',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/300',
    'tile/0/001/000',
    'tile/0/../0',
    'tile/x/000',
    'checkpoint',
  ])
    assert.equal(parseTilePath(path), null, path);
});

test('a bundle is exactly its entries', () => {
  const bundle = Buffer.from([0, 1, 65, 0, 0, 0, 2, 66, 67]);
  assert.deepEqual(
    splitBundle(bundle, 3, 'b').map((e) => Buffer.from(e).toString()),
    ['A', '', 'BC'],
  );
  for (const [bytes, width] of [
    [bundle, 2],
    [bundle, 4],
    [bundle.subarray(0, 8), 3],
    [Buffer.concat([bundle, Buffer.alloc(1)]), 3],
  ] as const) {
    assert.throws(() => splitBundle(bytes, width, 'b'), { code: 'tile-invalid' });
  }
});
