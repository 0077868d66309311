// Every setting of Holdpoint, parsed once at the door from holdpoint.yaml and frozen.
// Invariant: an unknown key, a bad value or a missing secret stops the start, naming file, line and
// next step.
//
// The interfaces here are the reference; settings.ts holds the same shapes as checks.
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { JWK } from 'jose';
import { LineCounter, parseDocument } from 'yaml';
import type { AgentRecord } from './agents.ts';
import { UserError } from './errors.ts';
import {
  type ApproverConfig,
  type BusConfig,
  buildApprover,
  buildBus,
  buildLedger,
  type LedgerConfig,
} from './neighbours.ts';
import { type Place, pem, publicKey, secret } from './secret.ts';
import { type Settings, settings } from './settings.ts';

/** Where a service listens. `port: 0` takes any free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** TLS towards an upstream database. */
export interface UpstreamTls {
  /**
   * `disable`: plain. `require`: encrypted, certificate not checked. `verify-ca`: signed by `ca`.
   * `verify-full`: signed by `ca` and made out to `host`. The last is the one to use.
   */
  readonly mode: 'disable' | 'require' | 'verify-ca' | 'verify-full';
  /**
   * PEM text of the authorities to trust (`ca:` names the file); null trusts those that Node ships.
   */
  readonly ca: string | null;
  /** PEM text of a client certificate and its key, for servers that want one. */
  readonly cert: string | null;
  readonly key: string | null;
}

/** One upstream database, and how it is treated. */
export interface Target {
  /** What agents write as database name, and what policy, card and ledger call it. */
  readonly name: string;
  readonly engine: 'postgres';
  /** Host name, address, or the directory of a Unix socket (starts with `/`). */
  readonly host: string;
  readonly port: number;
  /** Holdpoint's own role at the upstream. Agents never learn its password. */
  readonly user: string;
  /**
   * The password now: asked at each login, so that a rotated file counts at once. undefined: none
   * is needed.
   */
  readonly password: () => string | undefined;
  /** The database when an agent names only the target. */
  readonly database: string;
  /** `production`, `staging`, …: free, policy decides what it means. */
  readonly environment: string;
  /** false: judged and recorded, but everything passes (observe only). */
  readonly enforce: boolean;
  readonly tags: readonly string[];
  readonly tls: UpstreamTls;
  readonly record: {
    /**
     * `each`: one entry for every read. `summary`: one a second for each session, shape and
     * verdict.
     */
    readonly reads: 'each' | 'summary';
    /**
     * What the ledger keeps of statements, values, reasons and errors. `full`: all. `none`: only
     * the statement's normalized text. `sealed`: that, and all of it encrypted to `seal_to`.
     */
    readonly literals: 'full' | 'sealed' | 'none';
    /** The public key (`seal_to:` names a JWK file); null unless literals are sealed. */
    readonly seal_to: JWK | null;
  };
  readonly hold: {
    /** The longest a connection waits for signatures, whatever the policy says; milliseconds. */
    readonly wait_ms: number;
    /** Whether it may wait inside an open transaction, which keeps its locks meanwhile. */
    readonly in_transaction: boolean;
  };
}

/** TLS towards the agents. */
export interface ListenerTls {
  /** `off`: never. `allow`: who asks gets it. `require`: plain connections are refused. */
  readonly mode: 'off' | 'allow' | 'require';
  /** PEM files; null makes a self-signed certificate in the state directory. */
  readonly cert: string | null;
  readonly key: string | null;
}

export interface Config {
  /** The file it came from; null for the embedded defaults. */
  readonly file: string | null;
  /** Names this process in ledger entries: `proxy/<instance>`. */
  readonly instance: string;
  /**
   * Directory of keys, agents, spool, approver's store and embedded ledger. Relative paths start at
   * the file.
   */
  readonly state: string;
  readonly listen: {
    /** Where PostgreSQL clients connect. */
    readonly postgres: Address;
    readonly tls: ListenerTls;
  };
  readonly targets: readonly Target[];
  /** Agents given here, beside those of `holdpoint agent add`. */
  readonly agents: readonly AgentRecord[];
  readonly policy: {
    /** Security's file. */
    readonly rego: string;
    /** Its tests: a changed policy that fails them is not taken. null: it has none. */
    readonly tests: string | null;
    /** Its data: protected objects, groups, thresholds, tags, freeze windows. */
    readonly data: string;
  };
  readonly bus: BusConfig;
  readonly approver: ApproverConfig;
  readonly ledger: LedgerConfig;
}

/** Reads, checks and freezes a configuration file. Throws {@link UserError}. */
export function loadConfig(path: string): Config {
  const file = resolve(path);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new UserError(`can't read ${file}: give the path of your holdpoint.yaml with --config`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const at = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
  const broken = document.errors[0];
  if (broken) throw new UserError(`${at(broken.pos[0])}: ${broken.message.split('\n')[0]}`);
  const place = (keys: readonly PropertyKey[]): string => {
    for (let length = keys.length; length > 0; length--) {
      const offset = offsetOf(document, keys.slice(0, length));
      if (offset !== null) return at(offset);
    }
    return `${file}:1`;
  };
  const parsed = settings.safeParse(document.toJS() ?? {});
  if (!parsed.success) {
    const complaints = parsed.error.issues.map((issue) => {
      const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
      const keys = unknown === undefined ? issue.path : [...issue.path, unknown];
      const what = unknown === undefined ? issue.message : 'there is no such setting';
      return `${place(keys)}: ${keys.join('.') || 'the file'}: ${what}`;
    });
    throw new UserError(
      `${complaints.join('\n')}\nEvery setting is in holdpoint.example.yaml and proxy/config.ts.`,
    );
  }
  return build(parsed.data, file, place);
}

/** Offset of the key (not its value) that `keys` lead to; null when the file does not have it. */
function offsetOf(
  document: ReturnType<typeof parseDocument>,
  keys: readonly PropertyKey[],
): number | null {
  const last = keys.at(-1);
  const parent: unknown =
    keys.length === 1 ? document.contents : document.getIn(keys.slice(0, -1), true);
  if (typeof parent !== 'object' || parent === null || !('items' in parent)) return null;
  for (const [index, item] of (parent.items as unknown[]).entries()) {
    const node: unknown =
      item !== null && typeof item === 'object' && 'key' in item ? item.key : item;
    const wanted = node === item ? index === last : scalar(node) === last;
    if (wanted && typeof node === 'object' && node !== null && 'range' in node) {
      return (node.range as [number, number, number])[0];
    }
  }
  return null;
}

function scalar(node: unknown): unknown {
  return typeof node === 'object' && node !== null && 'value' in node ? node.value : node;
}

function build(from: Settings, file: string, place: Place): Config {
  const base = dirname(file);
  const path = (relative: string): string => resolve(base, relative);
  const state = path(from.state);
  const tls = from.listen.tls;
  const read = (pemFile: string | null, index: number, key: string): string | null =>
    pemFile === null ? null : pem(pemFile, base, () => place(['targets', index, 'tls', key]));
  const config: Config = {
    file,
    instance: from.instance,
    state,
    listen: {
      postgres: from.listen.postgres,
      tls: {
        mode: tls.mode,
        cert: tls.cert === null ? null : path(tls.cert),
        key: tls.key === null ? null : path(tls.key),
      },
    },
    targets: from.targets.map((target, index) => ({
      ...target,
      password: secret(target.password, base, () => place(['targets', index, 'password'])),
      record: {
        ...target.record,
        seal_to: publicKey(target.record.seal_to, base, () =>
          place(['targets', index, 'record', 'seal_to']),
        ),
      },
      tls: {
        mode: target.tls.mode,
        ca: read(target.tls.ca, index, 'ca'),
        cert: read(target.tls.cert, index, 'cert'),
        key: read(target.tls.key, index, 'key'),
      },
    })),
    agents: from.agents,
    policy: {
      rego: path(from.policy.rego),
      tests: from.policy.tests === null ? null : path(from.policy.tests),
      data: path(from.policy.data),
    },
    bus: buildBus(from.bus, base, place),
    approver: buildApprover(from.approver, base, place),
    ledger: buildLedger(from.ledger, { base, directory: join(state, 'ledger') }, place),
  };
  return freeze(config);
}

/** A database of the embedded demo, once it runs. */
export interface EmbeddedTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: () => string | undefined;
  readonly database: string;
}

/** Ports other than the usual 6432 and 8080. */
export interface EmbeddedPorts {
  readonly postgres?: number;
  readonly page?: number;
}

/**
 * What `npm start` runs: one production target, everything in this process, all state in one
 * directory.
 */
export function embeddedConfig(
  stateDirectory: string,
  target: EmbeddedTarget,
  ports: EmbeddedPorts = {},
): Config {
  const defaults = settings.parse({
    targets: [{ name: 'shop', host: target.host, port: target.port, user: target.user }],
    listen: { postgres: ports.postgres === undefined ? {} : { port: ports.postgres } },
    approver: { listen: ports.page === undefined ? {} : { port: ports.page } },
  });
  const [shop] = defaults.targets;
  if (!shop) throw new Error('the embedded target is missing');
  const file = join(resolve(stateDirectory), 'embedded.yaml');
  const config = build({ ...defaults, state: '.', targets: [] }, file, () => file);
  const repository = dirname(import.meta.dirname);
  return freeze({
    ...config,
    file: null,
    policy: {
      rego: join(repository, 'policies.rego'),
      tests: join(repository, 'policies_test.rego'),
      data: join(repository, 'policies.json'),
    },
    targets: [
      {
        ...shop,
        database: target.database,
        environment: 'production',
        record: { ...shop.record, seal_to: null },
        tags: ['production', 'demo'],
        password: target.password,
        tls: { mode: 'disable', ca: null, cert: null, key: null },
      },
    ],
  });
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}
