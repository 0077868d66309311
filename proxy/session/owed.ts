// Replies owed to the client, in order: a queue of named entries, one for each forwarded message
// that is answered.
// Invariant: replies come in the order of requests, so the front entry says whose reply the next
// message is.

export class Owed<Entry> {
  #ring: (Entry | undefined)[] = new Array(8);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get front(): Entry | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head];
  }

  push(entry: Entry): void {
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = entry;
    this.#length++;
  }

  shift(): Entry | undefined {
    if (this.#length === 0) return undefined;
    const entry = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length--;
    return entry;
  }

  #grow(): void {
    const size = this.#ring.length;
    const grown: (Entry | undefined)[] = new Array(size * 2);
    for (let i = 0; i < this.#length; i++) grown[i] = this.#ring[(this.#head + i) & (size - 1)];
    this.#ring = grown;
    this.#head = 0;
  }
}
