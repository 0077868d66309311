// holdpoint signer add|list|export|invite|revoke: the named people who may sign, and their keys.
// Invariant: a private key is made here, stays in a file of its owner, and never reaches the store.
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { chmod, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { ApproverError } from '../approver/errors.ts';
import { makeInvite } from '../approver/main.ts';
import { newPrivateKey, publicJwk } from '../approver/receipt.ts';
import { thumbprint } from '../approver/sign.ts';
import { foldName, ROLES, type Role } from '../approver/store/signers.ts';
import { openStore, type Store } from '../approver/store.ts';
import { UserError } from '../proxy/errors.ts';

/** Where the embedded approver keeps its store. */
export const STORE = join('.holdpoint', 'approver.db');

/** Where a person's own key lies unless they say otherwise. */
export function keyFileOf(name: string): string {
  const file = foldName(name).replaceAll(/[^\p{L}\p{N}@._-]+/gu, '-');
  return join('.holdpoint', 'keys', `${file}.pem`);
}

export interface AddedSigner {
  readonly name: string;
  readonly groups: readonly string[];
  readonly keyFile: string;
  readonly thumbprint: string;
}

/** Adds a person with a key of their own; a key file that is there is used, else it is made. */
export async function addSigner(
  store: Store,
  person: {
    readonly name: string;
    readonly groups: readonly string[];
    readonly roles?: readonly Role[];
    readonly identities?: readonly string[];
    readonly keyFile?: string;
  },
): Promise<AddedSigner> {
  const keyFile = person.keyFile ?? keyFileOf(person.name);
  const now = Date.now();
  const signer = await store.signers.put(
    person.name,
    {
      groups: person.groups,
      roles: person.roles ?? ['signer'],
      identities: person.identities ?? [],
    },
    now,
  );
  const jwk = publicJwk(createPublicKey(createPrivateKey(await keyAt(keyFile))));
  const print = await thumbprint(jwk);
  await store.signers.addKey({
    thumbprint: print,
    signer: signer.name,
    method: 'ed25519',
    jwk,
    credential: null,
    detail: '{}',
    counter: 0,
    label: 'command line',
    created: now,
  });
  return { name: signer.name, groups: signer.groups, keyFile, thumbprint: print };
}

async function keyAt(file: string): Promise<string> {
  const there = await readFile(file, 'utf8').catch((e: NodeJS.ErrnoException) => {
    if (e.code === 'ENOENT') return null;
    throw e;
  });
  if (there !== null) return there;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const pem = newPrivateKey();
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(pem);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await chmod(file, 0o600);
  return pem;
}

const store = ['--store <place>', 'the approver’s store: a file or a postgres:// address'] as const;

export function signerCommand(): Command {
  const signer = new Command('signer').description('the named people who may sign');
  signer
    .command('add')
    .description('add a person, or more groups and keys to one; makes an Ed25519 key pair')
    .argument('<name>')
    .option('--group <names...>', 'groups they sign for', [])
    .option('--role <names...>', `${ROLES.join(', ')}`, ['signer'])
    .option('--identity <names...>', 'other names of theirs: mail address, OIDC subject', [])
    .option('--key <file>', 'private key file; made with mode 600 when it is not there')
    .option(...store, STORE)
    .action(async (name: string, o: AddOptions) => {
      await withStore(o.store, async (s) => {
        const added = await addSigner(s, {
          name,
          groups: o.group,
          roles: o.role.map(roleOf),
          identities: o.identity,
          ...(o.key === undefined ? {} : { keyFile: o.key }),
        });
        print(`${added.name} signs for ${added.groups.join(', ') || 'no group yet'}`);
        print(`private key: ${added.keyFile} (keep it; it is nowhere else)`);
        print(`key: ${added.thumbprint}`);
      });
    });
  signer
    .command('list')
    .description('people, groups and keys')
    .option(...store, STORE)
    .action(async (o: { store: string }) => {
      await withStore(o.store, async (s) => {
        for (const p of await s.signers.list()) {
          const gone = p.active ? '' : ' inactive';
          print(`${p.name}  ${p.groups.join(', ')}  (${p.roles.join(', ')})${gone}`);
          for (const k of await s.signers.keys(p.name)) {
            const gone = k.revoked === null ? '' : ' revoked';
            print(`    ${k.method}  ${k.thumbprint}  ${k.label}${gone}`);
          }
        }
      });
    });
  exporting(signer);
  signer
    .command('invite')
    .description('a one-time link that signs a person in, to enrol a passkey')
    .argument('<name>')
    .option('--server <url>', 'the approver’s address', 'http://localhost:8080')
    .option(...store, STORE)
    .action(async (name: string, o: { server: string; store: string }) => {
      await withStore(o.store, async (s) => {
        print(`${new URL(o.server).origin}/#invite=${await makeInvite(s, name, Date.now())}`);
      });
    });
  signer
    .command('revoke')
    .description('a key that may sign no more; what it signed stays checkable')
    .argument('<thumbprint>')
    .option(...store, STORE)
    .action(async (key: string, o: { store: string }) => {
      await withStore(o.store, async (s) => {
        if (!(await s.signers.revokeKey(key, Date.now()))) {
          throw new UserError(`no current key ${key}: holdpoint signer list shows them`);
        }
        print(`revoked ${key}`);
      });
    });
  return signer;
}

function exporting(signer: Command): void {
  signer
    .command('export')
    .description('the pinned list for proxies (approver.signers): people and their public keys')
    .option('--server <url>', 'the approver’s address: passkeys count only from there')
    .option(...store, STORE)
    .action(async (o: { store: string; server?: string }) => {
      await withStore(o.store, async (s) =>
        print(stringify(await pinnedList(s, o.server ?? null))),
      );
    });
}

/** Everybody who may sign now, with the keys that are not revoked. */
async function pinnedList(store: Store, server: string | null) {
  const signers = [];
  for (const { name, groups, active, roles } of await store.signers.list()) {
    const keys = (await store.signers.keys(name)).filter((k) => k.revoked === null);
    if (!active || !roles.includes('signer') || keys.length === 0) continue;
    signers.push({ name, groups: [...groups], keys: keys.map((k) => ({ ...k.jwk })) });
  }
  if (server === null) return { signers };
  const { origin, hostname } = new URL(server);
  return { signers, passkeys: { origins: [origin], rp_id: hostname } };
}

interface AddOptions {
  readonly group: readonly string[];
  readonly role: readonly string[];
  readonly identity: readonly string[];
  readonly key?: string;
  readonly store: string;
}

function roleOf(text: string): Role {
  const role = ROLES.find((r) => r === text);
  if (role) return role;
  throw new UserError(`${text} is no role: ${ROLES.join(', ')}`);
}

async function withStore(place: string, work: (store: Store) => Promise<void>): Promise<void> {
  const store = await openStore(place);
  try {
    await work(store);
  } catch (e) {
    throw e instanceof ApproverError ? new UserError(e.message, { cause: e }) : e;
  } finally {
    await store.close();
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
