// One hold, whole: what it would do, the exact statement, who asks and why, and the decision.

import { call } from '/api.js';
import { Decision, Standing } from '/decide.js';
import { bytesOf, checkCard } from '/sign.js';
import { Story } from '/story.js';
import { html, useEffect, useState } from '/vendor/preact.js';
import {
  Ago,
  ClassBadge,
  Left,
  Pieces,
  Problem,
  plain,
  plainLines,
  StateBadge,
  span,
  stateWord,
  useTick,
  When,
} from '/view.js';

export function CardView({ id, me, changes }) {
  useTick();
  const [card, setCard] = useState(null);
  const [error, setError] = useState(null);
  const [altered, setAltered] = useState(null);
  useEffect(() => {
    let stale = false;
    call('GET', `/api/holds/${encodeURIComponent(id)}`).then(
      async (c) => {
        const wrong = await checkCard(c);
        if (stale) return;
        setCard(c);
        setAltered(wrong);
        setError(null);
      },
      (e) => !stale && setError(e),
    );
    return () => {
      stale = true;
    };
  }, [id, changes]);
  if (!card)
    return html`<p class="quiet">${error ? null : 'Loading …'}</p><${Problem} error=${error} />`;
  return html`<article class="card" aria-labelledby="card-title">
    <${Head} card=${card} altered=${altered} />
    <div class="what">
      <section aria-labelledby="would-title">
        <h2 id="would-title">What it does</h2>
        <ul class="sentences">${card.sentences.map((s) => html`<li>${plain(s)}</li>`)}</ul>
      </section>
      <${Statement} card=${card} />
      <${Parameters} of=${card.parameters} />
      <${Previous} of=${card.previous} />
      <${Objects} of=${card.objects} />
      <${Facts} card=${card} />
      <${SoFar} of=${card.so_far} card=${card} />
      <${Similar} of=${card.similar} />
      <${Story} card=${card} changes=${changes} />
      <${Proof} card=${card} me=${me} />
    </div>
    <div class="side">
      <${Standing} card=${card} />
      ${!altered && html`<${Decision} card=${card} me=${me} done=${setCard} />`}
    </div>
  </article>`;
}

/** Who wants what where, how it stands, and until when: before anything else. */
function Head({ card, altered }) {
  const ended = card.state !== 'pending' && card.state !== 'approved';
  const by = card.state === 'expired' ? null : card.decided_by;
  return html`<header>
    <p class="crumb"><a href="#/" class="back">← Waiting</a> <span class="id">${card.id}</span></p>
    <h1 id="card-title">${plain(card.agent)} on ${plain(card.target)}</h1>
    <p class="meta">
      <${StateBadge} of=${card.state} /> <${ClassBadge} of=${card.class} />
      <span>environment <b>${card.environment}</b></span>
      ${!ended && html`<${Left} until=${card.expires} />`}
    </p>
    <p class="why">
      ${
        card.stated.reason === null
          ? html`<span class="quiet">The agent states no reason.</span>`
          : html`<span class="quiet">The agent states:</span> <q>${plain(card.stated.reason)}</q>`
      }<br />
      <span class="quiet">Held by rule</span> ${card.rule}: ${card.reason}
    </p>
    ${
      ended &&
      html`<p class="ended state-line-${card.state}">
        <b>${ENDS[card.state](card)}</b>${by === null ? '' : ` by ${by}`}
        ${card.decided ? html`, <${When} at=${card.decided} />` : ''}${
          card.end_reason ? html`: <q>${card.end_reason}</q>` : '.'
        }
        ${card.outcome && html`<br /><${Outcome} of=${card.outcome} />`}
      </p>`
    }
    ${
      card.in_transaction &&
      html`<p class="warning">
        Inside a transaction open for ${span(card.transaction_age_ms ?? 0)} when it was asked: what
        it holds stays locked until the agent ends it.
      </p>`
    }
    ${
      altered &&
      html`<p class="problem" role="alert">
        Do not sign: ${altered}. This card was altered on its way.
      </p>`
    }
  </header>`;
}

const ENDS = {
  denied: () => 'Denied',
  expired: (card) => (card.receipt ? 'Approved, but not used in time' : 'Not signed in time'),
  withdrawn: () => 'Withdrawn',
  redeemed: () => 'Approved and released to run',
};
const RAN = { done: 'It ran', failed: 'It failed', unknown: 'Nobody knows how it ended' };

function Outcome({ of }) {
  const rows = of.rows === null ? '' : `, ${of.rows} ${of.rows === 1 ? 'row' : 'rows'}`;
  return html`<b>${RAN[of.outcome] ?? of.outcome}</b>${of.answer ? `: ${of.answer}` : ''}${rows}.`;
}

function Statement({ card }) {
  const [copied, setCopied] = useState('');
  const bytes = bytesOf(card.statement_base64);
  const odd = card.pieces.filter((p) => p.mark !== null).length;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(
        new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
      );
      setCopied('Copied.');
    } catch {
      setCopied('This can’t be copied as text: use the download.');
    }
  };
  const download = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = `${card.id}.sql`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return html`<section>
    <h2>Statement, byte for byte</h2>
    ${
      odd > 0 &&
      html`<p class="warning">
      ${odd} hidden or look-alike ${odd === 1 ? 'character is' : 'characters are'} marked below.
    </p>`
    }
    <pre class="statement whole" tabindex="0" aria-label="Statement"
      ><code><${Pieces} pieces=${card.pieces} /></code></pre>
    <p class="row">
      <button class="plain" onClick=${copy}>Copy</button>
      <button class="plain" onClick=${download}>Download bytes</button>
      <span class="quiet">${bytes.length.toLocaleString()} bytes, all shown</span>
      <span role="status">${copied}</span>
    </p>
  </section>`;
}

function Columns({ of }) {
  return html`<thead><tr>${of.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>`;
}

function Parameters({ of }) {
  if (of.length === 0) return null;
  return html`<section>
    <h2>Parameters</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Parameters">
    <table>
      <${Columns} of=${['#', 'Type', 'Value']} />
      <tbody>
        ${of.map(
          (p, i) => html`<tr>
            <th scope="row">$${i + 1}</th>
            <td>${p.type}</td>
            <td class="value">${
              p.base64 === null
                ? html`<i>NULL</i>`
                : p.text === null
                  ? html`base64 ${p.base64}`
                  : html`<${Pieces} pieces=${p.pieces} />`
            }</td>
          </tr>`,
        )}
      </tbody>
    </table></div>
  </section>`;
}

function Facts({ card }) {
  const stated = (text) =>
    text === null
      ? html`<span class="quiet">not stated</span>`
      : html`<q>${plain(text)}</q> <span class="badge">stated</span>`;
  const settings = Object.entries(card.session.settings);
  return html`<section>
    <h2>Who, where and why</h2>
    <dl>
      <dt>Agent</dt><dd>${plain(card.agent)}</dd>
      ${card.stated.task !== null && html`<dt>Its task</dt><dd>${stated(card.stated.task)}</dd>`}
      <dt>On behalf of</dt><dd>${stated(card.stated.on_behalf_of)}</dd>
      <dt>Target</dt><dd>
        ${card.target} (${card.environment}), database ${card.database}, ${card.engine}
      </dd>
      <dt>Session</dt><dd>
        ${plain(card.session.application || 'no name')} from ${card.session.client_address},
        since${' '}
        <${When} at=${card.session.started} />
      </dd>
      <dt>Impact</dt><dd><span class="quiet">locks, rows and rollback: not computed</span></dd>
      ${
        settings.length > 0 &&
        html`<dt>Settings</dt><dd><details class="inline">
          <summary>${settings.length} signed with it</summary>
          <ul class="settings">${settings.map(
            ([name, value]) => html`<li><code>${plain(name)} = ${plain(value)}</code></li>`,
          )}</ul>
        </details></dd>`
      }
      <dt>Asked</dt><dd><${When} at=${card.asked} /></dd>
      <dt>Expires</dt><dd><${When} at=${card.expires} /></dd>
    </dl>
  </section>`;
}

function Objects({ of }) {
  if (of.length === 0) return null;
  return html`<section>
    <h2>Objects</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Objects">
    <table>
      <${Columns} of=${['Access', 'Object', 'Reached by']} />
      <tbody>
        ${of.map(
          (o) => html`<tr>
            <td>${o.access}</td>
            <td>${o.kind} <b>${plain(o.name)}</b>
              ${o.columns.length > 0 ? ` (${o.columns.join(', ')})` : ''}
              ${o.tags.map((t) => html` <span class="badge">${t}</span>`)}</td>
            <td>${o.via.length > 0 ? plain(o.via.join(' → ')) : 'its name'}</td>
          </tr>`,
        )}
      </tbody>
    </table></div>
  </section>`;
}

function Previous({ of }) {
  if (!of) return null;
  return html`<details open=${of.diff?.some((d) => d.kind === 'same') ?? false}>
    <summary>
      Against this agent’s attempt before (<${When} at=${of.asked} />,${' '}
      <a href=${`#/hold/${of.id}`}>${stateWord(of.state)}</a>)
    </summary>
    ${
      of.diff === null
        ? html`<p class="quiet">The two are too long to compare here.</p>`
        : html`<pre class="statement" tabindex="0" aria-label="Difference"><code>${of.diff.map(
            (d, i) =>
              d.kind === 'same'
                ? html`<${Same} text=${d.text} first=${i === 0} last=${i === of.diff.length - 1} />`
                : d.kind === 'added'
                  ? html`<ins>${plainLines(d.text)}</ins>`
                  : html`<del>${plainLines(d.text)}</del>`,
          )}</code></pre>`
    }
  </details>`;
}

/** What did not change: the lines next to a change, and how many are left out between. */
function Same({ text, first, last }) {
  const lines = text.split('\n');
  const [before, after] = [first ? 0 : NEAR, last ? 0 : NEAR];
  const out = lines.length - before - after;
  if (out <= NEAR) return plainLines(text);
  const head = lines.slice(0, before).join('\n');
  const tail = lines.slice(lines.length - after).join('\n');
  return html`${plainLines(head)}${before > 0 && '\n'}<span class="quiet"
      >⋯ ${out} lines the same ⋯</span
    >${after > 0 && '\n'}${after > 0 && plainLines(tail)}`;
}

/** Lines shown on either side of a change. */
const NEAR = 3;

/** What the agent did in this session before it asked: as its proxy saw it, without values. */
function SoFar({ of, card }) {
  const title = html`<h2 id="so-far-title">This session before</h2>`;
  if (of === null) {
    return html`<section aria-labelledby="so-far-title">${title}
      <p class="quiet">Its proxy does not tell.</p></section>`;
  }
  if (of.length === 0) {
    return html`<section aria-labelledby="so-far-title">${title}
      <p class="quiet">Nothing: this is the first thing it asks.</p></section>`;
  }
  return html`<section aria-labelledby="so-far-title">${title}
    <div class="scroll" tabindex="0" role="region" aria-label="This session before">
    <table class="so-far">
      <${Columns} of=${['When', 'What', 'Statement, without its values']} />
      <tbody>${of.map(
        (o) => html`<tr>
          <td><${Ago} at=${o.time} from=${card.asked} /></td>
          <td><${ClassBadge} of=${o.class} />${' '}
            <${Disposed} of=${o} />
            ${o.count > 1 ? ` × ${o.count}` : ''}
            ${o.outcome && o.outcome !== 'done' ? html` <b>${o.outcome}</b>` : ''}
            ${o.rows === null ? '' : html` <span class="quiet">${o.rows} rows</span>`}
            ${o.in_transaction && html` <span class="quiet">in a transaction</span>`}</td>
          <td class="value">${plain(o.start)}</td>
        </tr>`,
      )}</tbody>
    </table></div>
  </section>`;
}

function Disposed({ of }) {
  const word = DISPOSED[of.disposition];
  return of.hold ? html`<a href=${`#/hold/${of.hold}`}>${word}</a>` : word;
}

const DISPOSED = {
  forward: 'passed',
  hold: 'held',
  refuse: 'refused',
  redeemed: 'ran, approved',
  observed: 'passed, observed',
};

function Similar({ of }) {
  if (of.length === 0) return null;
  return html`<details>
    <summary>Similar holds and how they ended (${of.length})</summary>
    <ul>${of.map(
      (h) => html`<li>
        <a href=${`#/hold/${h.id}`}><${When} at=${h.asked} /></a>: ${stateWord(h.state)}
        ${h.decided_by ? ` by ${h.decided_by}` : ''}
      </li>`,
    )}</ul>
  </details>`;
}

function Proof({ card, me }) {
  const line =
    `holdpoint holds approve ${card.id} --as "${me.name}" ` +
    `--server ${location.origin} --digest ${card.digest}`;
  return html`<details class="proof">
    <summary>Sign from a terminal, digest and receipt</summary>
    <p>The same, signed with your Ed25519 key; the digest makes sure it is what you see here:</p>
    <pre class="line" tabindex="0"><code>${line}</code></pre>
    <p>Digest of the binding: <code class="wrap">${card.digest}</code></p>
    <p>Policy: <code class="wrap">${card.binding.policy}</code></p>
    ${
      card.receipt &&
      html`<p>Receipt (check it offline with <code>holdpoint receipt verify</code>):</p>
        <pre class="line" tabindex="0"><code>${card.receipt}</code></pre>`
    }
  </details>`;
}
