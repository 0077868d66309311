// The embedded start's first agent and first signer, so that a hold can be asked for and signed at
// once.
// Invariant: made once; their secrets lie in files of their owner alone and are never printed.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../../approver/store.ts';
import { Agents, addAgent } from '../../proxy/agents.ts';
import { addSigner, keyFileOf } from '../signer.ts';
import { userName } from '../signer-act.ts';

export interface FirstPeople {
  readonly agent: string;
  /** A libpq password file. */
  readonly passfile: string;
  readonly signer: string;
  readonly keyFile: string;
}

const AGENT = 'demo-agent';

export async function firstPeople(state: string, store: Store): Promise<FirstPeople> {
  const keys = join(state, 'keys');
  mkdirSync(keys, { recursive: true, mode: 0o700 });
  const passfile = join(keys, `${AGENT}.pgpass`);
  if (!existsSync(passfile) && new Agents(state).find(AGENT) === null) {
    const capabilities = ['read', 'write', 'ddl'];
    const password = addAgent(state, {
      name: AGENT,
      groups: ['demo'],
      capabilities,
      scopes: [],
      targets: null,
    });
    writeFileSync(passfile, `*:*:*:${AGENT}:${password}\n`, { mode: 0o600 });
  }
  const known = (await store.signers.list()).map((s) => s.name);
  for (const { act } of await store.acts.waiting(1000)) {
    if (act.kind === 'signer added') known.push(act.name);
  }
  const name = known[0] ?? userName('first-signer');
  const keyFile = join(state, 'keys', keyFileOf(name).split(/[\\/]/).at(-1) ?? 'signer.pem');
  if (known.length === 0) {
    const groups = ['db-owners', 'on-call'];
    await addSigner(store, { name, groups, roles: ['signer', 'operator'], keyFile });
  }
  return { agent: AGENT, passfile, signer: name, keyFile };
}
