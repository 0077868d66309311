// Lending one's groups to another signer until a time, and taking them back.

import { call, now } from '/api.js';
import { html, useCallback, useEffect, useState } from '/vendor/preact.js';
import { Problem, plain, When } from '/view.js';

export function Lend({ me }) {
  const [lent, setLent] = useState([]);
  const [to, setTo] = useState('');
  const [hours, setHours] = useState(24);
  const [error, setError] = useState(null);
  const load = useCallback(async () => {
    setLent((await call('GET', '/api/me/delegations')).delegations);
  }, []);
  useEffect(() => void load().catch(setError), []);
  const act = async (work) => {
    setError(null);
    try {
      await work();
      await load();
    } catch (e) {
      const again = e.code === 'step-up-needed';
      setError(again ? new Error('Sign out and in again: lending needs a fresh sign-in.') : e);
    }
  };
  const lend = (e) => {
    e.preventDefault();
    const until = new Date(now() + hours * 3_600_000).toISOString();
    void act(() => call('POST', '/api/me/delegations', { to, until }));
  };
  const back = (id) => () => void act(() => call('DELETE', `/api/me/delegations/${id}`));
  return html`<h2>Lend your groups</h2>
    <ul>
      ${lent.map(
        (d) => html`<li>
          ${d.from === me.name ? `To ${plain(d.to)}` : `From ${plain(d.from)}`} until${' '}
          <${When} at=${d.until} />${' '}
          ${
            d.from === me.name &&
            html`<button class="plain" onClick=${back(d.id)}>Take back</button>`
          }
        </li>`,
      )}
    </ul>
    <form class="search" onSubmit=${lend}>
      <label>To <input required value=${to} onInput=${(e) => setTo(e.target.value)} /></label>
      <label
        >For how long
        <select value=${hours} onChange=${(e) => setHours(Number(e.target.value))}>
          <option value="8">8 hours</option>
          <option value="24">a day</option>
          <option value="168">a week</option>
          <option value="719">30 days</option>
        </select></label
      >
      <button class="plain">Lend</button>
    </form>
    <${Problem} error=${error} />`;
}
