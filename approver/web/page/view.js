// Small parts that several views share: a statement with its marks, times, badges, messages.

import { now } from '/api.js';
import { html, useEffect, useState } from '/vendor/preact.js';

/** Exact text; what hides or imitates stands out with its name. */
export function Pieces({ pieces }) {
  return pieces.map((p) =>
    p.mark === null
      ? p.text
      : html`<mark class="odd" title=${p.mark}
          >${seen(p.text)}<span class="odd-name">${p.mark}</span></mark
        >`,
  );
}

function seen(text) {
  return /[\p{C}\p{Z}\ufffd]/u.test(text) ? '' : text;
}

/** Others' words in our sentences: what hides or turns the writing direction is named instead. */
export function plain(text) {
  return String(text).replaceAll(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (c) =>
    c === '\n' || c === '\t'
      ? ' '
      : `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
}

/** The same for several lines: line breaks and tabs stay. */
export function plainLines(text) {
  return String(text)
    .split(/([\n\t])/)
    .map((part) => (part === '\n' || part === '\t' ? part : plain(part)))
    .join('');
}

/** Ticks once a second, so that “time left” is true. */
export function useTick() {
  const [, set] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => set((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
}

export function Left({ until }) {
  const ms = Date.parse(until) - now();
  const soon = ms < 5 * 60_000;
  return html`<time datetime=${until} class=${soon ? 'left soon' : 'left'}>${
    ms <= 0 ? 'time is over' : `${span(ms)} left`
  }</time>`;
}

export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function When({ at }) {
  const date = new Date(at);
  return html`<time datetime=${at} title=${at}>${date.toLocaleString()}</time>`;
}

/** How long before another time, in the words of a list. */
export function Ago({ at, from }) {
  const ms = Date.parse(from) - Date.parse(at);
  const words = ms < 1000 ? 'just before' : `${span(ms)} before`;
  return html`<time datetime=${at} title=${at}>${words}</time>`;
}

export function ClassBadge({ of }) {
  return html`<span class="badge class-${of}">${of}</span>`;
}

const STATES = {
  pending: 'waits',
  approved: 'approved',
  denied: 'denied',
  expired: 'expired',
  withdrawn: 'withdrawn',
  redeemed: 'approved and run',
};

export function stateWord(state) {
  return STATES[state] ?? state;
}

export function StateBadge({ of }) {
  return html`<span class="badge state-${of}">${stateWord(of)}</span>`;
}

export function Problem({ error }) {
  if (!error) return null;
  return html`<p class="problem" role="alert">${error.message}</p>`;
}

/** A secret that was just made: the page is the only place that ever shows it. */
export function ShownOnce({ secret }) {
  if (!secret) return null;
  return html`<p role="status">
    Secret of ${secret.name}, shown this once: <code class="wrap">${secret.secret}</code>
  </p>`;
}
