// The side of the card: what the hold still wants, who has signed, and the person's own decision.

import { decide } from '/sign.js';
import { html, useRef, useState } from '/vendor/preact.js';
import { Left, Problem, When } from '/view.js';

const SAID = { approve: 'approved', deny: 'denied', withdraw: 'withdrew' };

/** Each demand with its signatures: how many are given, and who could give the others. */
export function Standing({ card }) {
  const pending = card.state === 'pending';
  const others = card.signatures;
  return html`<section class="standing" aria-labelledby="standing-title">
    <h2 id="standing-title">${pending ? 'Waits for' : 'Signatures'}</h2>
    ${
      pending &&
      html`<ul class="demands">${card.demands.map(
        (d) => html`<li class=${d.met ? 'met' : ''}>
          <span class="count">${Math.min(d.signed.length, d.signatures)} of ${d.signatures}</span>
          <span>${d.group.replaceAll('|', ' or ')}${d.met ? html` <b>given</b>` : ''}
            ${
              !d.met &&
              html`<br /><span class="quiet">${
                d.able.length === 0 ? 'nobody can sign now' : `${names(d.able)} can sign`
              }</span>`
            }</span>
        </li>`,
      )}</ul>`
    }
    ${
      others.length > 0 &&
      html`<ul class="signatures">${others.map(
        (s) => html`<li>
          <b>${s.signer}</b> ${SAID[s.decision]} (${s.method}, ${s.channel})<br />
          <span class="quiet"><${When} at=${s.signed} /></span>
          ${s.reason ? html`<br /><q>${s.reason}</q>` : ''}</li>`,
      )}</ul>`
    }
    ${!pending && others.length === 0 && html`<p class="quiet">Nobody signed.</p>`}
  </section>`;
}

function names(all) {
  const some = all.slice(0, 5).join(', ');
  return all.length > 5 ? `${some} and ${all.length - 5} more` : some;
}

export function Decision({ card, me, done }) {
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
    return html`<p class="quiet cannot">You can’t decide here: ${you.why}.</p>`;
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
  return html`<section class="decision" aria-labelledby="decision-title">
    <h2 id="decision-title">
      Your decision ${card.state === 'pending' && html`<${Left} until=${card.expires} />`}
    </h2>
    ${
      card.state === 'pending' &&
      !you.can_approve &&
      you.why &&
      html`<p class="warning">You can’t approve it: ${you.why}.</p>`
    }
    <label for="reason">Reason <span class="quiet">(needed to deny or withdraw)</span></label>
    <textarea id="reason" ref=${box} rows="1" maxlength="2000" value=${reason}
      placeholder="The agent and the ledger get it"
      onInput=${(e) => setReason(e.target.value)}></textarea>
    <p class="buttons">
      ${you.can_approve && button('approve', 'approve', 'Approve with passkey')}
      ${you.can_deny && button('deny', 'deny', 'Deny')}
      ${canWithdraw && button('withdraw', 'deny', 'Withdraw')}
    </p>
    <p role="status" class="quiet">${busy ? 'Waiting for your passkey …' : ''}</p>
    <${Problem} error=${error} />
  </section>`;
}
