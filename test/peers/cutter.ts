// A TCP pipe that hands on what a server sends in pieces of the test's own choosing.
// Invariant: not a byte is added, lost or reordered; only where reads end is changed.
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

export interface Cutter {
  readonly host: string;
  readonly port: number;
  /** The size of the next piece; null passes chunks as they come. */
  next: (() => number) | null;
  close(): Promise<void>;
}

export async function startCutter(to: { host: string; port: number }): Promise<Cutter> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = createConnection(to.port, to.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    void handOn(upstream, client, cutter);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const at = server.address();
  if (at === null || typeof at === 'string') throw new Error('no address');
  const cutter: Cutter = {
    host: '127.0.0.1',
    port: at.port,
    next: null,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return cutter;
}

async function handOn(from: Socket, to: Socket, cutter: Cutter): Promise<void> {
  try {
    for await (const chunk of from) {
      for (let at = 0; at < chunk.length; ) {
        const size = cutter.next?.() ?? chunk.length;
        if (!to.write(chunk.subarray(at, at + size))) await once(to, 'drain');
        at += size;
        if (cutter.next !== null) await new Promise((resolve) => setImmediate(resolve));
      }
    }
  } catch {
    to.destroy();
  }
}

/** Whole numbers below `bound` that are the same in every run (a linear congruential generator). */
export function dice(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
