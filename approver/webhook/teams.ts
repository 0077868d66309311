// Commands in Teams: `@Holdpoint approve h-…`, `@Holdpoint deny h-… reason`, by its outgoing
// webhook.
// Invariant: nothing is acted on before the HMAC over it is checked; a person is known by the
// directory's id of them, never by the name they show.
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import { type ChatCard, shownWhole } from './chat.ts';
import type { Inbound } from './inbound.ts';
import { TEAMS } from './integrations.ts';
import { teamsReply } from './teams-message.ts';
import { fromTeams, type Headers } from './verify.ts';

const message = z.object({
  type: z.literal('message'),
  id: z.string().min(1).max(200),
  timestamp: z.iso.datetime({ offset: true }),
  from: z.object({ aadObjectId: z.uuid() }),
  text: z.string().max(20_000),
});

const COMMAND = /^(approve|deny)\s+(h-[a-z2-7]{16})(?:\s+([\s\S]*))?$/i;
const USAGE = 'Say approve h-…, or deny h-… and your reason.';

export class TeamsDoor {
  readonly #in: Inbound;
  readonly #cardOf: (hold: string) => Promise<{ card: ChatCard } | null>;

  constructor(inbound: Inbound, cardOf: (hold: string) => Promise<{ card: ChatCard } | null>) {
    this.#in = inbound;
    this.#cardOf = cardOf;
  }

  /** One message; the reply that Teams shows. */
  async take(headers: Headers, body: Buffer): Promise<unknown> {
    const { integrations, now } = this.#in.parts;
    const token = await integrations.teams();
    if (token === null) throw new ApproverError('not-found', 'Teams is not connected here');
    const parsed = message.safeParse(jsonOf(body));
    const sent = parsed.success ? parsed.data : null;
    await this.#in.take(TEAMS, fromTeams(token, headers, body, sent, now()));
    const [, word, hold, reason] = COMMAND.exec(commandIn(sent?.text ?? '')) ?? [];
    if (!sent || word === undefined || hold === undefined) return teamsReply(USAGE, null);
    const decision = word.toLowerCase() === 'approve' ? 'approve' : 'deny';
    const url = this.#in.urlOf(hold);
    try {
      const said = {
        hold,
        decision,
        reason: reason?.trim() || null,
        channel: TEAMS,
        account: `teams:${sent.from.aadObjectId}`,
        request: body,
      } as const;
      const { request } = await this.#in.standing(said);
      const found = await this.#cardOf(hold);
      if (decision === 'approve' && (!found || !shownWhole(found.card))) {
        const why = 'it is too long to be shown whole in Teams: decide on the page';
        throw new ApproverError('wrong-channel', why);
      }
      const decided = await this.#in.decide({ ...said, binding: request.digest });
      return teamsReply(`Taken. ${decided.id} is ${decided.state}.`, url);
    } catch (e) {
      if (e instanceof ApproverError) return teamsReply(`${e.message}.`, url);
      this.#in.parts.log('a command in Teams failed', { error: String(e) });
      return teamsReply('The approver failed at this; its log says why.', url);
    }
  }
}

/** The words without the mention in front of them: `<at>Holdpoint</at> approve …`. */
function commandIn(text: string): string {
  return text
    .replaceAll(/<at>[^<]*<\/at>/g, ' ')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll('&nbsp;', ' ')
    .trim();
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}
