// Statements of the proxy's own, between the client's messages: settings asked for, the read-only
// switch, and the question whether the server takes a text at all.
// Invariant: their replies are owed like any other and never reach the client.
import type { Conversation } from './conversation.ts';
import { encodeOwnStatement, encodeProbe, SYNC } from './encode.ts';
import { SWITCH_OFF, SWITCH_ON } from './guard.ts';
import type { Own } from './owed-reply.ts';
import type { Requests } from './requests.ts';
import { decodeError } from './server-message.ts';

const SWITCHES: { readonly [statement: string]: Buffer } = {
  [SWITCH_ON]: encodeOwnStatement(SWITCH_ON, SYNC),
  [SWITCH_OFF]: encodeOwnStatement(SWITCH_OFF, SYNC),
};

/** In front of the message in hand; `row` takes its rows, `done` its end. */
export function sendOwn(
  bytes: Buffer,
  synced: boolean,
  { conversation, requests }: { conversation: Conversation; requests: Requests },
  row: ((columns: readonly (string | null)[]) => void) | null,
  done: (failed: boolean) => void,
): void {
  requests.inject(bytes);
  const own: Own = { kind: 'own', synced, closes: 0, failed: false, error: null, row, done };
  conversation.owed.push(own);
}

/** The read-only switch, as a unit of its own. */
export function sendSwitch(
  statement: string,
  conversation: Conversation,
  requests: Requests,
): void {
  const bytes = SWITCHES[statement];
  if (bytes === undefined) throw new Error(`no such switch: ${statement}`);
  const { guard } = conversation.state;
  guard.switched(statement);
  sendOwn(bytes, true, { conversation, requests }, null, (failed) => {
    if (failed) guard.unsettle();
  });
}

/**
 * Asks the server whether it takes a text at all, by a Parse of our own that can run nothing.
 * `answer` gets the server's ErrorResponse, or null when the server understands it (or several
 * statements, which Parse does not take).
 */
export function sendProbe(
  text: Buffer,
  conversation: Conversation,
  requests: Requests,
  answer: (error: Buffer | null) => void,
): void {
  requests.inject(encodeProbe(text));
  const own: Own = {
    kind: 'own',
    synced: true,
    closes: 0,
    failed: false,
    error: null,
    row: null,
    done: () => {
      const { error } = own;
      const report = error === null ? null : decodeError(error, 0, error.length);
      const several = report?.code === '42601' && report.position === null;
      answer(several ? null : error);
    },
  };
  conversation.owed.push(own);
}
