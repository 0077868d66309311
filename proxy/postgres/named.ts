// Messages that make, show and drop the client's names: Parse, Describe, Close.
// Invariant: none of them runs anything, so they go ahead; what they name is believed by names.ts.
import { LIMITS } from '../limits.ts';
import type { Refusal } from '../session/flow.ts';
import type { Named, Parse } from './client-message.ts';
import type { Conversation } from './conversation.ts';
import { typesRun } from './effect/analyze.ts';
import type { Judgement } from './judgement.ts';
import { badName, type Prepared } from './names.ts';
import { DESCRIBE } from './owed-reply.ts';
import type { Step } from './requests.ts';

/** What the server would convert, by users' code, before there is a verdict. */
const CONVERTED = {
  code: 'not_understood',
  hint: 'Send the statement as a simple query, with its values in the text.',
} as const;
const LITERAL = 'A type in it has checks that change something, and literals are checked by Parse.';
const PARAMETER = 'A parameter is of a type with checks or casts that change something.';

/** Parse: the text is understood now and judged with its values at Bind. null: it may go. */
export function parse(
  message: Parse,
  unit: number,
  conversation: Conversation,
): Refusal | 'stay' | null {
  const { state, owed } = conversation;
  const misnamed = badName(message.statement);
  if (misnamed !== null) return misnamed;
  if (state.statements.size > LIMITS.prepared_statements) {
    return { code: 'limit', detail: 'Too many prepared statements are open.' };
  }
  if (!conversation.meaning.isKnown(message.text)) return 'stay';
  const parsed = conversation.meaning.of(message.text, message.types);
  const { catalog } = conversation;
  if (parsed.statements.some(({ on_parse }) => on_parse)) return { ...CONVERTED, detail: LITERAL };
  if (typesRun(message.types, state.context, catalog.current()))
    return { ...CONVERTED, detail: PARAMETER };
  const prepared: Prepared = {
    name: message.statement,
    text: Buffer.from(message.text),
    parsed,
    understood: state.stamp,
    types: message.types,
    unit,
    kept: null,
  };
  state.statements.ask(message.statement, prepared, unit);
  state.renamed(message.statement, prepared.text.toString('latin1'));
  owed.push({ kind: 'parse', prepared });
  return null;
}

/** Describe: the parameter types it tells are learnt for the card. */
export function describe(
  named: Named,
  unit: number,
  conversation: Conversation,
  judgement: Judgement,
): Step {
  const { state, owed } = conversation;
  const found =
    named.what === 'statement' ? state.statements.find(named.name, unit, false) : 'none';
  if (typeof found === 'string') {
    owed.push(DESCRIBE);
    return 'forward';
  }
  // The server may plan it again for this.
  if (judgement.understood(found) === null) return 'stay';
  owed.push({ kind: 'describe', prepared: found });
  return 'forward';
}

/** Close: the name is free for the rest of the unit, and for good once the server has said so. */
export function close(named: Named, unit: number, conversation: Conversation): Refusal | null {
  const { state, owed } = conversation;
  const misnamed = badName(named.name);
  if (misnamed !== null) return misnamed;
  if (named.what === 'statement') {
    state.statements.ask(named.name, null, unit);
    state.renamed(named.name, 'closed');
  } else state.portals.ask(named.name, null, unit);
  owed.push({ kind: 'close', ...named });
  return null;
}
