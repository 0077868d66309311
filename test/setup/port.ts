// A port for a server that will be killed and started again on it.
// Invariant: it lies below the range from which the system takes ports for outgoing connections,
// so that none of those can have it while the server is away.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const FIRST = 15_000;
/** Linux hands out 32768 and above by default, the BSDs 49152 and above. */
const END = 32_000;

/** A port of 127.0.0.1 that nothing listens on now. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(FIRST, END);
    if (await free(port)) return port;
  }
  throw new Error(`50 ports between ${FIRST} and ${END} were all in use`);
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
