// People, webhooks, integrations: seen by auditors, changed by operators who have just signed in.

import { call } from '/api.js';
import { Accounts, Integrations } from '/integrations.js';
import { html, useCallback, useEffect, useState } from '/vendor/preact.js';
import { Problem, plain, ShownOnce, When } from '/view.js';

/** Every page of a list. */
async function all(path, name) {
  const items = [];
  let cursor = '';
  do {
    const page = await call('GET', cursor === '' ? path : `${path}?cursor=${cursor}`);
    items.push(...page[name]);
    cursor = page.cursor ?? '';
  } while (cursor !== '');
  return items;
}

export function Settings({ me }) {
  const [people, setPeople] = useState([]);
  const [hooks, setHooks] = useState([]);
  const [dead, setDead] = useState([]);
  const [outside, setOutside] = useState([]);
  const [error, setError] = useState(null);
  const load = useCallback(async () => {
    try {
      setPeople(await all('/api/signers', 'signers'));
      setHooks(await all('/api/webhooks', 'webhooks'));
      setOutside(await all('/api/integrations', 'integrations'));
      setDead((await call('GET', '/api/deliveries?state=dead&limit=50')).deliveries);
    } catch (e) {
      setError(e);
    }
  }, []);
  useEffect(() => void load(), []);
  const may = me.roles.includes('operator');
  const act = (work) => async () => {
    setError(null);
    try {
      await work();
      await load();
    } catch (e) {
      const again = e.code === 'step-up-needed';
      setError(again ? new Error('Sign out and in again: settings need a fresh sign-in.') : e);
    }
  };
  return html`<section aria-labelledby="settings-title">
    <h1 id="settings-title">Settings</h1>
    <${Problem} error=${error} />
    <${People} of=${people} may=${may} act=${act} />
    <${Webhooks} of=${hooks} may=${may} act=${act} />
    <${Dead} of=${dead} may=${may} act=${act} />
    <${Integrations} of=${outside} may=${may} act=${act} />
    <${Accounts} people=${people} integrations=${outside} may=${may} act=${act} />
  </section>`;
}

function People({ of, may, act }) {
  const [link, setLink] = useState(null);
  const invite = async (who) => {
    const made = await call('POST', `/api/signers/${encodeURIComponent(who)}/invite`, {});
    setLink({ who, link: made.link });
  };
  const removal = (p) => act(() => put(p.name, { ...rights(p), active: !p.active }));
  return html`<h2>People</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="People">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Signs for</th>
            <th scope="col">Roles</th>
            <th scope="col">Keys</th>
            ${may && html`<th scope="col"><span class="hidden">Change</span></th>`}
          </tr>
        </thead>
        <tbody>
          ${of.map(
            (p) => html`<tr>
              <th scope="row">${plain(p.name)}${p.active ? '' : ' (removed)'}</th>
              <td>${plain(p.groups.join(', '))}</td>
              <td>${p.roles.join(', ')}</td>
              <td>${keysOf(p)}</td>
              ${
                may &&
                html`<td><div class="row">
                  <button class="plain" onClick=${act(() => invite(p.name))}>
                    Invite <span class="hidden">${p.name}</span>
                  </button>
                  <button class="plain" onClick=${removal(p)}>
                    ${p.active ? 'Remove' : 'Take back'} <span class="hidden">${p.name}</span>
                  </button></div>
                </td>`
              }
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${
      link &&
      html`<p role="status">
        One-time link for ${link.who}, good for a day:${' '}
        <code class="wrap">${link.link}</code>
      </p>`
    }
    ${may && html`<${AddPerson} act=${act} />`}`;
}

const put = (who, body) => call('PUT', `/api/signers/${encodeURIComponent(who)}`, body);

function AddPerson({ act }) {
  const [name, setName] = useState('');
  const [groups, setGroups] = useState('');
  const [role, setRole] = useState('signer');
  const list = groups
    .split(',')
    .map((g) => g.trim())
    .filter((g) => g !== '');
  return html`<form
        class="search"
        onSubmit=${(e) => {
          e.preventDefault();
          void act(() => put(name, { groups: list, roles: [role] }))();
        }}
      >
        <label
          >Name <input required value=${name} onInput=${(e) => setName(e.target.value)}
        /></label>
        <label
          >Groups, with commas
          <input value=${groups} onInput=${(e) => setGroups(e.target.value)}
        /></label>
        <label
          >Role
          <select value=${role} onChange=${(e) => setRole(e.target.value)}>
            ${['signer', 'operator', 'auditor'].map((r) => html`<option value=${r}>${r}</option>`)}
          </select></label
        >
        <button class="approve">Add or set</button>
      </form>`;
}

function rights(p) {
  return { groups: p.groups, roles: p.roles };
}

function keysOf(p) {
  const good = p.keys.filter((k) => !k.revoked);
  return good.length === 0 ? 'none' : good.map((k) => `${k.method} “${k.label}”`).join(', ');
}

/** A chat hears of what people want to know, not of every step. */
const CHAT_EVENTS = [
  'hold.requested',
  'hold.reminded',
  'hold.approved',
  'hold.denied',
  'hold.expired',
  'mode.changed',
  'alert',
];

function Webhooks({ of, may, act }) {
  const [secret, setSecret] = useState(null);
  const rotate = async (which) => {
    const made = await call('POST', `/api/webhooks/${which}/secret`, {});
    setSecret({ name: which, secret: made.secret });
  };
  return html`<h2>Webhooks</h2>
    ${of.length === 0 && html`<p class="quiet">None.</p>`}
    <ul>
      ${of.map(
        (w) => html`<li>
          <b>${w.name}</b> <span class="wrap">${w.url}</span>
          ${w.active ? '' : ' (switched off: the receiver said it is gone)'}
          ${w.format === 'slack-app' && ' (the messages of Slack, below)'}
          ${
            may &&
            w.format !== 'slack-app' &&
            html`<p class="row">
              <button class="plain" onClick=${act(() => rotate(w.name))}>
                New secret <span class="hidden">for ${w.name}</span>
              </button>
              <button
                class="plain"
                onClick=${act(() => call('DELETE', `/api/webhooks/${w.name}`))}
              >
                Remove <span class="hidden">${w.name}</span>
              </button>
            </p>`
          }
        </li>`,
      )}
    </ul>
    <${ShownOnce} secret=${secret} />
    ${may && html`<${AddWebhook} act=${act} made=${setSecret} />`}`;
}

function AddWebhook({ act, made }) {
  const [name, setName] = useState('');
  const [url, setUrl] = useState('');
  const [format, setFormat] = useState('standard');
  const add = async () => {
    const events = format === 'standard' ? ['*'] : CHAT_EVENTS;
    const { secret } = await call('POST', '/api/webhooks', { name, url, format, events });
    if (format === 'standard') made({ name, secret });
  };
  return html`<form
        class="search"
        onSubmit=${(e) => {
          e.preventDefault();
          void act(add)();
        }}
      >
        <label
          >Name <input required pattern="[a-z0-9][a-z0-9\\-]*" value=${name}
          onInput=${(e) => setName(e.target.value)}
        /></label>
        <label
          >Address <input required type="url" value=${url} onInput=${(e) => setUrl(e.target.value)}
        /></label>
        <label
          >For
          <select value=${format} onChange=${(e) => setFormat(e.target.value)}>
            <option value="standard">a program</option>
            <option value="slack">Slack, with a link</option>
            <option value="teams">Teams, with a link</option>
          </select></label
        >
        <button class="approve">Add webhook</button>
      </form>`;
}

function Dead({ of, may, act }) {
  if (of.length === 0) return null;
  return html`<h2>Deliveries given up</h2>
    <ul>
      ${of.map(
        (d) => html`<li>
          ${d.event}${d.hold ? ` of ${d.hold}` : ''} to <b>${d.webhook}</b>:${' '}
          ${d.error ?? d.status}, last tried${' '}
          <${When} at=${d.due} />
          ${
            may &&
            html` <button
              class="plain"
              onClick=${act(() => call('POST', `/api/deliveries/${d.id}/replay`, {}))}
            >
              Send again
            </button>`
          }
        </li>`,
      )}
    </ul>`;
}
