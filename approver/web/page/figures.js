// The dashboard: decisions over time, by class, agent, target and rule; waiting times; who signs.

import { call } from '/api.js';
import { html, useEffect, useRef, useState } from '/vendor/preact.js';
import uPlot from '/vendor/uplot.js';
import { Problem, plain, span } from '/view.js';

const ENDS = [
  { name: 'approved', states: ['approved', 'redeemed'], colour: '#1f7a48', dash: [] },
  { name: 'denied', states: ['denied', 'withdrawn'], colour: '#b93030', dash: [6, 3] },
  { name: 'expired', states: ['expired'], colour: '#8a6d1a', dash: [2, 3] },
  { name: 'waiting', states: ['pending'], colour: '#4a78b5', dash: [10, 4] },
];

export function Figures() {
  const [days, setDays] = useState(30);
  const [data, setData] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    call('GET', `/api/figures?days=${days}`).then(setData, setError);
  }, [days]);
  return html`<section aria-labelledby="figures-title">
    <h1 id="figures-title">Figures</h1>
    <p>
      <label
        >Over the last${' '}
        <select value=${days} onChange=${(e) => setDays(Number(e.target.value))}>
          ${[7, 30, 90, 366].map((d) => html`<option value=${d}>${d} days</option>`)}
        </select></label
      >
    </p>
    <${Problem} error=${error} />
    ${data && html`<${Body} data=${data} days=${days} />`}
  </section>`;
}

function Body({ data, days }) {
  const total = data.days.reduce((sum, d) => sum + d.n, 0);
  if (total === 0) return html`<p class="empty">Nothing was held in this time.</p>`;
  const { median, p95 } = data.waiting;
  return html`<p class="numbers">
      <span><b>${total}</b> held</span>
      <span><b>${median === null ? '–' : span(median)}</b> median wait</span>
      <span><b>${p95 === null ? '–' : span(p95)}</b> 95 of 100 decided within</span>
    </p>
    <${Chart} of=${data.days} days=${days} />
    <div class="columns">
      ${[
        ['class', 'By class'],
        ['agent', 'By agent'],
        ['target', 'By target'],
        ['rule', 'By rule'],
      ].map(([key, title]) => html`<${Tally} title=${title} of=${data.by[key]} />`)}
      <${Signers} of=${data.signers} />
    </div>`;
}

/** Counts a day for each way a hold ends; the table below says the same in words. */
function Chart({ of, days }) {
  const place = useRef(null);
  useEffect(() => {
    const day = 86400;
    const today = Math.floor(Date.now() / 1000 / day) * day;
    const x = Array.from({ length: days }, (_, i) => today - (days - 1 - i) * day);
    const lines = ENDS.map((end) =>
      x.map((t) => {
        const date = new Date(t * 1000).toISOString().slice(0, 10);
        const found = of.filter((d) => d.day === date && end.states.includes(d.state));
        return found.reduce((sum, d) => sum + d.n, 0);
      }),
    );
    const ink = getComputedStyle(document.body).color;
    const axis = { stroke: ink, grid: { stroke: '#8884', width: 1 }, ticks: { stroke: '#8884' } };
    const plot = new uPlot(
      {
        width: place.current.clientWidth,
        height: 240,
        scales: { y: { range: (_u, _min, max) => [0, Math.max(1, max)] } },
        axes: [axis, { ...axis, size: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }],
        series: [
          { value: '{YYYY}-{MM}-{DD}' },
          ...ENDS.map((e) => ({ label: e.name, stroke: e.colour, width: 2, dash: e.dash })),
        ],
      },
      [x, ...lines],
      place.current,
    );
    const fit = () => plot.setSize({ width: place.current.clientWidth, height: 240 });
    addEventListener('resize', fit);
    return () => {
      removeEventListener('resize', fit);
      plot.destroy();
    };
  }, [of, days]);
  const words = 'Holds a day by how they ended';
  return html`<div ref=${place} class="chart" role="img" aria-label=${words}></div>`;
}

function Tally({ title, of }) {
  const values = [...new Set(of.map((r) => r.value))];
  const count = (value, states) =>
    of.filter((r) => r.value === value && states.includes(r.state)).reduce((n, r) => n + r.n, 0);
  return html`<div>
    <h2>${title}</h2>
    <div class="scroll" tabindex="0" role="region" aria-label=${title}>
      <table>
        <thead>
          <tr>
            <th scope="col"><span class="hidden">Name</span></th>
            ${ENDS.map((e) => html`<th scope="col" class="number">${e.name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${values.map(
            (value) => html`<tr>
              <th scope="row">${plain(value)}</th>
              ${ENDS.map((e) => html`<td class="number">${count(value, e.states) || ''}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </div>`;
}

function Signers({ of }) {
  const names = [...new Set(of.map((s) => s.signer))];
  const count = (name, decision) =>
    of.find((s) => s.signer === name && s.decision === decision)?.n ?? '';
  return html`<div>
    <h2>Who signs</h2>
    <table>
      <thead>
        <tr>
          <th scope="col"><span class="hidden">Name</span></th>
          <th scope="col" class="number">approved</th>
          <th scope="col" class="number">denied</th>
          <th scope="col" class="number">withdrew</th>
        </tr>
      </thead>
      <tbody>
        ${names.map(
          (name) => html`<tr>
            <th scope="row">${name}</th>
            ${['approve', 'deny', 'withdraw'].map(
              (d) => html`<td class="number">${count(name, d)}</td>`,
            )}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
