// An approver in a process of its own, over NATS: for tests that kill it and for its figures.
// Invariant: its whole state is in the folder it is given, and in the store where one is named.
import { join } from 'node:path';
import { startApprover } from '../../approver/main.ts';
import { openStore } from '../../approver/store.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { openLedger } from '../../ledger/ledger.ts';

const [folder = '', nats = '', port = '0', place = join(folder, 'approver.db')] =
  process.argv.slice(2);
const bus = await openNatsBus({ servers: [nats] });
const ledger = await openLedger({
  directory: join(folder, 'ledger'),
  origin: 'example.com/killed',
});
const approver = await startApprover({
  store: await openStore(place),
  bus,
  ledger,
  keyFile: join(folder, 'approver.pem'),
  listen: { host: '127.0.0.1', port: Number(port) },
});
process.on('message', (m) => {
  if (m === 'memory') process.send?.({ rss: process.memoryUsage.rss() });
});
process.send?.({ ready: approver.port });
