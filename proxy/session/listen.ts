// The listening port of an engine: takes connections in, bounds how many there are, and lets go of
// them at the end.
// Invariant: an accepted socket always has an error listener, and counts against the limit until it
// is closed.
import { createServer, type Server, type Socket } from 'node:net';
import type { Address } from '../config.ts';
import { UserError } from '../errors.ts';

export interface Listening {
  readonly address: Address;
  readonly connections: number;
  /** Stops taking connections in; those there are go on. */
  close(): Promise<void>;
}

/** Listens; rejects with {@link UserError} when the address can't be had. */
export function listen(
  address: Address,
  most: number,
  accept: (socket: Socket) => void,
  tooMany: (socket: Socket) => void,
): Promise<Listening> {
  const sockets = new Set<Socket>();
  // Half-open: a client may close its side behind its last message and still read the answer.
  const options = { noDelay: true, keepAlive: true, allowHalfOpen: true };
  const server: Server = createServer(options, (socket) => {
    socket.on('error', () => {});
    if (sockets.size >= most) return tooMany(socket);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    accept(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'the port is taken; free it or set another in `listen`'
          : error.message;
      reject(new UserError(`can’t listen on ${address.host}:${address.port}: ${why}`));
    });
    server.listen(address.port, address.host, () => {
      const bound = server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
      resolve({
        address: { host: address.host, port },
        get connections() {
          return sockets.size;
        },
        close: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}
