// Bytes that came but are not processed yet: kept as they arrived, joined once when a whole message
// is there.
// Invariant: joining costs each byte at most a constant number of copies, however the peer splits
// its messages.

const EMPTY = Buffer.alloc(0);

export class Chunks {
  /** Nearly always there is one chunk, whole messages, and nothing is left of it. */
  #first: Buffer | null = null;
  #more: Buffer[] = [];
  #have = 0;
  #need = 0;

  get length(): number {
    return this.#have;
  }

  /** Adds a chunk; false while fewer bytes than were asked for are here. */
  push(chunk: Buffer): boolean {
    if (this.#first === null) this.#first = chunk;
    else this.#more.push(chunk);
    this.#have += chunk.length;
    return this.#have >= this.#need;
  }

  /** Takes everything as one buffer: the only chunk itself, or a copy that joins them. */
  take(): Buffer {
    let all = this.#first ?? EMPTY;
    if (this.#more.length > 0) {
      all = Buffer.concat([all, ...this.#more]);
      this.#more = [];
    }
    this.#first = null;
    this.#have = 0;
    this.#need = 0;
    return all;
  }

  /** Lets go of everything. */
  clear(): void {
    this.#first = null;
    this.#more = [];
    this.#have = 0;
    this.#need = 0;
  }

  /**
   * Puts back what could not be processed: `all` from `at` on. `need` is how many bytes are wanted
   * before it is worth a look.
   */
  putBack(all: Buffer, at: number, need: number): void {
    this.#need = need;
    if (at === all.length) return;
    if (this.#first !== null) this.#more.unshift(this.#first);
    this.#first = all.subarray(at);
    this.#have += this.#first.length;
  }
}
