// A process that appends until it is killed, and says on standard output what was answered.
// Invariant: a line is written only after the answer; `node killed-writer.ts <directory> <from>`.
import { writeSync } from 'node:fs';
import { openLedger } from '../../ledger/ledger.ts';
import { appendOf } from './entries.ts';

const [, , directory = '', from = '0'] = process.argv;
const ledger = await openLedger({
  directory,
  origin: 'example.com/killed',
  segmentBytes: 256 * 1024,
});
let next = Number(from);
writeSync(1, `open ${ledger.size}\n`);

async function writer(batch: number): Promise<void> {
  for (;;) {
    const numbers = Array.from({ length: batch }, () => next++);
    const answers = await ledger.append(numbers.map(appendOf));
    const [last] = answers.slice(-1);
    const lines = answers.map((answer, at) => `${numbers[at]} ${answer.index}\n`).join('');
    writeSync(1, `${lines}checkpoint ${JSON.stringify(last?.checkpoint)}\n`);
  }
}

await Promise.all([1, 1, 1, 7, 40].map(writer));
