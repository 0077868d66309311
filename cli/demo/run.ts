// Runs a program to its end, as the demo's user where that is another one.
// Invariant: a failure carries the line in which the program said why.
import { spawn } from 'node:child_process';

const TAIL_CHARACTERS = 4_000;

export function run(
  program: string,
  args: readonly string[],
  as: { readonly user: { readonly uid: number; readonly gid: number } | null },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Ctrl-C in a terminal is ours to hear: what it would cut short here is over in a moment.
      detached: true,
      ...(as.user ?? {}),
    });
    let said = '';
    const hear = (chunk: Buffer): void => {
      said = (said + chunk.toString('utf8')).slice(-TAIL_CHARACTERS);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(said);
      const lines = said.trim().split('\n');
      const telling = lines.find((line) => /error|fatal|could not/i.test(line)) ?? lines.at(-1);
      reject(new Error(`${program} ended with ${code ?? signal}: ${telling}`));
    });
  });
}
