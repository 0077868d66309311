// Lists of holds: what waits, and what was. Both show the same lines.

import { call } from '/api.js';
import { html, useCallback, useEffect, useRef, useState } from '/vendor/preact.js';
import { ClassBadge, Left, Problem, plain, StateBadge, useTick, When } from '/view.js';

export function Queue({ changes }) {
  useTick();
  const { holds, cursor, error, more } = useHolds('state=pending&order=oldest', changes);
  const mine = holds?.filter((h) => h.yours).toSorted(bySoonest) ?? [];
  const others = holds?.filter((h) => !h.yours) ?? [];
  return html`<section aria-labelledby="queue-title">
    <h1 id="queue-title">Waiting</h1>
    <${Problem} error=${error} />
    ${
      holds &&
      holds.length === 0 &&
      html`<p class="empty">
      Nothing waits. New holds appear here by themselves.
    </p>`
    }
    ${mine.length > 0 && html`<h2>For you</h2><${List} holds=${mine} />`}
    ${others.length > 0 && html`<h2>For others, or signed by you</h2><${List} holds=${others} />`}
    ${cursor && html`<button class="plain" onClick=${more}>Show more</button>`}
  </section>`;
}

/** What ends first comes first. */
function bySoonest(a, b) {
  return Date.parse(a.expires) - Date.parse(b.expires);
}

export function History({ changes }) {
  const [search, setSearch] = useState('');
  const [state, setState] = useState('');
  const [asked, setAsked] = useState({ search: '', state: '' });
  useEffect(() => {
    const timer = setTimeout(() => setAsked({ search, state }), 200);
    return () => clearTimeout(timer);
  }, [search, state]);
  const query = new URLSearchParams({ order: 'newest' });
  if (asked.search) query.set('search', asked.search);
  if (asked.state) query.set('state', asked.state);
  const { holds, cursor, error, more } = useHolds(query.toString(), changes);
  return html`<section aria-labelledby="history-title">
    <h1 id="history-title">History</h1>
    <form class="search" role="search" onSubmit=${(e) => e.preventDefault()}>
      <label>Search <input type="search" value=${search}
        placeholder="statement, agent, target, rule, id"
        onInput=${(e) => setSearch(e.target.value)} /></label>
      <label>State <select value=${state} onChange=${(e) => setState(e.target.value)}>
        <option value="">all</option>
        ${['pending', 'approved', 'redeemed', 'denied', 'expired', 'withdrawn'].map(
          (s) => html`<option value=${s}>${s}</option>`,
        )}
      </select></label>
    </form>
    <${Problem} error=${error} />
    ${holds && holds.length === 0 && html`<p class="empty">Nothing found.</p>`}
    ${holds && holds.length > 0 && html`<${List} holds=${holds} past />`}
    ${cursor && html`<button class="plain" onClick=${more}>Show more</button>`}
  </section>`;
}

function useHolds(query, changes) {
  const [page, setPage] = useState({ holds: null, cursor: null });
  const [error, setError] = useState(null);
  const latest = useRef('');
  useEffect(() => {
    latest.current = query;
    call('GET', `/api/holds?${query}`).then(
      (answer) => {
        if (latest.current !== query) return;
        setPage(answer);
        setError(null);
      },
      (e) => setError(e),
    );
  }, [query, changes]);
  const more = useCallback(async () => {
    try {
      const next = await call(
        'GET',
        `/api/holds?${query}&cursor=${encodeURIComponent(page.cursor)}`,
      );
      setPage({ holds: [...page.holds, ...next.holds], cursor: next.cursor });
    } catch (e) {
      setError(e);
    }
  }, [query, page]);
  return { ...page, error, more };
}

function List({ holds, past }) {
  return html`<ul class="holds">
    ${holds.map(
      (h) => html`<li key=${h.id} class=${h.yours ? 'yours' : ''}>
        <a href=${`#/hold/${h.id}`}>
          <span class="sentence">${plain(h.sentence || h.start)}</span>
          <code class="start">${plain(h.start)}</code>
          <span class="meta">
            <${ClassBadge} of=${h.class} />
            ${(past || h.state !== 'pending') && html`<${StateBadge} of=${h.state} />`}
            <span><b>${plain(h.agent)}</b> on <b>${plain(h.target)}</b> (${h.environment})</span>
            ${
              h.state === 'pending'
                ? html`<span>${h.waiting_for}</span><${Left} until=${h.expires} />`
                : html`<span
                  >${h.decided_by ? `${h.decided_by}, ` : ''}
                  <${When} at=${h.decided ?? h.asked}
                /></span>`
            }
          </span>
        </a>
      </li>`,
    )}
  </ul>`;
}
