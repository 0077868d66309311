// Witnesses (C2SP tlog-witness): independent parties that co-sign checkpoints after checking that
// the log only grew.
// Invariant: appends never wait for a witness; a co-signature is kept only when it verifies over
// exactly our checkpoint.
import { request } from 'undici';
import { parseCheckpoint } from './checkpoint.ts';
import { acceptCosignatures } from './cosignature.ts';
import { LedgerError, reasonOf } from './errors.ts';
import type { Ledger } from './ledger.ts';
import {
  CONSISTENCY_HASHES_MAX,
  WITNESS_ANSWER_BYTES,
  WITNESS_EVERY_MS,
  WITNESS_TIMEOUT_MS,
} from './limits.ts';
import { parseNote, parseVkey, type Verifier } from './note.ts';

export interface WitnessOptions {
  /** The submission prefix: `add-checkpoint` is posted below it. */
  readonly url: string;
  /** The witness's vkey (type 4). */
  readonly key: string;
}

/** The body of `add-checkpoint`. */
export function addCheckpointBody(
  old: number,
  proof: readonly Buffer[],
  checkpoint: string,
): string {
  if (proof.length > CONSISTENCY_HASHES_MAX)
    throw new LedgerError('proof-invalid', 'A consistency proof has at most 63 hashes.');
  return (
    'old ' +
    `${old}\n${proof.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${checkpoint}`
  );
}

/** One witness: what it has seen of the log, as far as it told. */
export class Witness {
  readonly verifier: Verifier;
  readonly #url: string;
  #seen = 0;

  constructor(options: WitnessOptions) {
    this.#url = options.url.replace(/\/$/, '');
    this.verifier = parseVkey(options.key);
  }

  /** Its co-signature lines over this checkpoint. */
  async cosign(
    checkpoint: string,
    consistency: (from: number, to: number) => readonly Buffer[],
  ): Promise<string[]> {
    const { size } = parseCheckpoint(parseNote(checkpoint).text);
    // At most twice: a witness that has seen another size than we think answers with the size it
    // has.
    for (let attempt = 0; attempt < 2; attempt++) {
      const body = addCheckpointBody(this.#seen, consistency(this.#seen, size), checkpoint);
      const response = await request(`${this.#url}/add-checkpoint`, {
        method: 'POST',
        body,
        headersTimeout: WITNESS_TIMEOUT_MS,
        bodyTimeout: WITNESS_TIMEOUT_MS,
      });
      const answer = await response.body.text();
      if (answer.length > WITNESS_ANSWER_BYTES)
        throw new LedgerError('remote', 'The answer is too long.');
      if (response.statusCode === 200) {
        const lines = acceptCosignatures(checkpoint, answer, this.verifier);
        this.#seen = size;
        return lines;
      }
      const has = /^(0|[1-9]\d*)\n$/.exec(answer)?.[1];
      if (response.statusCode !== 409 || has === undefined || attempt > 0) {
        throw new LedgerError('remote', `It answered ${response.statusCode}.`);
      }
      this.#seen = Number(has);
      if (this.#seen > size) {
        throw new LedgerError(
          'rolled-back',
          `It has seen ${has} entries and this log has ${size}: the log was rolled back or forked.`,
        );
      }
    }
    throw new LedgerError('remote', 'It gave no co-signature.');
  }
}

/** All witnesses of a log, asked again as it grows. */
export class Witnesses {
  readonly #ledger: Ledger;
  readonly #witnesses: readonly Witness[];
  readonly #warn: (message: string) => void;
  readonly #timer: NodeJS.Timeout;
  #asking: Promise<void> | null = null;
  #size = -1;

  private constructor(
    ledger: Ledger,
    witnesses: readonly Witness[],
    warn: (message: string) => void,
    everyMs: number,
  ) {
    this.#ledger = ledger;
    this.#witnesses = witnesses;
    this.#warn = warn;
    this.#timer = setInterval(() => this.ask().catch(() => {}), everyMs);
    this.#timer.unref();
  }

  /** null when there are none. */
  static start(
    ledger: Ledger,
    options: readonly WitnessOptions[],
    warn: (message: string) => void,
    everyMs: number = WITNESS_EVERY_MS,
  ): Witnesses | null {
    return options.length === 0
      ? null
      : new Witnesses(
          ledger,
          options.map((o) => new Witness(o)),
          warn,
          everyMs,
        );
  }

  /** Asks every witness about the newest checkpoint and publishes what they sign. */
  ask(): Promise<void> {
    this.#asking ??= this.#askNow().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askNow(): Promise<void> {
    if (this.#ledger.size === this.#size || this.#ledger.unavailable !== null) return;
    // A published one, so that the tiles for exactly this size are there for whoever checks it.
    const checkpoint = await this.#ledger.publish();
    const { size } = parseCheckpoint(parseNote(checkpoint).text);
    const asked = this.#witnesses.map(async (witness) => {
      try {
        return await witness.cosign(checkpoint, (from, to) => this.#ledger.consistency(from, to));
      } catch (error) {
        this.#warn(
          `Witness ${witness.verifier.name} did not co-sign ${size} entries: ${reasonOf(error)}`,
        );
        return [];
      }
    });
    const lines = (await Promise.all(asked)).flat();
    if (lines.length > 0) await this.#ledger.cosigned(checkpoint + lines.join(''));
    if (lines.length >= this.#witnesses.length) this.#size = size;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#asking?.catch(() => {});
  }
}
