// The approver's API for the command line: each call is signed by the person's own key, each
// decision made locally.
// Invariant: what is signed is computed here from the binding that was shown, never from the
// server's digest.
import { createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { SignJWT } from 'jose';
import { UserError } from '../proxy/errors.ts';
import { type Choice, decisionBytes, digestOf, type SignedDecision } from './binding.ts';
import type { Card, HoldLine } from './card.ts';
import { publicJwk } from './receipt.ts';
import { thumbprint } from './sign.ts';

export interface Person {
  readonly name: string;
  readonly key: KeyObject;
  readonly thumbprint: string;
}

/** The person's private key from its file; one that others can read is refused, as ssh does. */
export async function loadPerson(name: string, file: string): Promise<Person> {
  const pem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UserError(`${file}: no key there; make one with: holdpoint signer add "${name}"`, {
      cause,
    });
  });
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) {
    throw new UserError(`${file} can be read by others than you: chmod 600 ${file}`);
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new UserError(`${file} holds no private key in PEM`, { cause });
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new UserError(`${file} holds no Ed25519 key`);
  return { name, key, thumbprint: await thumbprint(publicJwk(createPublicKey(key))) };
}

export class ApproverClient {
  readonly #server: string;
  readonly #person: Person;

  constructor(server: string, person: Person) {
    this.#server = new URL(server).origin;
    this.#person = person;
  }

  async list(query: { readonly [name: string]: string }): Promise<{
    readonly holds: readonly HoldLine[];
    readonly cursor: string | null;
  }> {
    const text = new URLSearchParams({ ...query }).toString();
    return (await this.#call('GET', `/api/holds?${text}`)) as never;
  }

  /** The card, once its words are proved to be those of its binding. */
  async show(id: string): Promise<Card> {
    const card = (await this.#call('GET', `/api/holds/${encodeURIComponent(id)}`)) as Card;
    const why = checkCard(card);
    if (why !== null)
      throw new UserError(`the server's card of ${id} is not to be trusted: ${why}`);
    return card;
  }

  async decide(card: Card, choice: Choice, reason: string | null): Promise<Card> {
    const decision: SignedDecision = {
      v: 1,
      kind: 'holdpoint-decision',
      hold: card.id,
      binding: digestOf(card.binding),
      decision: choice,
      reason,
      signer: this.#person.name,
      signed: new Date().toISOString(),
    };
    return (await this.#call('POST', `/api/holds/${encodeURIComponent(card.id)}/decisions`, {
      decision,
      key: this.#person.thumbprint,
      signature: sign(null, decisionBytes(decision), this.#person.key).toString('base64url'),
      evidence: null,
    })) as Card;
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const token = await new SignJWT({ method, path })
      .setProtectedHeader({ alg: 'EdDSA', kid: this.#person.thumbprint, typ: 'holdpoint-call+jwt' })
      .setIssuer(this.#person.name)
      .setAudience(this.#server)
      .setIssuedAt()
      .setJti(randomUUID())
      .sign(this.#person.key);
    let response: Response;
    try {
      response = await fetch(this.#server + path, {
        method,
        redirect: 'error',
        headers: {
          authorization: `Holdpoint ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      throw new UserError(`no approver answers at ${this.#server}: is it running? (--server)`, {
        cause,
      });
    }
    const answer: unknown = await response.json().catch(() => null);
    if (response.ok) return answer;
    const { title, detail } = (answer ?? {}) as { title?: string; detail?: string };
    throw new UserError(
      `${title ?? response.statusText}: ${detail ?? `status ${response.status}`}`,
    );
  }
}

/** Does the card show what its binding says? null when it does. */
export function checkCard(card: Card): string | null {
  if (digestOf(card.binding) !== card.digest) return 'its digest is not that of its binding';
  if (card.binding.statement !== card.statement_base64) return 'it shows another statement';
  const shown = card.pieces.map((p) => p.text).join('');
  const bytes = Buffer.from(card.binding.statement, 'base64');
  const plain = card.pieces.every((p) => p.mark === null || !p.mark.startsWith('byte '));
  if (plain && shown !== bytes.toString('utf8')) return 'it shows another statement';
  if (card.binding.agent !== card.agent) return 'it shows another agent';
  if (card.binding.target !== card.target) return 'it shows another target';
  if (card.binding.environment !== card.environment) return 'it shows another environment';
  const parameters = card.parameters.map((p) => [p.type, p.format, p.base64]);
  const bound = card.binding.parameters.map((p) => [p.type, p.format, p.base64]);
  return JSON.stringify(parameters) === JSON.stringify(bound) ? null : 'it shows other parameters';
}
