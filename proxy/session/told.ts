// What an agent is told of a denial or a hold, in words that a program, or a model, can act on.
// Invariant: the thing, the reason and the next step are all there; no row data.
import type { HoldRequest } from '../../approver/contract.ts';
import { describe } from '../effect/describe.ts';
import { type Effect, isChange } from '../effect/effect.ts';
import type { Operation } from '../operation.ts';

/** A statement may set off very much; so many sentences and characters of it are told. */
const MOST_SENTENCES = 3;
const MOST_CHARACTERS = 400;

export function deniedWords(
  operation: Operation,
  by: { readonly rule: string; readonly reason: string },
): { detail: string } {
  const { effects } = operation.analysis;
  return { detail: `Rule ${by.rule}: ${sentence(by.reason)} ${understood(effects)}` };
}

/** `waits`: the connection waits; else it is in a transaction, which keeps its locks. */
export function heldWords(
  id: string,
  request: HoldRequest,
  page: string,
  waits: boolean,
): { message: string; detail: string; hint: string } {
  const wanted = request.demands
    .map(({ signatures, group }) => {
      const count = signatures === 1 ? 'a signature' : `${signatures} signatures`;
      return `${count} of ${group.replaceAll('|', ' or ')}`;
    })
    .join(' and ');
  const again = 'send exactly the same statement with the same parameters again';
  return {
    message: `held as ${id}: waits for ${wanted}`,
    detail:
      `Rule ${request.rule}: ${sentence(request.reason)} ${understood(request.effects)} ` +
      `The hold, ${page}/holds/${id}, is open until ${request.expires}.`,
    hint: waits
      ? `To resume once it is approved, ${again}.`
      : `In a transaction nothing waits: roll back, and once it is approved, ${again}.`,
  };
}

function sentence(text: string): string {
  return text.endsWith('.') ? text : `${text}.`;
}

function understood(effects: readonly Effect[]): string {
  const told = effects
    .filter((effect) => isChange(effect.class))
    .slice(0, MOST_SENTENCES)
    .map(describe)
    .join(' ');
  const cut = told.length <= MOST_CHARACTERS ? told : `${told.slice(0, MOST_CHARACTERS)}…`;
  return `Understood as: ${cut === '' ? 'changes nothing.' : cut}`;
}
