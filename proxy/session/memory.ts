// What all sessions together keep of messages that are not whole yet, or wait for their turn.
// Invariant: the sum never passes `unfinished_bytes`. The first bytes of each session don't count,
// so that a budget which others have used up stops nobody's ordinary messages.
import { LIMITS } from '../limits.ts';
import type { Refusal } from './flow.ts';

export class Memory {
  #counted = 0;

  /** A session's part of it, none to begin with. */
  share(): Share {
    let mine = 0;
    return {
      keep: (bytes) => {
        const now = Math.max(0, bytes - LIMITS.unfinished_free_bytes);
        if (now > mine && this.#counted + now - mine > LIMITS.unfinished_bytes) return false;
        this.#counted += now - mine;
        mine = now;
        return true;
      },
    };
  }
}

export const NO_ROOM: Refusal = {
  code: 'limit',
  detail: `The unfinished messages of all sessions have ${LIMITS.unfinished_bytes} bytes by now.`,
  hint: 'Try again when others are through, or send smaller messages.',
};

export interface Share {
  /** So many bytes are kept from now on; false: there is no room for them. */
  keep(bytes: number): boolean;
}
