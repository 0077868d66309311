// What `holdpoint start` says when all is up: what to paste, and where to look.
// Invariant: every line works as printed, from the directory it was started in; no secret is in it
// but a one-time link.
import { relative } from 'node:path';
import type { Address } from '../../proxy/config.ts';
import type { FirstPeople } from './first.ts';

export interface Facts {
  readonly state: string;
  readonly address: Address;
  /** Path of the self-signed certificate; null when another one is shown or TLS is off. */
  readonly certificate: string | null;
  readonly page: string;
  readonly invite: string | null;
  /** null when another process has it. */
  readonly ledger: { readonly publicKey: string; readonly directory: string } | null;
  readonly targets: readonly string[];
  readonly people: FirstPeople | null;
}

export function welcome(facts: Facts, milliseconds: number): string {
  const { address, people, ledger } = facts;
  const seconds = (milliseconds / 1_000).toFixed(1);
  const lines = [
    `Holdpoint is ready (${seconds} s). Ctrl-C stops everything; all state is in ${facts.state}`,
    '',
  ];
  const row = (name: string, value: string): void => {
    lines.push(`  ${name.padEnd(9)} ${value}`);
  };
  if (people === null) {
    row(
      'clients',
      `postgres://AGENT@${address.host}:${address.port}/TARGET  (${facts.targets.join(', ')})`,
    );
    row('page', facts.page);
  } else {
    const passfile = relative(process.cwd(), people.passfile);
    const where = `host=${address.host} port=${address.port} dbname=${facts.targets[0]}`;
    row('agent', `psql "${where} user=${people.agent} passfile=${passfile}"`);
    row('page', `${facts.page}  (signs ${people.signer} in, once: ${facts.invite})`);
    row('signer', signerLine(people, facts.page));
  }
  if (ledger !== null) {
    row('ledger', ledger.publicKey);
    row(
      'verify',
      `node holdpoint.mjs ledger verify --directory ${ledger.directory} ` +
        `--key '${ledger.publicKey}'`,
    );
  }
  if (people !== null) {
    lines.push('', 'Try, as the agent:', "  DELETE FROM orders WHERE status = 'cancelled';");
    lines.push('It waits until somebody signs it on the page.');
  }
  return lines.join('\n');
}

function signerLine(people: FirstPeople, page: string): string {
  const key = relative(process.cwd(), people.keyFile);
  return `node holdpoint.mjs holds list --as ${people.signer} --key ${key} --server ${page}`;
}
