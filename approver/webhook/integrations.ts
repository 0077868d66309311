// The integrations as an operator sets them up, and their secrets as the rooms need them.
// Invariant: a secret is shown once, to who made it; it lies sealed in the store and is opened for
// one use.
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import type { Integration } from '../store/integrations.ts';
import type { Store } from '../store.ts';
import { newSecret, type Sealer } from './secret.ts';
import { checkAddress } from './send.ts';

export const SLACK = 'slack';
export const TEAMS = 'teams';
export const SLACK_API = 'https://slack.com/api';

export interface SlackSettings {
  /** The workspace's id, `T…`: clicks from another one are not ours. */
  readonly team: string;
  /** The conversation that holds are posted to, `C…`. */
  readonly conversation: string;
  /** Where Slack's API is. */
  readonly api: string;
  readonly private: boolean;
  readonly events: readonly string[];
}

export interface OpenSlack extends Omit<SlackSettings, 'events' | 'private'> {
  readonly signing: string;
  readonly token: string;
  readonly allowPrivate: boolean;
}

interface Parts {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly now: () => number;
  readonly allowPrivate: boolean;
}

export class Integrations {
  readonly #p: Parts;

  constructor(parts: Parts) {
    this.#p = parts;
  }

  async connectSlack(
    settings: SlackSettings,
    secrets: { readonly signing: string; readonly token: string },
  ): Promise<void> {
    if (settings.private && !this.#p.allowPrivate) {
      const what = 'private addresses are switched off in this approver’s configuration';
      throw new ApproverError('forbidden', what);
    }
    const why = checkAddress(settings.api, settings.private);
    if (why !== null) throw new ApproverError('bad-request', `Slack’s address: ${why}`);
    const { webhooks } = this.#p.store;
    const there = await webhooks.get(SLACK);
    if (there && there.format !== 'slack-app') {
      throw new ApproverError('conflict', 'there is a webhook named slack: remove it first');
    }
    const { team, conversation, api } = settings;
    await this.#put(SLACK, SLACK, { team, conversation, api }, JSON.stringify(secrets));
    await webhooks.put({
      name: SLACK,
      url: api,
      events: settings.events,
      secrets: [],
      allowPrivate: settings.private,
      active: true,
      created: this.#p.now(),
      format: 'slack-app',
    });
  }

  /** null while Slack is not connected. */
  async slack(): Promise<OpenSlack | null> {
    const found = await this.#p.store.integrations.get(SLACK);
    const [secret] = found ? this.#open(found) : [];
    if (!found || secret === undefined) return null;
    const webhook = await this.#p.store.webhooks.get(SLACK);
    const { signing, token } = JSON.parse(secret) as { signing: string; token: string };
    const { team = '', conversation = '', api = SLACK_API } = found.settings;
    const allowPrivate = webhook?.allowPrivate === true && this.#p.allowPrivate;
    return { team, conversation, api, signing, token, allowPrivate };
  }

  /** `token`: the security token that Teams showed for its outgoing webhook. */
  async connectTeams(token: string): Promise<void> {
    await this.#put(TEAMS, TEAMS, {}, token);
  }

  /** null while Teams is not connected. */
  async teams(): Promise<string | null> {
    const found = await this.#p.store.integrations.get(TEAMS);
    return (found && this.#open(found)[0]) ?? null;
  }

  /** An integration that decides for people; answers its secret when it is ours to make. */
  async addCallback(name: string, publicKey: string | null): Promise<string | null> {
    if ([SLACK, TEAMS].includes(name) || (await this.#p.store.integrations.get(name))) {
      throw new ApproverError('conflict', `there is an integration ${name} already`);
    }
    const secret = publicKey ?? newSecret('hmac');
    await this.#put(name, 'callback', {}, secret);
    return publicKey === null ? secret : null;
  }

  /** A new secret or key; the old one is taken beside it for a while. */
  async rotateCallback(name: string, publicKey: string | null): Promise<string | null> {
    const found = await this.#callback(name);
    const now = this.#p.now();
    const [current, ...older] = found.secrets;
    const secret = publicKey ?? newSecret('hmac');
    const kept = current ? [{ ...current, until: now + limits.WEBHOOK_ROTATION_MS }] : [];
    await this.#p.store.integrations.put({
      ...found,
      secrets: [
        { sealed: this.#p.sealer.seal(secret, aboutOf(name)), until: null },
        ...kept,
        ...older.filter((s) => (s.until ?? 0) > now),
      ],
    });
    return publicKey === null ? secret : null;
  }

  /** What may have signed a request of this integration now; empty for one that is not there. */
  async callbackSecrets(name: string): Promise<readonly string[]> {
    const found = await this.#p.store.integrations.get(name);
    return found?.kind === 'callback' ? this.#open(found) : [];
  }

  async remove(name: string): Promise<void> {
    if (!(await this.#p.store.integrations.remove(name))) {
      throw new ApproverError('not-found', `there is no integration ${name}`);
    }
    if (name === SLACK) await this.#p.store.webhooks.remove(SLACK);
  }

  async #callback(name: string): Promise<Integration> {
    const found = await this.#p.store.integrations.get(name);
    if (found?.kind === 'callback') return found;
    throw new ApproverError('not-found', `there is no integration ${name} whose secret is ours`);
  }

  async #put(
    name: string,
    kind: Integration['kind'],
    settings: Integration['settings'],
    secret: string,
  ): Promise<void> {
    const sealed = this.#p.sealer.seal(secret, aboutOf(name));
    await this.#p.store.integrations.put({
      name,
      kind,
      settings,
      secrets: [{ sealed, until: null }],
      created: this.#p.now(),
    });
  }

  #open(found: Integration): readonly string[] {
    const now = this.#p.now();
    return found.secrets
      .filter((s) => s.until === null || s.until > now)
      .map((s) => this.#p.sealer.open(s.sealed, aboutOf(found.name)));
  }
}

/** A webhook of the same name has other secrets. */
function aboutOf(name: string): string {
  return `integration ${name}`;
}
