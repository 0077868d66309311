// One hold, whole: what it would do, the exact statement, who asks and why, and the decision.

import { call } from '/api.js';
import { bytesOf, checkCard, decide } from '/sign.js';
import { Story } from '/story.js';
import { html, useEffect, useRef, useState } from '/vendor/preact.js';
import {
  ClassBadge,
  Left,
  Pieces,
  Problem,
  plain,
  StateBadge,
  span,
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
    <p><a href="#/" class="back">← Waiting</a></p>
    <header>
      <h1 id="card-title">${plain(card.agent)} on ${plain(card.target)}</h1>
      <p class="meta">
        <${StateBadge} of=${card.state} /> <${ClassBadge} of=${card.class} />
        <span>environment <b>${card.environment}</b></span>
        <span class="id">${card.id}</span>
        ${card.state === 'pending' && html`<${Left} until=${card.expires} />`}
      </p>
      ${card.state === 'pending' && html`<p>Waits for <b>${card.waiting_for}</b>.</p>`}
      ${card.end_reason && html`<p>Reason given: <q>${card.end_reason}</q></p>`}
    </header>
    ${
      altered &&
      html`<p class="problem" role="alert">
      Do not sign: ${altered}. This card was altered on its way.
    </p>`
    }
    <h2>It would</h2>
    <ul class="sentences">${card.sentences.map((s) => html`<li>${plain(s)}</li>`)}</ul>
    <${Statement} card=${card} />
    <${Parameters} of=${card.parameters} />
    <${Facts} card=${card} />
    <${Objects} of=${card.objects} />
    <${Previous} of=${card.previous} />
    <${Around} card=${card} />
    <${Signatures} of=${card.signatures} />
    <${Story} card=${card} />
    ${!altered && html`<${Decision} card=${card} me=${me} done=${setCard} />`}
    <${Proof} card=${card} me=${me} />
  </article>`;
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
    <pre class="statement" tabindex="0" aria-label="Statement"
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
      ? html`<span class="quiet">nothing</span>`
      : html`<q>${plain(text)}</q> <span class="badge">stated</span>`;
  const settings = Object.entries(card.session.settings);
  return html`<section>
    <h2>Who, where and why</h2>
    <dl>
      <dt>Agent</dt><dd>${plain(card.agent)}</dd>
      <dt>Its reason</dt><dd>${stated(card.stated.reason)}</dd>
      ${card.stated.task !== null && html`<dt>Its task</dt><dd>${stated(card.stated.task)}</dd>`}
      <dt>On behalf of</dt><dd>${stated(card.stated.on_behalf_of)}</dd>
      <dt>Target</dt><dd>
        ${card.target} (${card.environment}), database ${card.database}, ${card.engine}
      </dd>
      <dt>Held by</dt><dd>${card.rule}: ${card.reason}</dd>
      <dt>Session</dt><dd>
        ${plain(card.session.application ?? 'no name')} from ${card.session.client_address},
        since${' '}
        <${When} at=${card.session.started} />
      </dd>
      <dt>Transaction</dt><dd>${
        card.in_transaction
          ? html`open for ${span(card.transaction_age_ms ?? 0)}:
              it keeps its locks while you decide`
          : 'none open'
      }</dd>
      <dt>Impact</dt><dd><span class="quiet">locks, rows and rollback: not computed</span></dd>
      ${
        settings.length > 0 &&
        html`<dt>Settings</dt><dd><ul class="settings">${settings.map(
          ([name, value]) => html`<li><code>${name} = ${plain(value)}</code></li>`,
        )}</ul></dd>`
      }
      <dt>Asked</dt><dd><${When} at=${card.asked} /></dd>
      <dt>Expires</dt><dd><${When} at=${card.expires} /></dd>
      ${
        card.outcome &&
        html`<dt>Outcome</dt><dd>${card.outcome.outcome}${
          card.outcome.answer ? `: ${card.outcome.answer}` : ''
        }${card.outcome.rows === null ? '' : `, ${card.outcome.rows} rows`}</dd>`
      }
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
  return html`<details>
    <summary>
      Against this agent’s attempt before (<${When} at=${of.asked} />,${' '}
      <a href=${`#/hold/${of.id}`}>${of.state}</a>)
    </summary>
    ${
      of.diff === null
        ? html`<p class="quiet">The two are too long to compare here.</p>`
        : html`<pre class="statement" tabindex="0" aria-label="Difference"><code>${of.diff.map(
            (d) =>
              d.kind === 'same'
                ? d.text
                : d.kind === 'added'
                  ? html`<ins>${d.text}</ins>`
                  : html`<del>${d.text}</del>`,
          )}</code></pre>`
    }
  </details>`;
}

function Around({ card }) {
  const { similar, so_far } = card;
  return html`${
    similar.length > 0 &&
    html`<details>
      <summary>Similar holds and how they ended (${similar.length})</summary>
      <ul>${similar.map(
        (h) => html`<li>
          <a href=${`#/hold/${h.id}`}><${When} at=${h.asked} /></a>: ${h.state}
          ${h.decided_by ? ` by ${h.decided_by}` : ''}
        </li>`,
      )}</ul>
    </details>`
  }
    ${
      so_far.length > 0 &&
      html`<details>
      <summary>This session’s holds so far (${so_far.length})</summary>
      <ul>${so_far.map(
        (h) => html`<li><a href=${`#/hold/${h.id}`}>${plain(h.sentence)}</a>: ${h.state}</li>`,
      )}</ul>
    </details>`
    }`;
}

const SAID = { approve: 'approved', deny: 'denied', withdraw: 'withdrew' };

function Signatures({ of }) {
  if (of.length === 0) return null;
  return html`<section>
    <h2>Signatures</h2>
    <ul>${of.map(
      (s) =>
        html`<li>
        <b>${s.signer}</b> ${SAID[s.decision]} (${s.method}, ${s.channel}),${' '}
        <${When} at=${s.signed} />${s.reason ? html`: <q>${s.reason}</q>` : ''}</li>`,
    )}</ul>
  </section>`;
}

function Decision({ card, me, done }) {
  const [reason, setReason] = useState('');
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const box = useRef(null);
  const { you } = card;
  const signedApproval = card.signatures.some(
    (s) => s.signer === me.name && s.decision === 'approve',
  );
  const canWithdraw = signedApproval && ['pending', 'approved'].includes(card.state);
  if (!you.can_approve && !you.can_deny && !canWithdraw) {
    return html`<p class="quiet">You can’t decide here: ${you.why}.</p>`;
  }
  const go = (choice) => async () => {
    if (choice !== 'approve' && reason.trim() === '') {
      setError(new Error('Say why: the agent and the ledger get your reason.'));
      box.current?.focus();
      return;
    }
    setBusy(true);
    setError(null);
    try {
      done(await decide(card, me, choice, reason));
      setReason('');
    } catch (e) {
      const cancelled = e?.name === 'NotAllowedError' || e?.cause?.name === 'NotAllowedError';
      setError(cancelled ? new Error('The passkey was not used. Nothing was signed.') : e);
    }
    setBusy(false);
  };
  const button = (choice, looks, words) =>
    html`<button id=${choice} class=${looks} disabled=${busy} onClick=${go(choice)}>
      ${words}
    </button>`;
  return html`<section class="decision" aria-label="Your decision">
    <h2>Your decision</h2>
    ${
      card.state === 'pending' &&
      !you.can_approve &&
      you.why &&
      html`<p class="warning">You can’t approve it: ${you.why}.</p>`
    }
    <label for="reason">Reason (needed to deny or withdraw)</label>
    <textarea id="reason" ref=${box} rows="2" maxlength="2000" value=${reason}
      onInput=${(e) => setReason(e.target.value)}></textarea>
    <p class="row">
      ${you.can_approve && button('approve', 'approve', 'Approve with passkey')}
      ${you.can_deny && button('deny', 'deny', 'Deny')}
      ${canWithdraw && button('withdraw', 'deny', 'Withdraw')}
      <span role="status">${busy ? 'Waiting for your passkey …' : ''}</span>
    </p>
    <${Problem} error=${error} />
  </section>`;
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
