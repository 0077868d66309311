// holdpoint receipt verify: checks a receipt and every signature in it, offline.
// Invariant: needs the receipt and public keys, nothing else; exit code 1 when anything in it is
// bad.
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import type { JSONWebKeySet } from 'jose';
import { recheckReceipt } from '../approver/receipt.ts';
import { UserError } from '../proxy/errors.ts';
import { foldSigner, parsePinned } from '../proxy/hold/signers.ts';

export function receiptCommand(): Command {
  const receipt = new Command('receipt').description('the signed proof of an approval');
  receipt
    .command('verify')
    .description('check the approver’s signature and each signer’s')
    .argument('<receipt>', 'the JWS itself, or a file that holds it (- for standard input)')
    .requiredOption('--keys <file-or-url>', 'the approver’s public keys (JWKS)')
    .option('--signers <file>', 'the pinned list of `signer export`, or thumbprints, one a line')
    .option('--json', 'for programs')
    .action(async (given: string, o: { keys: string; signers?: string; json?: boolean }) => {
      const trusted = o.signers === undefined ? null : await listOf(o.signers);
      const keys = await keysOf(o.keys);
      const options = { now: Date.now(), ...(trusted ? { trusted } : {}) };
      const checked = await recheckReceipt(await jwsOf(given), keys, options).catch(
        (cause: unknown) => {
          const why = cause instanceof Error ? cause.message : String(cause);
          throw new UserError(`this is no receipt of that approver: ${why}`, { cause });
        },
      );
      const bad = checked.signers.filter((s) => s.fault !== null || s.known === false);
      if (bad.length > 0 || checked.signers.length === 0) process.exitCode = 1;
      if (o.json) return print(JSON.stringify(checked, null, 2));
      const c = checked.claims;
      print(
        `the approver's signature is good: ${c.jti}, ${c.sub} on ${c.target} (${c.environment})`,
      );
      print(`binding ${c.binding}, policy ${c.policy}`);
      print(`issued ${time(c.iat)}, ${checked.expired ? 'expired' : 'valid until'} ${time(c.exp)}`);
      for (const s of checked.signers) {
        const known = s.known === false ? ' (NOT among the keys you trust)' : '';
        print(`${s.fault === null ? 'good' : 'BAD '}  ${s.name}  ${s.method}  ${s.key}${known}`);
        if (s.fault !== null) print(`      ${s.fault}`);
        if (s.account !== null) {
          print(`      the approver's word that ${s.account} decided: no key of ${s.name}'s own`);
        }
      }
      if (checked.signers.length === 0) print('BAD   nobody signed it');
    });
  return receipt;
}

async function jwsOf(given: string): Promise<string> {
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(given)) return given;
  return (await textOf(given === '-' ? '/dev/stdin' : given)).trim();
}

async function keysOf(place: string): Promise<JSONWebKeySet> {
  if (/^https?:/.test(place)) {
    const response = await fetch(place, { redirect: 'error', signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new UserError(`${place} answered ${response.status}`);
    return (await response.json()) as JSONWebKeySet;
  }
  return JSON.parse(await textOf(place)) as JSONWebKeySet;
}

/** The keys that the checker trusts: whose each is, where the file says so. */
async function listOf(
  file: string,
): Promise<(signer: { readonly name: string; readonly key: string }) => boolean> {
  const text = await textOf(file);
  if (/^\s*["']?signers["']?\s*:|^\s*\{/m.test(text)) {
    const { keys } = await parsePinned(text, file);
    return ({ name, key }) => foldSigner(keys.get(key)?.name ?? '') === foldSigner(name);
  }
  const lines = text.split('\n').map((l) => l.trim());
  const known = new Set(lines.filter((l) => l !== '' && !l.startsWith('#')));
  return ({ key }) => known.has(key);
}

async function textOf(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UserError(`${file} can't be read: give a file, or the receipt itself`, { cause });
  });
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
