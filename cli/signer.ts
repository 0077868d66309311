// holdpoint signer add|list|export|invite|link|unlink|revoke: the named people who may sign, their
// keys and their accounts.
// Invariant: a private key is made here, stays in a file of its owner, and never reaches the store.
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { accountName } from '../approver/account.ts';
import { ApproverError } from '../approver/errors.ts';
import { INVITE_MS } from '../approver/limits.ts';
import { privateKeyAt, publicJwk } from '../approver/receipt.ts';
import { thumbprint } from '../approver/sign.ts';
import type { Act } from '../approver/store/acts.ts';
import { foldName, hashOf, ROLES, type Role } from '../approver/store/signers.ts';
import { openStore, type Store } from '../approver/store.ts';
import { UserError } from '../proxy/errors.ts';
import { askFor, isDone, LATER } from './signer-act.ts';

/** Where the embedded approver keeps its store. */
export const STORE = join('.holdpoint', 'approver.db');

/** Where a person's own key lies unless they say otherwise. */
export function keyFileOf(name: string): string {
  const file = foldName(name).replaceAll(/[^\p{L}\p{N}@._-]+/gu, '-');
  return join('.holdpoint', 'keys', `${file}.pem`);
}

export interface AddedSigner {
  readonly keyFile: string;
  readonly thumbprint: string;
  /** The act that the approver does. */
  readonly act: string;
}

/**
 * Asks for a person with a key of their own; a key file that is there is used, else it is made. The
 * approver adds them when it runs.
 */
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
  const jwk = publicJwk(createPublicKey(createPrivateKey(await privateKeyAt(keyFile))));
  const print = await thumbprint(jwk);
  const act = await askFor(store, {
    kind: 'signer added',
    name: person.name,
    groups: person.groups,
    roles: person.roles ?? ['signer'],
    identities: person.identities ?? [],
    key: { thumbprint: print, jwk, label: 'command line' },
  });
  return { keyFile, thumbprint: print, act };
}

const store = ['--store <place>', 'the approver’s store: a file or a postgres:// address'] as const;
const wait = ['--wait <seconds>', 'how long to wait for the approver to do it', '5'] as const;

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
    .option(...wait)
    .action(async (name: string, o: AddOptions) => {
      await withStore(o.store, async (s) => {
        const added = await addSigner(s, {
          name,
          groups: o.group,
          roles: o.role.map(roleOf),
          identities: o.identity,
          ...(o.key === undefined ? {} : { keyFile: o.key }),
        });
        const done = await isDone(s, added.act, secondsOf(o));
        const groups = (await s.signers.get(name))?.groups ?? o.group;
        print(`${name} ${done ? 'signs' : 'will sign'} for ${groups.join(', ') || 'no group yet'}`);
        if (!done) print(LATER);
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
          for (const account of p.identities) print(`    also ${account}`);
        }
        for (const { act, who } of await s.acts.waiting(1000)) {
          const about = 'name' in act ? act.name : act.thumbprint;
          print(`waits for the approver: ${act.kind} ${about}, by ${who}`);
        }
      });
    });
  exporting(signer);
  inviting(signer);
  linking(signer);
  signer
    .command('revoke')
    .description('a key that may sign no more; what it signed stays checkable')
    .argument('<thumbprint>')
    .option(...store, STORE)
    .option(...wait)
    .action(async (thumbprint: string, o: ActOptions) => {
      await withStore(o.store, async (s) => {
        await perform(s, { kind: 'key revoked', thumbprint }, `revoked ${thumbprint}`, o);
      });
    });
  return signer;
}

function inviting(signer: Command): void {
  signer
    .command('invite')
    .description('a one-time link that signs a person in, to enrol a passkey')
    .argument('<name>')
    .option('--server <url>', 'the approver’s address', 'http://localhost:8080')
    .option(...store, STORE)
    .option(...wait)
    .action(async (name: string, o: ActOptions & { readonly server: string }) => {
      await withStore(o.store, async (s) => {
        const token = randomBytes(24).toString('base64url');
        const expires = Date.now() + INVITE_MS;
        const hash = hashOf('invite', token);
        const link = `${new URL(o.server).origin}/#invite=${token}`;
        await perform(s, { kind: 'signer invited', name, hash, expires }, link, o);
      });
    });
}

/** Accounts whose clicks and messages are a person's decisions, where policy takes them. */
function linking(signer: Command): void {
  for (const [verb, kind, done] of [
    ['link', 'account linked', 'decides as'],
    ['unlink', 'account unlinked', 'decides no more as'],
  ] as const) {
    signer
      .command(verb)
      .description(
        verb === 'link'
          ? 'an account that decides as this person, where policy takes its channel'
          : 'an account that decides for nobody any more',
      )
      .argument('<name>')
      .argument('<channel>', 'slack, teams or callback:NAME')
      .argument('<account>', 'U… in Slack, the directory’s object id in Teams, their name there')
      .option(...store, STORE)
      .option(...wait)
      .action(async (name: string, channel: string, id: string, o: ActOptions) => {
        const given = accountName.safeParse(`${channel}:${id}`);
        if (!given.success) throw new UserError(given.error.issues[0]?.message ?? 'no account');
        const account = given.data;
        await withStore(o.store, async (s) => {
          await perform(s, { kind, name, account }, `${account} ${done} ${name}`, o);
        });
      });
  }
}

async function perform(s: Store, act: Act, words: string, o: ActOptions): Promise<void> {
  const done = await isDone(s, await askFor(s, act), secondsOf(o));
  print(words);
  if (!done) print(LATER);
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

interface ActOptions {
  readonly store: string;
  readonly wait: string;
}

function secondsOf({ wait: text }: ActOptions): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0 && seconds <= 3600) return seconds;
  throw new UserError('--wait: a number of seconds, 3600 at most');
}

interface AddOptions extends ActOptions {
  readonly group: readonly string[];
  readonly role: readonly string[];
  readonly identity: readonly string[];
  readonly key?: string;
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
