// Bodies: what is too large for an entry, beside the log under its SHA-256.
// Invariant: durable before the entry that names it is appended; what is read back has the hash it
// was asked by; none is removed while an append that may name it is under way.
import { hash } from 'node:crypto';
import { dirname } from 'node:path';
import { LedgerError } from './errors.ts';
import { type Files, replaceFile } from './files.ts';
import type { Layout } from './layout.ts';
import { BODY_BYTES_MAX } from './limits.ts';

/** The name a body is stored under. */
export function bodyName(body: Uint8Array): string {
  return hash('sha256', body, 'hex');
}

export class Bodies {
  readonly #files: Files;
  readonly #layout: Layout;
  #under = 0;
  #idle: (() => void) | null = null;
  #gate: Promise<void> | null = null;

  constructor(files: Files, layout: Layout) {
    this.#files = files;
    this.#layout = layout;
  }

  /** An append that brings bodies: from storing them until it is answered. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    while (this.#gate !== null) await this.#gate;
    this.#under++;
    try {
      return await work();
    } finally {
      this.#under--;
      if (this.#under === 0) this.#idle?.();
    }
  }

  /** Work during which no body comes to be named that is not named yet. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#gate !== null) await this.#gate;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    try {
      if (this.#under > 0) await new Promise<void>((idle) => (this.#idle = idle));
      return await work();
    } finally {
      this.#idle = null;
      this.#gate = null;
      resolve();
    }
  }

  async store(body: Uint8Array): Promise<void> {
    if (body.length > BODY_BYTES_MAX) {
      throw new LedgerError(
        'body-too-large',
        `A body of ${body.length} bytes is more than ${BODY_BYTES_MAX}; the operation can't be ` +
          'recorded and must be refused.',
      );
    }
    const files = this.#files;
    const path = this.#layout.body(bodyName(body));
    if (files.read(path)?.equals(body) !== true) {
      await files.makeDirectory(dirname(path), 0o700);
      await replaceFile(files, path, body, { mode: 0o600 });
    }
    // Also where it was there: an earlier try may have failed before its name was durable.
    await files.sync(dirname(path));
    await files.sync(this.#layout.bodies);
  }

  read(sha256: string): Buffer {
    return readBody(this.#files, this.#layout, sha256);
  }
}

export function readBody(files: Files, layout: Layout, sha256: string): Buffer {
  const body = /^[0-9a-f]{64}$/.test(sha256) ? files.read(layout.body(sha256)) : null;
  if (body === null)
    throw new LedgerError(
      'not-found',
      `There is no body ${sha256}; it was never stored, or retention removed it.`,
    );
  if (bodyName(body) !== sha256)
    throw new LedgerError(
      'tile-invalid',
      `The body ${sha256} is damaged: its bytes have another hash.`,
    );
  return body;
}
