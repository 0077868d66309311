// A proxy's recorder that takes outcomes until it is killed, and says which are durable.
// Invariant: a number is said only after flush; `node killed-proxy.ts <spool> <port> <token>
// <from>`.
import { writeSync } from 'node:fs';
import { RemoteLedger } from '../../ledger/client.ts';
import { Recorder } from '../../proxy/record/recorder.ts';
import { outcome } from './entries.ts';

const [, , spool = '', port = '', token = '', from = '0'] = process.argv;
const writer = new RemoteLedger({ urls: [`http://127.0.0.1:${port}`], token });
const recorder = await Recorder.open({ writer, by: 'proxy/test', spool });
for (let number = Number(from); ; ) {
  const batch = Array.from({ length: 3 }, () => number++);
  for (const one of batch) recorder.outcome(outcome(one));
  await recorder.flush();
  writeSync(1, batch.map((one) => `${one}\n`).join(''));
}
