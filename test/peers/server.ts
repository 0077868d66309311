// A scripted PostgreSQL server: logs anybody in, then answers each message with the bytes that the
// script gives.
// Invariant: it understands nothing and answers only what the test wrote down.
import { createServer, type Server, type Socket } from 'node:net';
import { message, type Received, Splitter } from './messages.ts';

/**
 * Answers one message: bytes to send at once, or nothing; the socket is there for what is not
 * bytes.
 */
export type Script = (received: Received, socket: Socket) => Uint8Array | undefined;

export interface ScriptedServer {
  readonly host: string;
  readonly port: number;
  /** Everything that clients sent after their login, in order. */
  readonly received: Received[];
  readonly sockets: Set<Socket>;
  close(): Promise<void>;
}

function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export const ready = (status: 'I' | 'T' | 'E' = 'I'): Buffer => message('Z', Buffer.from(status));
export const complete = (tag: string): Buffer => message('C', cstring(tag));

export function error(code: string, text: string, severity = 'ERROR'): Buffer {
  const parts = [`S${severity}`, `V${severity}`, `C${code}`, `M${text}`];
  return message('E', ...parts.map(cstring), Buffer.from([0]));
}

/** One text column. */
export function rowDescription(name: string): Buffer {
  const about = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0]);
  return message('T', Buffer.from([0, 1]), cstring(name), about);
}

export function dataRow(value: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(Buffer.byteLength(value));
  return message('D', Buffer.from([0, 1]), length, Buffer.from(value));
}

/** What a server says after a login, with the settings that drivers and the proxy look at. */
export function greeting(): Buffer {
  const settings = {
    server_version: '18.4',
    server_encoding: 'UTF8',
    client_encoding: 'UTF8',
    standard_conforming_strings: 'on',
    integer_datetimes: 'on',
    DateStyle: 'ISO, MDY',
    TimeZone: 'UTC',
    search_path: '"$user", public',
    default_transaction_read_only: 'off',
    in_hot_standby: 'off',
    is_superuser: 'off',
    session_authorization: 'app',
  };
  return Buffer.concat([
    message('R', Buffer.from([0, 0, 0, 0])),
    ...Object.entries(settings).map(([k, v]) => message('S', cstring(k), cstring(v))),
    message('K', Buffer.from([0, 0, 0, 7, 1, 2, 3, 4])),
    ready(),
  ]);
}

export async function startServer(script: Script): Promise<ScriptedServer> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const splitter = new Splitter();
    let greeted = false;
    socket.on('data', (chunk: Buffer) => {
      if (!greeted) {
        const code = chunk.length >= 8 ? chunk.readInt32BE(4) : 0;
        if (code === 80_877_103 || code === 80_877_104) {
          socket.write('N');
          return;
        }
        greeted = true;
        socket.write(greeting());
        return;
      }
      for (const one of splitter.push(chunk)) {
        received.push(one);
        const answer = script(one, socket);
        if (answer !== undefined && socket.writable) socket.write(answer);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = server.address();
  if (at === null || typeof at === 'string') throw new Error('no address');
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { host: '127.0.0.1', port: at.port, received, sockets, close };
}
