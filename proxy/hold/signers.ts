// The pinned list: the people and their public keys as the proxy's own configuration has them, so
// that whoever holds the approver's key and store still can't sign for anybody.
// Invariant: with a list, only a key in it counts, and only for the name and groups it stands
// under; a list that can't be read lets nothing pass.
import { readFile, stat } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { type PasskeyRules, type PublicJwk, thumbprint } from '../../approver/sign.ts';
import type { ReceiptClaims } from '../contract.ts';
import { UserError } from '../errors.ts';

const file = z.strictObject({
  signers: z.array(
    z.strictObject({
      name: z.string().min(1),
      /** What they may sign for, at most; absent: whatever the approver says. */
      groups: z.array(z.string()).optional(),
      keys: z.array(z.record(z.string(), z.string())).min(1),
    }),
  ),
  /** Where their passkeys may be used; absent: anywhere. */
  passkeys: z.strictObject({ origins: z.array(z.string()).min(1), rp_id: z.string() }).optional(),
});

interface PinnedKey {
  readonly name: string;
  readonly groups: readonly string[] | null;
}

export interface Pinned {
  /** By JWK thumbprint. */
  readonly keys: ReadonlyMap<string, PinnedKey>;
  readonly passkeys: PasskeyRules | null;
}

type ReceiptSigner = ReceiptClaims['signers'][number];

/** Case, width and blanks do not make two people. */
export function foldSigner(name: string): string {
  return name.normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ').trim();
}

/** Throws in words what is wrong with the text. */
export async function parsePinned(text: string, where: string): Promise<Pinned> {
  const parsed = file.safeParse(parse(text));
  if (!parsed.success) throw new UserError(`${where}: ${z.prettifyError(parsed.error)}`);
  const keys = new Map<string, PinnedKey>();
  for (const { name, groups, keys: jwks } of parsed.data.signers) {
    for (const jwk of jwks) {
      if ('d' in jwk) throw new UserError(`${where}: a key of ${name} is a private one: remove it`);
      const print = await printOf(jwk, `${where}: a key of ${name}`);
      const other = keys.get(print);
      if (other && foldSigner(other.name) !== foldSigner(name)) {
        throw new UserError(`${where}: ${name} and ${other.name} have the same key`);
      }
      keys.set(print, { name, groups: groups ?? null });
    }
  }
  const { passkeys } = parsed.data;
  const rules = passkeys ? { origins: passkeys.origins, rpId: passkeys.rp_id } : null;
  return { keys, passkeys: rules };
}

async function printOf(jwk: PublicJwk, what: string): Promise<string> {
  try {
    return await thumbprint(jwk);
  } catch (cause) {
    throw new UserError(`${what} is no public key (JWK)`, { cause });
  }
}

/** The file as it is at each call: a change counts at once. Rejects while it can't be read. */
export function pinnedFrom(path: string): () => Promise<Pinned> {
  let stamp = '';
  let kept: Pinned | null = null;
  return async () => {
    const { ino, size, mtimeMs } = await stat(path).catch((cause: unknown) => {
      throw new UserError(`${path}: the pinned list of signers can't be read`, { cause });
    });
    const now = `${ino} ${size} ${mtimeMs}`;
    if (kept !== null && now === stamp) return kept;
    kept = await parsePinned(await readFile(path, 'utf8'), path);
    stamp = now;
    return kept;
  };
}

/** Why this signature does not count by the list, or null. */
export function unpinned(s: ReceiptSigner, pinned: Pinned): string | null {
  if (s.method === 'attested') {
    return `${s.name} signed with no key of their own, and the pinned list wants one`;
  }
  const known = pinned.keys.get(s.key);
  if (known === undefined) return `the key of ${s.name} is not in the pinned list of signers`;
  if (foldSigner(known.name) === foldSigner(s.name)) return null;
  return `the key of ${s.name} is pinned as that of ${known.name}`;
}

/** The groups a signature may count for. */
export function groupsBy(s: ReceiptSigner, pinned: Pinned | null): readonly string[] {
  const most = pinned?.keys.get(s.key)?.groups ?? null;
  return most === null ? s.groups : s.groups.filter((g) => most.includes(g));
}
