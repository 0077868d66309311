// Live events for pages (SSE): that something changed, never what; the page asks again with its own
// rights.
// Invariant: a slow or dead reader costs a bounded amount and is dropped.
import type { ServerResponse } from 'node:http';
import { ApproverError } from '../errors.ts';
import { STREAM_BEAT_MS, STREAMS_MOST } from '../limits.ts';
import type { DeskEvent } from '../settle.ts';
import { type AnyRoute, route } from './route.ts';

interface Reader {
  readonly response: ServerResponse;
  /** May this person hear of this hold? */
  readonly hears: (hold: string) => Promise<boolean>;
}

export class Streams {
  readonly #readers = new Set<Reader>();
  readonly #beat: NodeJS.Timeout;

  constructor() {
    this.#beat = setInterval(() => this.#write(':\n\n'), STREAM_BEAT_MS);
    this.#beat.unref();
  }

  tell(event: Pick<DeskEvent, 'kind' | 'hold'>): void {
    const text = `event: hold\ndata: ${JSON.stringify({ kind: event.kind, hold: event.hold })}\n\n`;
    for (const reader of this.#readers) {
      void reader.hears(event.hold).then(
        (yes) => yes && this.#send(reader, text),
        () => {},
      );
    }
  }

  add(response: ServerResponse, hears: Reader['hears']): void {
    if (this.#readers.size >= STREAMS_MOST) {
      throw new ApproverError('too-many', 'too many live pages: the page still works by reloading');
    }
    const reader = { response, hears };
    this.#readers.add(reader);
    response.on('close', () => this.#readers.delete(reader));
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    response.write('retry: 2000\n\n');
  }

  close(): void {
    clearInterval(this.#beat);
    for (const r of this.#readers) r.response.end();
    this.#readers.clear();
  }

  #write(text: string): void {
    for (const r of this.#readers) this.#send(r, text);
  }

  #send(reader: Reader, text: string): void {
    if (reader.response.writableLength > 64 * 1024) reader.response.destroy();
    else reader.response.write(text);
  }
}

export function eventRoute(
  streams: Streams,
  hears: (person: import('../store/signers.ts').Signer, hold: string) => Promise<boolean>,
): AnyRoute {
  return route({
    method: 'GET',
    path: '/api/events',
    summary: 'Live: which of your holds has just changed (server-sent events).',
    handle: async ({ reply }, who) => {
      const person = who.signer;
      if (!person) return;
      reply.hijack();
      streams.add(reply.raw, (hold) => hears(person, hold));
      return reply;
    },
  });
}
