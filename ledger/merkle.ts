// The Merkle tree of RFC 6962, section 2.1: hashes, proofs and their verification.
// Invariant: pure functions of hashes; sizes and indices are exact integers below 2^53, so no bit
// operators on them.
import { hash } from 'node:crypto';
import { LedgerError } from './errors.ts';
import { HASH_BYTES } from './limits.ts';

/** Root of a perfect subtree: `level` 0 are leaves, `index` counts subtrees of 2^level leaves. */
export type NodeSource = (level: number, index: number) => Buffer;

export const EMPTY_ROOT: Buffer = hash('sha256', Buffer.alloc(0), 'buffer');

const pair = Buffer.alloc(1 + 2 * HASH_BYTES);
pair[0] = 1;
let scratch = Buffer.alloc(4096);

/** SHA-256(0x00 || entry). */
export function hashLeaf(entry: Uint8Array): Buffer {
  const length = entry.length + 1;
  if (scratch.length < length) scratch = Buffer.alloc(length * 2);
  scratch[0] = 0;
  scratch.set(entry, 1);
  return hash('sha256', scratch.subarray(0, length), 'buffer');
}

/** SHA-256(0x01 || left || right). */
export function hashNode(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return hash('sha256', pair, 'buffer');
}

function odd(n: number): boolean {
  return n % 2 === 1;
}

/** The largest power of two smaller than `n`, for n > 1. */
export function splitAt(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** MTH(D[low:high]) where `low` is a multiple of every power of two that the width needs. */
export function rangeRoot(low: number, high: number, node: NodeSource): Buffer {
  let rest = high - low;
  let end = high;
  let root: Buffer | null = null;
  for (let level = 0; rest > 0; level++) {
    if (odd(rest)) {
      const left = node(level, end - 1);
      root = root === null ? left : hashNode(left, root);
    }
    rest = Math.floor(rest / 2);
    end = Math.floor(end / 2);
  }
  return root ?? EMPTY_ROOT;
}

export function treeRoot(size: number, node: NodeSource): Buffer {
  return rangeRoot(0, size, node);
}

/** PATH(index, D[size]): from the leaf's sibling up to the root's child. */
export function inclusionProof(index: number, size: number, node: NodeSource): Buffer[] {
  const path: Buffer[] = [];
  let low = 0;
  let high = size;
  while (high - low > 1) {
    const middle = low + splitAt(high - low);
    if (index < middle) {
      path.push(rangeRoot(middle, high, node));
      high = middle;
    } else {
      path.push(rangeRoot(low, middle, node));
      low = middle;
    }
  }
  return path.reverse();
}

/** PROOF(from, D[to]) of section 2.1.2; empty when `from` is 0 or equals `to`. */
export function consistencyProof(from: number, to: number, node: NodeSource): Buffer[] {
  if (from === 0 || from === to) return [];
  const path: Buffer[] = [];
  let low = 0;
  let high = to;
  let whole = true;
  while (from !== high) {
    const middle = low + splitAt(high - low);
    if (from <= middle) {
      path.push(rangeRoot(middle, high, node));
      high = middle;
    } else {
      path.push(rangeRoot(low, middle, node));
      low = middle;
      whole = false;
    }
  }
  if (!whole) path.push(rangeRoot(low, high, node));
  return path.reverse();
}

/**
 * The root that a leaf and its path lead to; throws when the path has the wrong length (RFC 9162,
 * 2.1.3.2).
 */
export function rootOfInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  path: readonly Uint8Array[],
): Buffer {
  if (index >= size)
    throw new LedgerError('proof-invalid', `Entry ${index} is not in a tree of ${size}.`);
  let at = index;
  let last = size - 1;
  let root: Buffer = Buffer.from(leaf);
  for (const sibling of path) {
    if (last === 0) throw new LedgerError('proof-invalid', 'The inclusion proof is too long.');
    if (odd(at) || at === last) {
      root = hashNode(sibling, root);
      while (!odd(at) && at !== 0) {
        at = Math.floor(at / 2);
        last = Math.floor(last / 2);
      }
    } else {
      root = hashNode(root, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) throw new LedgerError('proof-invalid', 'The inclusion proof is too short.');
  return root;
}

/**
 * true when the path proves that the tree of `from` leaves is the start of the tree of `to` (RFC
 * 9162, 2.1.4.2).
 */
export function provesConsistency(
  from: number,
  to: number,
  oldRoot: Uint8Array,
  newRoot: Uint8Array,
  path: readonly Uint8Array[],
): boolean {
  if (from > to) return false;
  if (from === to) return path.length === 0 && Buffer.compare(oldRoot, newRoot) === 0;
  if (from === 0) return path.length === 0 && Buffer.compare(oldRoot, EMPTY_ROOT) === 0;
  let at = from - 1;
  let last = to - 1;
  while (odd(at)) {
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  const steps = at === 0 ? [oldRoot, ...path] : [...path];
  const first = steps.shift();
  if (first === undefined) return false;
  let a: Buffer = Buffer.from(first);
  let b: Buffer = Buffer.from(first);
  for (const sibling of steps) {
    if (last === 0) return false;
    if (odd(at) || at === last) {
      a = hashNode(sibling, a);
      b = hashNode(sibling, b);
      while (!odd(at) && at !== 0) {
        at = Math.floor(at / 2);
        last = Math.floor(last / 2);
      }
    } else {
      b = hashNode(b, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && Buffer.compare(a, oldRoot) === 0 && Buffer.compare(b, newRoot) === 0;
}
