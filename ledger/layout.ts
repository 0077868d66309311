// Where a ledger keeps what. `log/` is the public part: plain files that any file server may
// publish.
// Invariant: the private key and the journal are never under `log/`.
import { join } from 'node:path';

export class Layout {
  readonly directory: string;
  /** PKCS #8 PEM, mode 0600. */
  readonly key: string;
  /** The public key as a vkey, for people to copy. */
  readonly publicKey: string;
  readonly lock: string;
  readonly journal: string;
  /** tlog-tiles: `checkpoint` and `tile/…`. */
  readonly log: string;
  readonly checkpoint: string;
  /** The newest checkpoint that witnesses have co-signed. */
  readonly witnessed: string;
  readonly bodies: string;
  /** Keys of entries that retention removed: 16 bytes each, in order, a file a shard. */
  readonly keys: string;
  readonly index: string;

  constructor(directory: string) {
    this.directory = directory;
    this.key = join(directory, 'key');
    this.publicKey = join(directory, 'key.pub');
    this.lock = join(directory, 'lock');
    this.journal = join(directory, 'journal');
    this.log = join(directory, 'log');
    this.checkpoint = join(this.log, 'checkpoint');
    this.witnessed = join(this.log, 'witnessed');
    this.bodies = join(directory, 'bodies');
    this.keys = join(directory, 'keys');
    this.index = join(directory, 'index.sqlite');
  }

  segment(number: number): string {
    return join(this.journal, String(number).padStart(12, '0'));
  }

  /** A path that tile.ts gave. */
  tile(path: string): string {
    return join(this.log, path);
  }

  /** Keys of the removed entries [from, to). */
  shardKeys(from: number, to: number): string {
    return join(this.keys, `${from}-${to}`);
  }

  body(sha256: string): string {
    return join(this.bodies, sha256.slice(0, 2), sha256);
  }
}
