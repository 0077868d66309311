// `holdpoint COMMAND …`: the table of commands.
// Invariant: a command's code is loaded when it is called and not before, so that each starts at
// once.
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { Command } from 'commander';
import { UserError } from '../proxy/errors.ts';

interface Entry {
  readonly description: string;
  readonly load: () => Promise<Command>;
}

const COMMANDS: { readonly [name: string]: Entry } = {
  start: {
    description: 'run proxy, approver and ledger; without --config also a demo database',
    load: async () => (await import('./start.ts')).startCommand(),
  },
  classify: {
    description: 'say what statements would do, from JSON lines on standard input',
    load: async () => {
      const { classify } = await import('./classify.ts');
      return new Command('classify')
        .description('say what statements would do: JSON lines in, one line out for each')
        .requiredOption('--engine <engine>', 'postgres')
        .option('--catalog <url>', 'a database to look names up in; no statement is run there')
        .action(classify);
    },
  },
  agent: {
    description: 'add, list and remove the agents that may log in',
    load: async () => (await import('./agent.ts')).agentCommand(),
  },
  signer: {
    description: 'the named people who may sign, and their keys',
    load: async () => (await import('./signer.ts')).signerCommand(),
  },
  holds: {
    description: 'operations that wait for people: list, show, approve, deny',
    load: async () => (await import('./holds.ts')).holdsCommand(),
  },
  receipt: {
    description: 'check the signed proof of an approval, offline',
    load: async () => (await import('./receipt.ts')).receiptCommand(),
  },
  policy: {
    description: 'test, explain and compile the policy',
    load: async () => (await import('./policy.ts')).policyCommand(),
  },
  ledger: {
    description: 'verify and prove what the ledger holds, from its files',
    load: async () => (await import('./ledger.ts')).ledgerCommand(),
  },
};

/** For help alone: names and descriptions, nothing loaded. */
function overview(): Command {
  const file = join(import.meta.dirname, '..', 'package.json');
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  const program = new Command('holdpoint')
    .description('The hold point between AI agents and their databases.')
    .version(version)
    .showHelpAfterError('See holdpoint --help.');
  for (const [name, entry] of Object.entries(COMMANDS)) {
    program.command(name).description(entry.description);
  }
  return program;
}

async function main(args: readonly string[]): Promise<void> {
  const [name = '', ...rest] = args[0] === 'help' && args[1] ? [args[1], '--help'] : args;
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!entry) {
    await overview().parseAsync(args.length === 0 ? ['--help'] : [...args], { from: 'user' });
    return;
  }
  const program = new Command('holdpoint').addCommand(await entry.load());
  await program.parseAsync([name, ...rest], { from: 'user' });
}

// Halves the time to load; a directory that can't be written is simply not used.
enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'holdpoint'));
try {
  await main(process.argv.slice(2));
} catch (error) {
  // A person's mistake is told in words; anything else is ours, and its stack says where.
  const told = error instanceof UserError ? error.message : error;
  console.error(error instanceof UserError ? `holdpoint: ${told}` : told);
  process.exitCode = 1;
}
