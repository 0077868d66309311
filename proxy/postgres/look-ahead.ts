// What the unit that begins here will need of the read-only switch, as far as its messages are
// here.
// Invariant: it only looks; what each message does is judged when its turn comes.
import { decodeBindNames, decodeParse } from './client-message.ts';
import type { Conversation } from './conversation.ts';
import { CLIENT, frameLength, HEADER } from './frame.ts';
import { type Need, needOf, worseNeed } from './guard.ts';

/**
 * The worst need among the statements from `from` up to Sync, or to the end of what has come: so
 * that the unit is one transaction of one kind. `wait`: a long one is not understood yet.
 */
export function unitNeed(
  input: Buffer,
  from: number,
  unit: number,
  conversation: Conversation,
): Need | 'wait' {
  const { statements } = conversation.state;
  let need: Need = 'any';
  let at = from;
  while (input.length - at >= HEADER) {
    const type = input.readUInt8(at);
    const length = frameLength(input, at);
    if (type === CLIENT.sync || length < HEADER || input.length - at < length) break;
    const end = at + length;
    if (type === CLIENT.parse) {
      const { text } = decodeParse(input, at, end);
      if (!conversation.meaning.isKnown(text)) return 'wait';
      const parsed = conversation.meaning.of(text);
      need = worseNeed(need, needOf(parsed, conversation.mayWrite));
    } else if (type === CLIENT.bind) {
      const found = statements.find(decodeBindNames(input, at, end).statement, unit, false);
      if (typeof found === 'object') {
        need = worseNeed(need, needOf(found.parsed, conversation.mayWrite));
      }
    }
    at = end;
  }
  return need;
}
