// The journal's files: numbered segments, made ahead of need and used again when their content is
// settled.
// Invariant: a segment's name and its zeroed (or old) bytes are durable before a record goes into
// it.
import { dirname } from 'node:path';
import type { Files } from './files.ts';
import { RecordWriter, Segment } from './journal.ts';
import type { Layout } from './layout.ts';

export class Segments {
  readonly #files: Files;
  readonly #layout: Layout;
  readonly #writer = new RecordWriter();
  readonly #spare: string[] = [];
  readonly #bytes: number;
  #number: number;
  #ahead: Promise<Segment> | null = null;

  /** `number` is the next segment's. */
  constructor(files: Files, layout: Layout, number: number, bytes: number) {
    this.#bytes = bytes;
    this.#files = files;
    this.#layout = layout;
    this.#number = number;
  }

  /** The next segment, empty; another is made ready behind it. */
  async next(): Promise<Segment> {
    const segment = await (this.#ahead ?? this.#make());
    this.#ahead = this.#make();
    // Its failure is seen by the next caller; until then it must not end the process.
    this.#ahead.catch(() => {});
    return segment;
  }

  async #make(): Promise<Segment> {
    const number = this.#number++;
    const path = this.#layout.segment(number);
    let from = this.#spare.pop();
    if (from === undefined) {
      from = `${path}.new`;
      await this.#files.write(from, Buffer.alloc(this.#bytes), 0o600);
      await this.#files.sync(from);
    }
    await this.#files.rename(from, path);
    await this.#files.sync(dirname(path));
    return new Segment(this.#files, path, number, this.#bytes, this.#writer);
  }

  /** A segment that recovery needs no more. */
  async release(path: string): Promise<void> {
    // Out of the numbered names, so that recovery does not read it. Segments go oldest first and
    // durably, so that none can come back without those after it.
    if (this.#spare.length > 0) {
      await this.#files.remove(path);
    } else {
      const spare = `${path}.spare`;
      await this.#files.rename(path, spare);
      this.#spare.push(spare);
    }
    await this.#files.sync(dirname(path));
  }

  async close(): Promise<void> {
    const ahead = await this.#ahead?.catch(() => null);
    ahead?.close();
    this.#ahead = null;
  }
}
