// Builds length-prefixed messages of our own: errors, notices and the few messages that the proxy
// adds.
// Invariant: off the hot path; what clients and servers said is never rebuilt here, it is forwarded
// verbatim.

export class Writer {
  readonly #parts: Buffer[] = [];

  byte(value: number): this {
    this.#parts.push(Buffer.of(value & 0xff));
    return this;
  }

  int16(value: number): this {
    const part = Buffer.alloc(2);
    part.writeInt16BE(value);
    this.#parts.push(part);
    return this;
  }

  int32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value | 0);
    this.#parts.push(part);
    return this;
  }

  /**
   * A NUL-terminated UTF-8 string; a NUL inside is replaced, since it would end the string early.
   */
  cstring(text: string): this {
    this.#parts.push(Buffer.from(`${text.replaceAll('\0', '\u2400')}\0`, 'utf8'));
    return this;
  }

  bytes(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes));
    return this;
  }

  /** `type` (one ASCII character) + Int32 length that counts itself + what was written. */
  message(type: string): Buffer {
    const body = Buffer.concat(this.#parts);
    const head = Buffer.alloc(5);
    head.writeUInt8(type.charCodeAt(0), 0);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  }
}
