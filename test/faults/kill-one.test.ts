// kill -9 of one service after the other at a hundred moments in the life of held statements.
// Invariant: see killing.ts; here proxy, approver, ledger and NATS are processes of their own.
import { after } from 'node:test';
import { MARKED_POLICY, prepareHoldpoint } from '../setup/holdpoint.ts';
import { type RunningNats, startNats } from '../setup/nats.ts';
import { Apart } from './apart.ts';
import { killing } from './killing.ts';

let nats: RunningNats | null = null;
after(() => nats?.close());

killing('kill -9 of one service while statements are held', async (server, database) => {
  nats = await startNats();
  const prepared = await prepareHoldpoint({
    target: { ...server, database },
    policy: MARKED_POLICY,
    nats: nats.url,
    wait: '30s',
  });
  const apart = new Apart(prepared, nats);
  await apart.start();
  return apart;
});
