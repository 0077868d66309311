// A checked cursor over exactly one frame's body.
// Invariant: it can't read past its end, and `end()` makes left-over bytes an error.

export class Malformed extends Error {
  override name = 'Malformed';
}

/**
 * Reads big-endian integers and C strings from `bytes[start, end)`. Every read past the end throws
 * {@link Malformed}.
 */
export class Reader {
  readonly bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count < 0 || count > this.#end - at) {
      throw new Malformed(`wanted ${count} bytes, ${this.#end - at} are left`);
    }
    this.#at = at + count;
    return at;
  }

  byte(): number {
    return this.bytes.readUInt8(this.#take(1));
  }

  int16(): number {
    return this.bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.bytes.readInt32BE(this.#take(4));
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.#take(4));
  }

  /** A view of the next `count` bytes; it shares memory with the frame. */
  slice(count: number): Buffer {
    const at = this.#take(count);
    return this.bytes.subarray(at, at + count);
  }

  /** The bytes of a NUL-terminated string without the NUL; a view. */
  cstringBytes(): Buffer {
    const nul = this.bytes.indexOf(0, this.#at);
    if (nul < 0 || nul >= this.#end) throw new Malformed('a string is not terminated');
    const found = this.bytes.subarray(this.#at, nul);
    this.#at = nul + 1;
    return found;
  }

  /** A NUL-terminated string, decoded as UTF-8. */
  cstring(): string {
    return this.cstringBytes().toString('utf8');
  }

  /**
   * A NUL-terminated name, one character a byte: two names are equal only when their bytes are.
   * Where it equals `known`, as names do that come again and again, no string is made.
   */
  name(known: string): string {
    const { bytes } = this;
    const from = this.#at;
    const to = from + known.length;
    let at = from;
    while (at < to && bytes[at] === known.charCodeAt(at - from)) at++;
    if (at === to && to < this.#end && bytes[to] === 0) {
      this.#at = to + 1;
      return known;
    }
    return this.cstringBytes().toString('latin1');
  }

  end(): void {
    if (this.#at !== this.#end) throw new Malformed(`${this.left} bytes are left over`);
  }
}
