// A port for a server that will be killed and started again on it.
// Invariant: it lies below the range from which the system takes ports for outgoing connections,
// so that none of those can have it while the server is away.
import { createServer } from 'node:net';

const FIRST = 15_000;
/** Linux hands out 32768 and above by default, the BSDs 49152 and above. */
const END = 32_000;
/** Test files run beside one another, each in a process of its own: each begins elsewhere. */
const EACH = 64;
let next = FIRST + ((process.pid * EACH) % (END - FIRST));

/** A port of 127.0.0.1 that nothing listens on now, and that was not given out here just before. */
export async function freePort(): Promise<number> {
  for (let attempt = FIRST; attempt < END; attempt++) {
    const port = next;
    next = port + 1 < END ? port + 1 : FIRST;
    if (await free(port)) return port;
  }
  throw new Error(`all ports between ${FIRST} and ${END} are in use`);
}

async function free(port: number): Promise<boolean> {
  const probe = createServer();
  const listening = await new Promise<boolean>((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => resolve(true));
  });
  await new Promise((resolve) => probe.close(resolve));
  return listening;
}
