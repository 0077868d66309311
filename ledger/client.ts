// The ledger over HTTP, as its writers see it: the same contract as in process.
// Invariant: one request under way at a time, so that entries keep the order in which they were
// given; a request without an answer is sent again with the same keys, to the next instance, and
// can't double an entry.
import { Agent, request as send } from 'undici';
import type { Append, Appended, LedgerWriter } from './contract.ts';
import { LEDGER_ERRORS, LedgerError, type LedgerErrorCode, reasonOf } from './errors.ts';
import {
  CLIENT_BATCH,
  CLIENT_PROBE_MS,
  CLIENT_READ_MS,
  CLIENT_READS,
  CLIENT_RETRIES,
  CLIENT_TIMEOUT_MS,
  CLIENT_WAITING_MAX,
} from './limits.ts';
import type { Story } from './search.ts';

export interface RemoteLedgerOptions {
  /** `https://ledger.example.com`; the standby's too, tried in turn. */
  readonly urls: readonly string[];
  readonly token?: string;
  /** PEMs: the service's CA, and this client's certificate and key for mutual TLS. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

interface Call {
  readonly appends: readonly Append[];
  readonly resolve: (answers: readonly Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

function isCode(code: unknown): code is LedgerErrorCode {
  return typeof code === 'string' && Object.hasOwn(LEDGER_ERRORS, code);
}

/** Errors that another instance, or a later try, may not have. */
function passing(error: LedgerError): boolean {
  return (
    error.code === 'remote' ||
    error.code === 'unavailable' ||
    error.code === 'closed' ||
    error.code === 'locked'
  );
}

export class RemoteLedger implements LedgerWriter {
  unavailable: string | null = null;
  readonly #urls: readonly string[];
  readonly #token: string | null;
  readonly #agent: Agent;
  /** Reads go beside appends, never before them. */
  readonly #readers: Agent;
  #at = 0;
  #queue: Call[] = [];
  #waiting = 0;
  #running: Promise<void> | null = null;
  #probe: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: RemoteLedgerOptions) {
    if (options.urls.length === 0)
      throw new LedgerError('remote', 'The ledger needs at least one URL.');
    this.#urls = options.urls.map((url) => url.replace(/\/$/, ''));
    this.#token = options.token ?? null;
    this.#agent = new Agent({ connect: { ...options.tls }, pipelining: 1, connections: 1 });
    this.#readers = new Agent({ connect: { ...options.tls }, connections: CLIENT_READS });
  }

  append(appends: readonly Append[]): Promise<readonly Appended[]> {
    if (this.#closed)
      return Promise.reject(new LedgerError('closed', 'The connection to the ledger is closed.'));
    if (this.unavailable !== null) {
      return Promise.reject(
        new LedgerError('unavailable', `The ledger can't be reached: ${this.unavailable}.`),
      );
    }
    if (this.#waiting + appends.length > CLIENT_WAITING_MAX) {
      return Promise.reject(
        new LedgerError('busy', `${this.#waiting} entries wait for the ledger already.`),
      );
    }
    this.#waiting += appends.length;
    return new Promise((resolve, reject) => {
      this.#queue.push({ appends, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const calls = this.#take();
      await this.#deliver(calls);
    }
    // In the same breath as the last look at the queue, so that no call is left in it.
    this.#running = null;
  }

  #take(): Call[] {
    let entries = 0;
    const calls: Call[] = [];
    for (let call = this.#queue[0]; call !== undefined; call = this.#queue[0]) {
      if (calls.length > 0 && entries + call.appends.length > CLIENT_BATCH) break;
      entries += call.appends.length;
      calls.push(call);
      this.#queue.shift();
    }
    this.#waiting -= entries;
    return calls;
  }

  async #deliver(calls: readonly Call[]): Promise<void> {
    try {
      const answers = await this.#post(calls.flatMap((call) => call.appends));
      let from = 0;
      for (const call of calls) {
        call.resolve(answers.slice(from, from + call.appends.length));
        from += call.appends.length;
      }
    } catch (error) {
      const refused = error instanceof LedgerError && !passing(error);
      if (refused && calls.length > 1) {
        // One of them is at fault: each on its own, so that only that one is refused.
        for (const call of calls) await this.#deliver([call]);
        return;
      }
      for (const call of calls) call.reject(error);
    }
  }

  async #post(appends: readonly Append[]): Promise<Appended[]> {
    const body = JSON.stringify({
      appends: appends.map(({ key, entry, body }) =>
        body === undefined
          ? { key, entry }
          : { key, entry, body: Buffer.from(body).toString('base64') },
      ),
    });
    let last: LedgerError | null = null;
    for (
      let attempt = 0;
      attempt < CLIENT_RETRIES * this.#urls.length && !this.#closed;
      attempt++
    ) {
      try {
        return await this.#once(body, appends.length);
      } catch (error) {
        last =
          error instanceof LedgerError
            ? error
            : new LedgerError('remote', reasonOf(error), { cause: error });
        if (!passing(last)) throw last;
        this.#at = (this.#at + 1) % this.#urls.length;
      }
    }
    const why = last ?? new LedgerError('closed', 'The connection to the ledger is closed.');
    this.#lost(why.message);
    throw why;
  }

  async #once(body: string, count: number): Promise<Appended[]> {
    const response = await send(`${this.#urls[this.#at]}/v1/append`, {
      method: 'POST',
      dispatcher: this.#agent,
      headersTimeout: CLIENT_TIMEOUT_MS,
      bodyTimeout: CLIENT_TIMEOUT_MS,
      headers: { 'content-type': 'application/json', ...this.#authorization() },
      body,
    });
    const answer: unknown = await response.body.json();
    if (typeof answer !== 'object' || answer === null)
      throw new LedgerError('remote', 'The ledger gave an odd answer.');
    if (
      response.statusCode === 200 &&
      'answers' in answer &&
      Array.isArray(answer.answers) &&
      answer.answers.length === count
    ) {
      return answer.answers;
    }
    const code = 'code' in answer && isCode(answer.code) ? answer.code : 'remote';
    const message = 'message' in answer ? String(answer.message) : `status ${response.statusCode}`;
    throw new LedgerError(code, message);
  }

  /** Everything about one operation or hold, for a token that may read. */
  async story(id: string): Promise<Story> {
    const answer = await this.#get(`/v1/operations/${encodeURIComponent(id)}`);
    return JSON.parse(answer) as Story;
  }

  /** A C2SP tlog-proof of an entry, with the entry as its extra data. */
  async proof(index: number): Promise<string> {
    return await this.#get(`/v1/entries/${index}/proof`);
  }

  async #get(path: string): Promise<string> {
    const response = await send(`${this.#urls[this.#at]}${path}`, {
      headersTimeout: CLIENT_READ_MS,
      bodyTimeout: CLIENT_READ_MS,
      headers: this.#authorization(),
      dispatcher: this.#readers,
    });
    const text = await response.body.text();
    if (response.statusCode === 200) return text;
    const missing = response.statusCode === 404 ? 'not-found' : 'remote';
    throw new LedgerError(missing, `The ledger answered ${response.statusCode} to ${path}.`);
  }

  #authorization(): { authorization?: string } {
    return this.#token === null ? {} : { authorization: `Bearer ${this.#token}` };
  }

  #lost(why: string): void {
    if (this.#closed) return;
    this.unavailable = why;
    for (const call of this.#queue.splice(0)) {
      this.#waiting -= call.appends.length;
      call.reject(new LedgerError('unavailable', `The ledger can't be reached: ${why}.`));
    }
    this.#probeLater();
  }

  #probeLater(): void {
    if (this.#probe !== null || this.#closed) return;
    this.#probe = setTimeout(() => {
      this.#probe = null;
      this.#look().catch(() => this.#probeLater());
    }, CLIENT_PROBE_MS);
    this.#probe.unref();
  }

  /** Asks each instance for its health; the first that is well is used. */
  async #look(): Promise<void> {
    for (const [at, url] of this.#urls.entries()) {
      try {
        const response = await send(`${url}/healthz`, {
          dispatcher: this.#agent,
          headersTimeout: CLIENT_TIMEOUT_MS,
        });
        await response.body.dump();
        if (response.statusCode !== 200) continue;
        this.#at = at;
        this.unavailable = null;
        return;
      } catch {
        // The next one, or later.
      }
    }
    this.#probeLater();
  }

  async close(): Promise<void> {
    await this.#running?.catch(() => {});
    this.#closed = true;
    if (this.#probe !== null) clearTimeout(this.#probe);
    await this.#agent.close();
    await this.#readers.close();
  }
}
