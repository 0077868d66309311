// What the ledger holds of a hold, checked here: entry → leaf → root → signed checkpoint.

import { call } from '/api.js';
import { bytesOf } from '/sign.js';
import canonicalize from '/vendor/canonicalize.js';
import { html, useEffect, useState } from '/vendor/preact.js';
import { When } from '/view.js';

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

const WORDS = {
  signature: (e) => `${e.signer} signed: ${e.decision} (${e.method}, ${e.channel})`,
  hold: (e) => `the hold was ${e.state}`,
};

export function Story({ card }) {
  const [records, setRecords] = useState([]);
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
      if (!stale) setRecords(checked);
    })().catch(() => {});
    return () => {
      stale = true;
    };
  }, [card.id, card.state, card.signatures.length]);
  if (records.length === 0) return null;
  return html`<section>
    <h2>On record</h2>
    <ol class="story">
      ${records.map(
        ({ entry, place, fault }) => html`<li>
          <${When} at=${entry.time} />: ${WORDS[entry.kind]?.(entry) ?? entry.kind}
          <span class="quiet"> (entry ${place.index})</span>${' '}
          ${
            fault === null
              ? html`<span class="badge state-approved">proof checked</span>`
              : html`<span class="badge state-denied">${fault}</span>`
          }
        </li>`,
      )}
    </ol>
  </section>`;
}
