// Asks the server for the settings that change what text means, after anything that may have
// changed them.
// Invariant: no statement is judged between such a change and the server's answer.
import type { Conversation } from './conversation.ts';
import { encodeOwnStatement, FLUSH, SYNC } from './encode.ts';
import { sendOwn } from './own.ts';
import type { Requests } from './requests.ts';
import { READ_SETTINGS, SHOW_ROLE, SHOW_SEARCH_PATH } from './state.ts';

const READ = encodeOwnStatement(READ_SETTINGS, SYNC);
const SHOW = {
  synced: [encodeOwnStatement(SHOW_SEARCH_PATH, SYNC), encodeOwnStatement(SHOW_ROLE, SYNC)],
  flushed: [encodeOwnStatement(SHOW_SEARCH_PATH, FLUSH), encodeOwnStatement(SHOW_ROLE, FLUSH)],
} as const;

export class SettingsReader {
  readonly #conversation: Conversation;
  readonly #resume: () => void;
  #reading = false;
  #refreshing = false;

  constructor(conversation: Conversation, resume: () => void) {
    this.#conversation = conversation;
    this.#resume = resume;
  }

  /**
   * true when settings and catalog are current; else they are asked for, and `resume` is called
   * when they are.
   */
  read(requests: Requests): boolean {
    const { state, catalog } = this.#conversation;
    if (catalog.stale) {
      this.#refresh();
      return false;
    }
    if (!state.dirty) return true;
    if (this.#reading) return false;
    if (state.status === 'E') {
      // Nothing but the end of the transaction will be taken by the server.
      state.settingsUnknown();
      return true;
    }
    this.#reading = true;
    if (state.status === 'I' && !requests.unitOpen) {
      this.#ask(READ, true, requests, (row) => state.settingsRead(row), true);
      return false;
    }
    const [path, role] = requests.unitOpen ? SHOW.flushed : SHOW.synced;
    const synced = !requests.unitOpen;
    this.#ask(path, synced, requests, (row) => state.searchPathRead(row), false);
    this.#ask(role, synced, requests, (row) => state.roleRead(row), true);
    return false;
  }

  #ask(
    bytes: Buffer,
    synced: boolean,
    requests: Requests,
    row: (columns: readonly (string | null)[]) => void,
    last: boolean,
  ): void {
    const conversation = this.#conversation;
    sendOwn(bytes, synced, { conversation, requests }, row, (failed) => {
      if (failed) {
        this.#reading = false;
        conversation.breakOff({
          code: 'not_understood',
          detail: 'The session’s settings could not be read back from the server.',
        });
      } else if (last) {
        this.#reading = false;
        conversation.state.dirty = false;
      }
    });
  }

  #refresh(): void {
    if (this.#refreshing) return;
    this.#refreshing = true;
    const { state, catalog } = this.#conversation;
    void catalog.refresh().then(() => {
      this.#refreshing = false;
      if (catalog.current() !== null) state.catalogRead();
      this.#resume();
    });
  }
}
