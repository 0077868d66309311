// The page: who you are, where you are, and what has changed meanwhile.

import { call, live } from '/api.js';
import { CardView } from '/card.js';
import { Figures } from '/figures.js';
import { Lend } from '/lend.js';
import { History, Queue } from '/queue.js';
import { Settings } from '/settings.js';
import { html, render, useCallback, useEffect, useState } from '/vendor/preact.js';
import { startAuthentication, startRegistration } from '/vendor/webauthn/index.js';
import { Problem } from '/view.js';

function useHash() {
  const [hash, set] = useState(location.hash);
  useEffect(() => {
    const changed = () => set(location.hash);
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return hash;
}

function App() {
  const hash = useHash();
  const [me, setMe] = useState(undefined);
  const [error, setError] = useState(null);
  const load = useCallback(
    () =>
      call('GET', '/api/me').then(
        (m) => setMe(m),
        (e) => {
          setMe(null);
          if (e.code !== 'sign-in-needed') setError(e);
        },
      ),
    [],
  );
  useEffect(() => {
    const invite = /^#invite=([\w-]+)$/.exec(location.hash)?.[1];
    if (!invite) return void load();
    history.replaceState(null, '', '#/you');
    call('POST', '/api/session/invite', { token: invite }).then(
      () => load().then(() => dispatchEvent(new HashChangeEvent('hashchange'))),
      (e) => {
        setError(e);
        void load();
      },
    );
  }, []);
  if (me === undefined) return html`<p class="quiet pad">Loading …</p>`;
  if (me === null) return html`<${SignIn} done=${load} error=${error} />`;
  return html`<${SignedIn} me=${me} hash=${hash} reload=${load} />`;
}

const PLACES = {
  '#/history': 'history',
  '#/figures': 'figures',
  '#/settings': 'settings',
  '#/you': 'you',
};
const TITLES = {
  queue: 'Waiting',
  history: 'History',
  figures: 'Figures',
  settings: 'Settings',
  you: 'You',
};

function SignedIn({ me, hash, reload }) {
  const [changes, setChanges] = useState(0);
  const [connected, setConnected] = useState(true);
  useEffect(
    () =>
      live(
        () => setChanges((n) => n + 1),
        (up) => {
          setConnected(up);
          if (up) setChanges((n) => n + 1);
        },
      ),
    [],
  );
  useKeys();
  const hold = /^#\/hold\/(h-[a-z2-7]{16})$/.exec(hash)?.[1];
  const at = hold ? 'hold' : (PLACES[hash] ?? 'queue');
  const sees = me.roles.includes('auditor') || me.roles.includes('operator');
  useEffect(() => {
    document.title = `${hold ? `Hold ${hold}` : TITLES[at]} · Holdpoint`;
    document.getElementById('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [hash]);
  const link = (to, name, key) =>
    html`<a href=${to} aria-current=${at === key ? 'page' : undefined}>${name}</a>`;
  return html`<a class="skip" href="#main" onClick=${(e) => {
    e.preventDefault();
    document.getElementById('main').focus();
  }}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"
        ><img src="/icon.svg" alt="" width="24" height="24" /><span>Holdpoint</span></a
      >
      <nav aria-label="Main">
        ${link('#/', 'Waiting', 'queue')} ${link('#/history', 'History', 'history')}
        ${sees && link('#/figures', 'Figures', 'figures')}
        ${sees && link('#/settings', 'Settings', 'settings')} ${link('#/you', me.name, 'you')}
      </nav>
    </header>
    ${
      !connected &&
      html`<p class="warning bar" role="status">
        Not live: trying to reach the approver again. Reload to see the newest.
      </p>`
    }
    <main id="main" tabindex="-1">
      ${at === 'hold' && html`<${CardView} key=${hold} id=${hold} me=${me} changes=${changes} />`}
      ${at === 'history' && html`<${History} changes=${changes} />`}
      ${at === 'figures' && html`<${Figures} />`}
      ${at === 'settings' && html`<${Settings} me=${me} />`}
      ${at === 'you' && html`<${You} me=${me} reload=${reload} />`}
      ${at === 'queue' && html`<${Queue} changes=${changes} />`}
    </main>
    <footer class="quiet">
      <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> open, <kbd>a</kbd> approve,${' '}
      <kbd>d</kbd> deny, <kbd>g</kbd> back to what waits
    </footer>`;
}

/**
 * One-letter keys, never while somebody types. `a` and `d` only move there: pressing is a separate
 * act.
 */
function useKeys() {
  useEffect(() => {
    const pressed = (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName))
        return;
      if (e.key === 'g') location.hash = '#/';
      if (e.key === 'a') focusOn('#approve');
      if (e.key === 'd') focusOn('#reason');
      if (e.key !== 'j' && e.key !== 'k') return;
      const links = [...document.querySelectorAll('.holds a')];
      const at = links.indexOf(document.activeElement);
      links[Math.min(links.length - 1, Math.max(0, at + (e.key === 'j' ? 1 : -1)))]?.focus();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
}

function focusOn(selector) {
  const element = document.querySelector(selector);
  if (!element) return;
  element.scrollIntoView({ block: 'center' });
  // After this key's own text input, which would otherwise land in the box.
  setTimeout(() => element.focus(), 0);
}

function SignIn({ done, error }) {
  const [problem, setProblem] = useState(error);
  const [ways, setWays] = useState({ oidc: false });
  useEffect(() => void call('GET', '/api/session/ways').then(setWays, () => {}), []);
  const go = async () => {
    setProblem(null);
    try {
      const optionsJSON = await call('POST', '/api/session/passkey/options', {});
      const response = await startAuthentication({ optionsJSON });
      await call('POST', '/api/session/passkey', { response });
      await done();
    } catch (e) {
      setProblem(e.name === 'NotAllowedError' ? new Error('No passkey was used.') : e);
    }
  };
  return html`<main class="sign-in">
    <h1><img src="/icon.svg" alt="" width="40" height="40" /> Holdpoint</h1>
    <p>Operations of AI agents that wait for a named person’s signature.</p>
    <p><button class="approve" onClick=${go}>Sign in with a passkey</button></p>
    ${ways.oidc && html`<p><a href="/api/session/oidc">Sign in with your company’s login</a></p>`}
    <${Problem} error=${problem} />
    <p class="quiet">
      First time here? Ask an operator for an invitation:${' '}
      <code>holdpoint signer invite NAME</code> prints a link.
    </p>
  </main>`;
}

function You({ me, reload }) {
  const [error, setError] = useState(null);
  const [label, setLabel] = useState('this device');
  const [said, setSaid] = useState('');
  const enrol = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      const optionsJSON = await call('POST', '/api/me/passkeys/options', {});
      const response = await startRegistration({ optionsJSON });
      await call('POST', '/api/me/passkeys', { label, response });
      setSaid('Passkey enrolled: you can sign with it now.');
      await reload();
    } catch (e) {
      setError(e.name === 'NotAllowedError' ? new Error('No passkey was made.') : e);
    }
  };
  const out = async () => {
    await call('DELETE', '/api/session').catch(() => {});
    location.hash = '#/';
    await reload();
  };
  const passkeys = me.keys.filter((k) => k.method === 'passkey');
  return html`<section aria-labelledby="you-title">
    <h1 id="you-title">${me.name}</h1>
    <p>
      You sign for ${me.groups.length > 0 ? me.groups.join(', ') : 'no group yet'}.
      Roles: ${me.roles.join(', ')}.
    </p>
    <h2>Your keys</h2>
    ${
      passkeys.length === 0 &&
      html`<p class="warning">
      You have no passkey yet: enrol one to sign in this page.
    </p>`
    }
    <ul>${me.keys.map(
      (k) => html`<li>
        ${k.method === 'passkey' ? 'Passkey' : 'Ed25519 key'} “${k.label}”${' '}
        <code class="wrap">${k.thumbprint}</code>
      </li>`,
    )}</ul>
    <form class="row" onSubmit=${enrol}>
      <label>Name of the new passkey <input value=${label} required maxlength="60"
        onInput=${(e) => setLabel(e.target.value)} /></label>
      <button class="approve" id="enrol">Enrol a passkey</button>
    </form>
    <p role="status">${said}</p>
    <${Problem} error=${error} />
    ${me.groups.length > 0 && html`<${Lend} me=${me} />`}
    <p><button class="plain" onClick=${out}>Sign out</button></p>
  </section>`;
}

const root = document.getElementById('app');
root.replaceChildren();
render(html`<${App} />`, root);
