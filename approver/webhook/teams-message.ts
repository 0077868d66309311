// Teams' own form of a telling: an adaptive card 1.5 with a link, and a reply to a command.
// Invariant: only `RichTextBlock` and `CodeBlock` hold others' words: neither reads markdown.
import type { Telling } from './chat.ts';

export function teamsMessage(t: Telling, url: string | null, command: string | null): unknown {
  const lines = t.facts.map((f) => line([`${f.name}: `, true], [f.value, false]));
  const code = { type: 'CodeBlock', codeSnippet: t.statement, language: 'PlainText' };
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: {
          type: 'AdaptiveCard',
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          version: '1.5',
          body: [
            line([t.title, true]),
            ...lines,
            ...(t.statement === null ? [] : [code]),
            ...(t.elsewhere === null ? [] : [line([t.elsewhere, true])]),
            ...(command === null ? [] : [line([command, false])]),
          ],
          ...(url === null
            ? {}
            : { actions: [{ type: 'Action.OpenUrl', title: 'Open and decide', url }] }),
        },
      },
    ],
  };
}

/** What a command is answered with: a card too, since a message's text would be read as markup. */
export function teamsReply(text: string, url: string | null): unknown {
  return teamsMessage({ title: text, facts: [], statement: null, elsewhere: null }, url, null);
}

function line(...runs: readonly (readonly [text: string, bold: boolean])[]) {
  return {
    type: 'RichTextBlock',
    inlines: runs.map(([text, bold]) => ({
      type: 'TextRun',
      text,
      ...(bold ? { weight: 'Bolder' } : {}),
    })),
  };
}
