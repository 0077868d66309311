// What the command line asks of the approver's store: acts that the approver puts on record and
// does, and waiting for that.
// Invariant: nothing here changes who may sign; the approver does, once the ledger has it.
import { userInfo } from 'node:os';
import type { Act } from '../approver/store/acts.ts';
import type { Store } from '../approver/store.ts';
import { UserError } from '../proxy/errors.ts';

const LOOK_MS = 50;

export async function askFor(store: Store, act: Act): Promise<string> {
  return await store.acts.add(act, `${userName('somebody')} (command line)`, Date.now());
}

/** true once it is on record and done; false while no approver takes it. */
export async function isDone(store: Store, id: string, seconds: number): Promise<boolean> {
  for (const end = Date.now() + seconds * 1000; ; ) {
    const act = await store.acts.get(id);
    if (!act) return true;
    if (act.fault !== null) {
      await store.acts.remove(id);
      throw new UserError(act.fault);
    }
    if (Date.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export const LATER =
  'No approver has taken it yet: it counts once one runs on this store and has put it on record.';

/** The name of the system's user; `otherwise` where it has none. */
export function userName(otherwise: string): string {
  try {
    return userInfo().username || otherwise;
  } catch {
    return otherwise;
  }
}
