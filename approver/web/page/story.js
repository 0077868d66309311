// What the ledger holds of an operation, checked here: entry → leaf → root → signed checkpoint.

import { call } from '/api.js';
import { bytesOf } from '/sign.js';
import canonicalize from '/vendor/canonicalize.js';
import { html, useEffect, useState } from '/vendor/preact.js';
import { plain, When } from '/view.js';

const encoder = new TextEncoder();

async function sha256(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', all));
}

function same(a, b) {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

/** RFC 9162, 2.1.3.2: the root that a leaf's inclusion proof leads to. */
async function rootOf(leaf, index, size, proof) {
  let [fn, sn, r] = [index, size - 1, leaf];
  for (const p of proof) {
    if (sn === 0) return null;
    if (fn % 2 === 1 || fn === sn) {
      r = await sha256([1], p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      r = await sha256([1], r, p);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 ? r : null;
}

/** null when the entry is proved to be in the log of that key, else what is wrong. */
export async function checkRecord(record, vkey) {
  const { key, entry, place } = record;
  const leaf = await sha256([0], encoder.encode(canonicalize({ ...entry, key })));
  if (!same(leaf, bytesOf(place.leaf))) return 'the entry is not the leaf that was proved';
  const root = await rootOf(leaf, place.index, place.size, place.proof.map(bytesOf));
  const end = place.checkpoint.indexOf('\n\n');
  const text = place.checkpoint.slice(0, end + 1);
  const [origin, size, hash] = text.split('\n');
  if (Number(size) !== place.size) return 'the checkpoint is of another size';
  if (!root || !same(root, bytesOf(hash))) return 'the proof does not lead to the checkpoint';
  const [, name, , raw] = /^(\S+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey) ?? [];
  if (name !== origin) return 'the checkpoint is of another log';
  const key32 = bytesOf(raw).slice(1);
  const publicKey = await crypto.subtle.importKey('raw', key32, 'Ed25519', false, ['verify']);
  for (const line of place.checkpoint.slice(end + 2).split('\n')) {
    const signature = line.startsWith(`— ${name} `) ? bytesOf(line.slice(name.length + 3)) : null;
    if (signature?.length !== 68) continue;
    const given = signature.slice(4);
    if (await crypto.subtle.verify('Ed25519', publicKey, given, encoder.encode(text))) return null;
  }
  return 'the checkpoint is not signed by the ledger';
}

const DISPOSED = {
  forward: 'let pass',
  hold: 'held',
  refuse: 'refused',
  redeemed: 'released with the approval',
  observed: 'let pass, only observed',
};
const ENDED = { done: 'It ran', failed: 'It failed', unknown: 'Nobody knows how it ended' };

/** Each entry as [who tells it, what it tells]. */
const WORDS = {
  decision: (e) => [
    'Judged',
    `${DISPOSED[e.disposition] ?? e.disposition}, class ${e.class}, rule ${e.verdict.rule}`,
  ],
  signature: (e) => [
    { approve: 'Approved', deny: 'Denied', withdraw: 'Withdrawn' }[e.decision] ?? 'Signed',
    `by ${e.signer} (${e.method}, ${e.channel})${e.reason ? `: “${e.reason}”` : ''}`,
  ],
  hold: (e) => [
    'Hold',
    e.state === 'redeemed' ? 'approval used, by one operation' : `is ${e.state}`,
  ],
  outcome: (e) => [
    ENDED[e.outcome] ?? 'Ended',
    [
      e.answer,
      e.rows === null ? null : `${e.rows} ${e.rows === 1 ? 'row' : 'rows'}`,
      e.duration_ms === null ? null : `${Math.round(e.duration_ms)} ms`,
    ]
      .filter((part) => part !== null)
      .join(', '),
  ],
};

export function Story({ card, changes }) {
  const [story, setStory] = useState(null);
  useEffect(() => {
    let stale = false;
    void (async () => {
      const answer = await call('GET', `/api/holds/${card.id}/records`);
      const checked = [];
      for (const record of answer.records) {
        const fault = answer.ledger
          ? await checkRecord(record, answer.ledger).catch((e) => `not checked: ${e.message}`)
          : 'not checked: this approver was not told the ledger’s key';
        checked.push({ ...record, fault });
      }
      if (!stale) setStory({ records: checked, missing: answer.missing });
    })().catch(() => {});
    return () => {
      stale = true;
    };
  }, [card.id, card.state, card.signatures.length, card.outcome === null, changes]);
  if (story === null || (story.records.length === 0 && story.missing === null)) return null;
  const { records, missing } = story;
  const faults = records.filter((r) => r.fault !== null).length;
  return html`<section aria-labelledby="story-title">
    <h2 id="story-title">On record</h2>
    <p class="quiet">
      What the ledger holds of this operation. Each entry’s proof is checked in this browser:
      entry, tree, and the ledger’s signature.${' '}
      ${faults > 0 && html`<b class="bad">${faults} of ${records.length} did not check out.</b>`}
    </p>
    <ol class="story">
      ${records.map(({ entry, place, fault }) => {
        const [what, more] = WORDS[entry.kind]?.(entry) ?? [entry.kind, ''];
        return html`<li class=${fault === null ? 'sound' : 'unsound'}>
          <p><b>${what}</b> ${plain(more)}</p>
          <p class="meta">
            <${When} at=${entry.time} /> <span>by ${entry.by}</span>
            <span>entry ${place.index}</span>
            ${
              fault === null
                ? html`<span class="badge state-approved">proof checked</span>`
                : html`<span class="badge state-denied">${fault}</span>`
            }
          </p>
        </li>`;
      })}
    </ol>
    ${
      missing !== null &&
      html`<p class="warning">Only this approver’s own entries: ${missing}.
        <code>holdpoint ledger story ${card.id}</code> shows all of them.</p>`
    }
  </section>`;
}
