// Bytes that came but are not processed yet: kept as they arrived, joined once when a whole message
// is there.
// Invariant: joining costs each byte at most a constant number of copies, however the peer splits
// its messages.

const EMPTY = Buffer.alloc(0);

export class Chunks {
  #chunks: Buffer[] = [];
  #have = 0;
  #need = 0;

  get length(): number {
    return this.#have;
  }

  /** Adds a chunk; false while fewer bytes than were asked for are here. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    return this.#have >= this.#need;
  }

  /** Takes everything as one buffer: the only chunk itself, or a copy that joins them. */
  take(): Buffer {
    const chunks = this.#chunks;
    const only = chunks[0];
    const all =
      chunks.length === 1 && only ? only : chunks.length === 0 ? EMPTY : Buffer.concat(chunks);
    this.#chunks = [];
    this.#have = 0;
    this.#need = 0;
    return all;
  }

  /**
   * Puts back what could not be processed; `need` is how many bytes are wanted before it is worth a
   * look.
   */
  putBack(rest: Buffer, need: number): void {
    if (rest.length > 0) {
      this.#chunks.unshift(rest);
      this.#have += rest.length;
    }
    this.#need = need;
  }
}
