// The opa that tests use: the one at hand, else the one that is installed for them.
// Invariant: the same finder as the proxy's, so that tests compile with what a policy is compiled
// with.
import { installOpa } from '../../proxy/verdict/opa.ts';

let found: Promise<string> | null = null;

/** The path of a real opa; installs it once when there is none. */
export function opa(): Promise<string> {
  found ??= installOpa();
  return found;
}

/** What `npm test` calls to set it up. */
export const findOpa = opa;

// `node test/setup/opa.ts` prints where it is.
if (import.meta.main) process.stdout.write(`${await opa()}\n`);
