// What text means in a session now; the analysis itself is kept by text.
// Invariant: a long text is judged apart, and the message that brings it waits for that in its
// turn.
import { EFFECT_LIMITS } from '../limits.ts';
import type { Conversation } from './conversation.ts';
import { ahead, understand } from './effect/long.ts';
import { withTypes } from './names.ts';
import type { Parsed } from './statement.ts';

const NO_TYPES: readonly number[] = [];

export class Meaning {
  readonly #conversation: Conversation;
  readonly #resume: () => void;
  /** What the message in hand waits for. */
  #awaited: Promise<void> | null = null;

  constructor(conversation: Conversation, resume: () => void) {
    this.#conversation = conversation;
    this.#resume = resume;
  }

  /** `types` are those that the client gives its parameters. */
  of(text: Buffer, types: readonly number[] = NO_TYPES): Parsed {
    const { state, catalog } = this.#conversation;
    // Bytes that are not UTF-8 become U+FFFD here, which the analysis does not take for text.
    return withTypes(understand(text.toString('utf8'), state.context, catalog.current()), types);
  }

  /** The same, when it can be told. */
  async later(text: Buffer, types: readonly number[]): Promise<Parsed> {
    for (let wait = this.#ahead(text); wait !== null; wait = this.#ahead(text)) await wait;
    return this.of(text, types);
  }

  /** false: the message in hand is looked at again when its text is understood. */
  isKnown(text: Buffer): boolean {
    const wait = this.#ahead(text);
    if (wait !== null && wait !== this.#awaited) void wait.then(this.#resume);
    this.#awaited = wait;
    return wait === null;
  }

  /** What has to be waited for before {@link of} can tell, or null. */
  #ahead(text: Buffer): Promise<void> | null {
    if (text.length <= EFFECT_LIMITS.here_characters) return null;
    const { state, catalog } = this.#conversation;
    return ahead(text.toString('utf8'), state.context, catalog.current());
  }
}
