// Who may decide from outside the page: Slack, Teams, other programs, and whose account is whose.

import { call } from '/api.js';
import { html, useState } from '/vendor/preact.js';
import { plain, ShownOnce } from '/view.js';

const CHANNEL = /^(?:slack|teams|callback:[a-z0-9-]+):/;

/** The accounts of a person on channels; other names of theirs are no accounts. */
export const accountsOf = (person) => person.identities.filter((i) => CHANNEL.test(i));

export function Integrations({ of, may, act }) {
  const [secret, setSecret] = useState(null);
  const made = (name, answer) => answer.secret && setSecret({ name, secret: answer.secret });
  const rotate = async (name) =>
    made(name, await call('POST', `/api/integrations/${name}/secret`, {}));
  return html`<h2>Decisions from outside</h2>
    <p class="quiet">
      They count only where the policy names their channel. The approver vouches for them, no key of
      the person’s does, and the ledger says so.
    </p>
    ${of.length === 0 && html`<p>None.</p>`}
    <ul>
      ${of.map(
        (i) => html`<li>
          <b>${i.name}</b>, channel <code>${i.channel}</code>${' '}
          ${i.kind === 'slack' && `(${i.settings.team}, posts to ${i.settings.conversation})`}
          ${
            may &&
            html`<p class="row">
              ${
                i.kind === 'callback' &&
                html`<button class="plain" onClick=${act(() => rotate(i.name))}>
                  New secret <span class="hidden">for the integration ${i.name}</span>
                </button>`
              }
              <button
                class="plain"
                onClick=${act(() => call('DELETE', `/api/integrations/${i.name}`))}
              >
                Disconnect <span class="hidden">${i.name}</span>
              </button>
            </p>`
          }
        </li>`,
      )}
    </ul>
    <${ShownOnce} secret=${secret} />
    ${
      may &&
      html`<${ConnectSlack} act=${act} /><${ConnectTeams} act=${act} />
        <${AddCallback} act=${act} made=${made} />`
    }`;
}

/** A form behind its own heading; `send` gets what was typed, by the fields' names. */
function Form({ title, button, fields, hint, act, send }) {
  const submit = (e) => {
    e.preventDefault();
    const form = e.target;
    const given = Object.fromEntries(new FormData(form));
    void act(async () => {
      await send(given);
      form.reset();
    })();
  };
  return html`<details>
    <summary>${title}</summary>
    <p class="quiet">${hint}</p>
    <form class="search" autocomplete="off" onSubmit=${submit}>
      ${fields.map(
        (f) => html`<label
          >${f.label}
          <input
            name=${f.name}
            type=${f.secret ? 'password' : 'text'}
            autocomplete="off"
            required=${!f.optional}
            pattern=${f.pattern}
            title=${f.title}
        /></label>`,
      )}
      <button class="approve">${button}</button>
    </form>
  </details>`;
}

const here = (channel) => `${location.origin}/api/channels/${channel}`;

function ConnectSlack({ act }) {
  return html`<${Form}
    title="Connect Slack"
    button="Connect Slack"
    hint=${html`An app with the scope <code>chat:write</code> and Interactivity on, its Request URL
      ${' '}<code class="wrap">${here('slack')}</code>`}
    act=${act}
    fields=${[
      { name: 'signing_secret', label: 'Signing secret', secret: true },
      { name: 'bot_token', label: 'Bot token', secret: true },
      { name: 'team', label: 'Workspace id', pattern: 'T[A-Z0-9]+', title: 'it begins with T' },
      { name: 'conversation', label: 'Channel id', pattern: '[CGD][A-Z0-9]+', title: 'C…' },
    ]}
    send=${(given) => call('PUT', '/api/integrations/slack', given)}
  />`;
}

function ConnectTeams({ act }) {
  return html`<${Form}
    title="Connect Teams"
    button="Connect Teams"
    hint=${html`An outgoing webhook of the team, its callback URL
      ${' '}<code class="wrap">${here('teams')}</code>`}
    act=${act}
    fields=${[{ name: 'security_token', label: 'Security token', secret: true }]}
    send=${(given) => call('PUT', '/api/integrations/teams', given)}
  />`;
}

function AddCallback({ act, made }) {
  const send = async ({ name, key }) => {
    const body = { name, public_key: key === '' ? null : key };
    made(name, await call('POST', '/api/integrations', body));
  };
  return html`<${Form}
    title="Add a program"
    button="Add program"
    hint=${html`It hands in people’s decisions, signed by the Standard Webhooks specification, at
      ${' '}<code class="wrap">${here('callback/NAME')}</code>`}
    act=${act}
    fields=${[
      { name: 'name', label: 'Its name', pattern: '[a-z0-9][a-z0-9\\-]*', title: 'small letters' },
      { name: 'key', label: 'Its public key (whpk_…), or none for a secret', optional: true },
    ]}
    send=${send}
  />`;
}

export function Accounts({ people, integrations, may, act }) {
  const linked = people.flatMap((p) => accountsOf(p).map((account) => ({ person: p, account })));
  if (linked.length === 0 && integrations.length === 0) return null;
  const path = (name) => `/api/signers/${encodeURIComponent(name)}/accounts`;
  const unlink = (l) =>
    act(() => call('DELETE', `${path(l.person.name)}/${encodeURIComponent(l.account)}`));
  return html`<h2>Accounts</h2>
    <ul>
      ${linked.map(
        (l) => html`<li>
          <code class="wrap">${plain(l.account)}</code> decides as <b>${plain(l.person.name)}</b>
          ${' '}
          ${
            may &&
            html`<button class="plain" onClick=${unlink(l)}>
              Unlink <span class="hidden">${l.account}</span>
            </button>`
          }
        </li>`,
      )}
    </ul>
    ${may && html`<${Link} ...${{ people, integrations, act, path }} />`}`;
}

function Link({ people, integrations, act, path }) {
  const [who, setWho] = useState('');
  const [channel, setChannel] = useState('');
  const [id, setId] = useState('');
  const to = who || people[0]?.name;
  const by = channel || integrations[0]?.channel;
  const link = async () => {
    await call('POST', path(to), { account: `${by}:${id.trim()}` });
    setId('');
  };
  return html`<form
    class="search"
    onSubmit=${(e) => {
      e.preventDefault();
      void act(link)();
    }}
  >
    <label
      >Person
      <select value=${to} onChange=${(e) => setWho(e.target.value)}>
        ${people.map((p) => html`<option value=${p.name}>${plain(p.name)}</option>`)}
      </select></label
    >
    <label
      >Account on
      <select value=${by} onChange=${(e) => setChannel(e.target.value)}>
        ${integrations.map((i) => html`<option value=${i.channel}>${i.channel}</option>`)}
      </select></label
    >
    <label
      >Their id there
      <input required value=${id} onInput=${(e) => setId(e.target.value)}
    /></label>
    <button class="approve">Link account</button>
  </form>`;
}
