// `holdpoint agent add|list|password|remove|verifier`: the agents kept in the state directory.
// Invariant: a password is printed once, when it is made, and stored nowhere.
import { Command } from 'commander';
import { Agents, addAgent, makeVerifier, removeAgent, resetAgent } from '../proxy/agents.ts';
import { type Config, loadConfig } from '../proxy/config.ts';
import { UserError } from '../proxy/errors.ts';

interface Where {
  readonly config?: string;
  readonly state: string;
}

interface Given extends Where {
  readonly group: readonly string[];
  readonly capability: readonly string[];
  readonly scope: readonly string[];
  readonly target: readonly string[];
}

const CAPABILITIES = ['read', 'write', 'ddl'];

function withPlace(command: Command): Command {
  return command
    .option('--config <file>', 'the holdpoint.yaml whose state directory is meant')
    .option('--state <directory>', 'the state directory', '.holdpoint');
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

export function agentCommand(): Command {
  const agent = new Command('agent').description(
    'the agents that may log in; a running proxy sees changes at the next login',
  );
  withPlace(agent.command('add').argument('<name>').description('add an agent, print its password'))
    .option('--group <name>', 'a group it is in (repeatable)', collect, [])
    .option('--capability <name>', `what it may do (repeatable; ${CAPABILITIES})`, collect, [])
    .option('--scope <name>', 'a scope for the policy to look at (repeatable)', collect, [])
    .option('--target <name>', 'a target it may use (repeatable; all by default)', collect, [])
    .action(add);
  withPlace(agent.command('list').description('list the agents')).action(list);
  withPlace(
    agent.command('password').argument('<name>').description('give it a new password'),
  ).action((name: string, where: Where) => {
    process.stdout.write(`${resetAgent(stateOf(where), name)}\n`);
  });
  withPlace(agent.command('remove').argument('<name>').description('remove an agent')).action(
    (name: string, where: Where) => {
      removeAgent(stateOf(where), name);
    },
  );
  agent
    .command('verifier')
    .description(
      'make a verifier for the agents of a holdpoint.yaml from a password on standard input',
    )
    .action(verifier);
  return agent;
}

function configOf(where: Where): Config | null {
  return where.config === undefined ? null : loadConfig(where.config);
}

function stateOf(where: Where): string {
  return configOf(where)?.state ?? where.state;
}

function add(name: string, given: Given): void {
  const config = configOf(given);
  const known = config?.targets.map((target) => target.name);
  const strange = given.target.find((target) => known && !known.includes(target));
  if (strange !== undefined) {
    throw new UserError(
      `there is no target ${strange}: the configuration has ${known?.join(', ')}`,
    );
  }
  if (config?.agents.some((agent) => agent.name === name)) {
    throw new UserError(`agent ${name} is in ${config.file} already: choose another name`);
  }
  const password = addAgent(config?.state ?? given.state, {
    name,
    groups: given.group,
    capabilities: given.capability.length > 0 ? given.capability : ['read', 'write'],
    scopes: given.scope,
    targets: given.target.length > 0 ? given.target : null,
  });
  process.stderr.write(`Agent ${name} is added. Its password, shown this once:\n`);
  process.stdout.write(`${password}\n`);
}

function list(where: Where): void {
  const config = configOf(where);
  const all = new Agents(config?.state ?? where.state, config?.agents ?? []).list();
  for (const one of all) {
    const facts = [
      `groups ${one.groups.join(' ') || '-'}`,
      `capabilities ${one.capabilities.join(' ') || '-'}`,
      `scopes ${one.scopes.join(' ') || '-'}`,
      `targets ${one.targets?.join(' ') ?? 'all'}`,
    ];
    process.stdout.write(`${one.name}: ${facts.join(', ')}\n`);
  }
  if (all.length === 0) process.stderr.write('There are no agents: holdpoint agent add NAME\n');
}

async function verifier(): Promise<void> {
  if (process.stdin.isTTY) process.stderr.write('Password (it will be seen), then Enter: ');
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  const password = text.split(/\r?\n/)[0] ?? '';
  if (password === '') throw new UserError('no password came on standard input');
  process.stdout.write(`${makeVerifier(password)}\n`);
}
