// `holdpoint start`: proxy, approver and ledger in one process; without --config also a demo
// database.
// Invariant: one process a state directory, and whatever ends it, nothing it started lives on.
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Running, StartOptions } from './run/start.ts';

export function startCommand(): Command {
  return new Command('start')
    .description('run proxy, approver and ledger; without --config also a demo database')
    .option('--config <file>', 'a holdpoint.yaml; without it a demo database is started and served')
    .option('--state <directory>', 'without --config: where everything is kept', '.holdpoint')
    .option('--port <number>', 'without --config: the port of PostgreSQL clients', port)
    .option('--page-port <number>', 'without --config: the port of the page for signers', port)
    .addOption(
      new Option('--only <service>', 'with --config: this service alone').choices([
        'proxy',
        'approver',
        'ledger',
      ]),
    )
    .action(start);
}

function port(text: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError('a port is a number from 0 to 65535; 0 takes any free one.');
}

/** Ctrl-C reaches this process from the terminal and from the launcher. */
const SAME_SIGNAL_MS = 300;

async function start(options: StartOptions): Promise<void> {
  const began = performance.now();
  // State is for its owner alone, whoever writes it.
  process.umask(0o077);
  // Whoever read what we print may stop reading: no reason to fall over.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let wanted = 0;
  let running: Running | null = null;
  const leaving = new AbortController();
  const stop = (): void => {
    const now = performance.now();
    // Asked again, and not by the same key press through the launcher: out at once. The guard ends
    // the database.
    if (wanted > 0 && now - wanted > SAME_SIGNAL_MS) process.exit(130);
    wanted ||= now;
    leaving.abort();
    if (running) void end(running);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  // The launcher's channel: it closes when the launcher is gone, even by SIGKILL.
  if (process.connected) process.once('disconnect', () => wanted === 0 && stop());

  try {
    const { startAll } = await import('./run/start.ts');
    running = await startAll(options, leaving.signal);
  } catch (error) {
    letGo();
    if (wanted > 0) return;
    throw error;
  }
  if (wanted > 0) return end(running);
  process.stdout.write(`${running.welcome(performance.now() - began)}\n`);
  const why = await running.failed;
  if (why !== null) {
    process.stderr.write(`holdpoint: ${why}\n`);
    process.exitCode = 1;
    await end(running);
  }
}

async function end(running: Running): Promise<void> {
  await running.close();
  letGo();
}

/** The launcher's channel would keep this process alive. */
function letGo(): void {
  if (process.connected) process.disconnect?.();
}
