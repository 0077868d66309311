// holdpoint holds list|show|approve|deny|withdraw: what waits for people, and their word on it.
// Invariant: nothing is signed that was not printed first.
import { Command } from 'commander';
import type { Choice } from '../approver/binding.ts';
import type { Card, CardParameter } from '../approver/card.ts';
import { ApproverClient, loadPerson } from '../approver/client.ts';
import { visibleText } from '../approver/visible.ts';
import { UserError } from '../proxy/errors.ts';
import { keyFileOf } from './signer.ts';

interface Shared {
  readonly as: string;
  readonly key?: string;
  readonly server: string;
  readonly json?: boolean;
}

const SERVER = process.env.HOLDPOINT_APPROVER ?? 'http://localhost:8080';

export function holdsCommand(): Command {
  const holds = new Command('holds').description('operations that wait for people');
  shared(holds.command('list'))
    .description('holds that concern you, newest first')
    .option(
      '--state <state>',
      'pending, approved, denied, expired, withdrawn, redeemed or all',
      'pending',
    )
    .option('--search <text>', 'in statement, agent, target, rule or id')
    .action(async (o: Shared & { state: string; search?: string }) => {
      const query = {
        ...(o.state === 'all' ? {} : { state: o.state }),
        ...(o.search === undefined ? {} : { search: o.search }),
      };
      const { holds: found } = await (await client(o)).list(query);
      if (o.json) return print(JSON.stringify(found, null, 2));
      if (found.length === 0) return print('nothing waits here');
      for (const h of found) {
        const state = h.state === 'pending' ? `waits for ${h.waiting_for}` : h.state;
        const where = `${h.target} (${h.environment})`;
        print(`${h.id}  ${h.class}  ${h.agent} → ${where}  ${state}${h.yours ? '  ← you' : ''}`);
        print(`    ${oneLine(h.sentence || h.start)}`);
      }
    });
  shared(holds.command('show'))
    .description('everything there is to see before signing')
    .argument('<hold>', 'its id, h-…')
    .action(async (id: string, o: Shared) => {
      const card = await (await client(o)).show(id);
      print(o.json ? JSON.stringify(card, null, 2) : cardText(card));
    });
  decides(holds, 'approve', 'sign that exactly this may run', false);
  decides(holds, 'deny', 'say no, and why', true);
  decides(holds, 'withdraw', 'take an approval back before it is used, and say why', true);
  return holds;
}

function decides(holds: Command, choice: Choice, what: string, needsReason: boolean): void {
  const command = shared(holds.command(choice)).description(what).argument('<hold>', 'its id, h-…');
  const words = '--reason <text>';
  if (needsReason) command.requiredOption(words, 'the agent and the ledger get it');
  else command.option(words, 'kept with your signature');
  command
    .option('--digest <digest>', 'sign only if the binding has this digest (from the page)')
    .action(async (id: string, o: Shared & { reason?: string; digest?: string }) => {
      const approver = await client(o);
      const card = await approver.show(id);
      if (!o.json) print(cardText(card));
      if (o.digest !== undefined && o.digest !== card.digest) {
        throw new UserError(`${id} is not what you saw: its digest is ${card.digest} now`);
      }
      const after = await approver.decide(card, choice, o.reason ?? null);
      if (o.json) return print(JSON.stringify(after, null, 2));
      const waits = after.state === 'pending' ? `: still waits for ${after.waiting_for}` : '';
      print(`\n${o.as} signed (${choice}). ${after.id} is ${after.state}${waits}`);
    });
}

function shared(command: Command): Command {
  return command
    .requiredOption('--as <name>', 'who you are: a signer’s name')
    .option('--key <file>', 'your private key (default: where `holdpoint signer add` put it)')
    .option('--server <url>', 'the approver', SERVER)
    .option('--json', 'for programs');
}

async function client(o: Shared): Promise<ApproverClient> {
  return new ApproverClient(o.server, await loadPerson(o.as, o.key ?? keyFileOf(o.as)));
}

/** The card as text: the same facts as the page, marks where the eye would miss something. */
export function cardText(c: Card): string {
  const bytes = Buffer.from(c.binding.statement, 'base64');
  const lines = [
    `${c.id}  ${c.state}${c.state === 'pending' ? `, waits for ${c.waiting_for}` : ''}`,
    `${c.agent} on ${c.target} (${c.environment}), database ${c.database}`,
    '',
    'It would:',
    ...c.sentences.map((s) => `  • ${oneLine(s)}`),
    ...c.objects
      .filter((o) => o.via.length > 0)
      .map((o) => `    ${o.access} ${oneLine(o.name)} via ${oneLine(o.via.join(', '))}`),
    '',
    `Statement (${bytes.length} bytes):`,
    visibleText(bytes).replaceAll(/^/gm, '  │ '),
    ...(c.parameters.length > 0 ? ['', 'Parameters:', ...c.parameters.map(parameterText)] : []),
    '',
    `Held by ${c.rule}: ${oneLine(c.reason)} (class ${c.class})`,
    `Agent states: ${stated(c.stated.reason)}`,
    ...(c.stated.task === null ? [] : [`Task, as stated: ${stated(c.stated.task)}`]),
    ...(c.stated.on_behalf_of === null
      ? []
      : [`On behalf of, as stated: ${stated(c.stated.on_behalf_of)}`]),
    ...(c.in_transaction
      ? [`Inside a transaction open for ${Math.round((c.transaction_age_ms ?? 0) / 1000)} s`]
      : []),
    'Impact (locks, rows, rollback): not computed',
    ...(c.so_far ?? []).map((o) => `Before: ${soFarText(o)}`),
    ...(c.so_far === null ? ['What the session did before: not told'] : []),
    ...c.signatures.map(
      (s) => `${s.decision} by ${s.signer} (${s.method}, ${s.channel}) at ${s.signed}`,
    ),
    ...(c.end_reason === null ? [] : [`Ended: ${oneLine(c.end_reason)}`]),
    `Asked ${c.asked}, expires ${c.expires}`,
    `Digest ${c.digest}`,
  ];
  return lines.join('\n');
}

function parameterText(p: CardParameter, i: number): string {
  const value =
    p.text === null
      ? p.base64 === null
        ? 'NULL'
        : `base64 ${p.base64}`
      : visibleText(Buffer.from(p.text));
  return `  $${i + 1} ${oneLine(p.type)} = ${value}`;
}

/** One of the session's operations before, as the page says it. */
function soFarText(o: NonNullable<Card['so_far']>[number]): string {
  const times = o.count > 1 ? ` × ${o.count}` : '';
  const rows = o.rows === null ? '' : `, ${o.rows} rows`;
  const end = o.outcome === null ? '' : ` (${o.outcome}${rows})`;
  return `${o.time} ${o.class} ${o.disposition}${times}${end}: ${oneLine(o.start)}`;
}

function stated(text: string | null): string {
  return text === null ? 'no reason' : `“${oneLine(text)}”`;
}

/** Text of others on one line of a terminal: no control characters, no line breaks. */
function oneLine(text: string): string {
  return visibleText(Buffer.from(text)).replaceAll(/\n/g, '⏎').replaceAll(/\t/g, ' ');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
