// kill -9 of everything at a hundred moments in the life of held statements.
// Invariant: see killing.ts; here proxy, approver and ledger are one process and die together.
import { MARKED_POLICY, startHoldpoint } from '../setup/holdpoint.ts';
import { killing } from './killing.ts';

killing('kill -9 of everything while statements are held', (server, database) =>
  startHoldpoint({
    target: { ...server, database },
    policy: MARKED_POLICY,
    child: true,
    wait: '30s',
  }),
);
