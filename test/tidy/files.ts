// The files that test/tidy.test.ts looks at, and those that are excepted from a rule, each with its
// reason.
// Invariant: an exception without a reason does not exist, and one for a file that is gone is
// itself a complaint.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface SourceFile {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Files that a program writes: not counted by length or columns. Path → what writes it. */
export const GENERATED: { readonly [path: string]: string } = {};

/** Files over the length limit that read better in one piece. Path → why. */
export const LONG: { readonly [path: string]: string } = {};

/** The names that the three engines share (STYLE.md, "twins"), without their ending. */
export const TWINS: readonly string[] = [
  'README',
  'engine',
  'frame',
  'client-message',
  'server-message',
  'encode',
  'handshake',
  'state',
  'operation',
  'statement',
  'catalog',
  'effect',
  'impact',
  'refusal',
  'outcome',
];

/** What one protocol demands and the others don't have. Path below proxy/ → why. */
export const EXTRA: { readonly [path: string]: string } = {
  'postgres/scram': 'SASL is a conversation of its own, with verifiers and channel binding',
  'postgres/startup': 'packets before the first typed message have a form of their own',
  'postgres/tls': 'TLS begins inside the protocol, or before it, and may be asked for twice',
  'postgres/upstream': 'the client face: log in as Holdpoint, hand the socket over, pass cancels',
  'postgres/conversation': 'pipelining: what is owed to whom outlives the message in hand',
  'postgres/requests': 'pipelining: the messages of a unit up to Sync, in order',
  'postgres/replies': 'pipelining: each reply belongs to the oldest request not answered yet',
  'postgres/owed-reply': 'pipelining: the kinds of replies that can be owed',
  'postgres/judgement': 'Parse, Bind and Execute come apart: the verdict is kept between them',
  'postgres/names': 'named statements and portals, believed only when the server confirms them',
  'postgres/history': 'EXECUTE and FETCH run text that came earlier in the session',
  'postgres/own': 'the switch and the settings are statements between those of the client',
  'postgres/guard': 'default_transaction_read_only, the second judge that only PostgreSQL offers',
  'postgres/look-ahead':
    'a unit of the extended protocol is one transaction: its kind is chosen first',
  'postgres/named': 'Parse, Describe and Close: names of statements and portals',
  'postgres/meaning': 'a long text is judged on another thread, and its message waits',
  'postgres/settings-reader': 'search_path, role and the like are asked of the server itself',
  'postgres/schema-change': 'DDL seen on the way makes the catalog snapshot stale',
  'postgres/parser': "PostgreSQL's own grammar as WASM, replaced when it traps",
  'postgres/bounds': 'what the grammar would not survive is found before it is parsed',
  'postgres/libpg-query.d': 'types that the npm package does not bring',
  'postgres/catalogs': 'one catalog snapshot for each database, shared by its sessions',
};

const CODE = /\.(?:ts|mts|js|mjs)$/;

/** Every file that git knows or would add; all of them text that fits in memory. */
export function allFiles(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  const paths = [...new Set(listed.split('\0'))].filter((path) => path !== '');
  return paths
    .filter((path) => existsSync(join(ROOT, path)))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
    .filter((file) => !file.text.includes('\0'));
}

export function isCode(file: SourceFile): boolean {
  return CODE.test(file.path);
}

export function isGenerated(file: SourceFile): boolean {
  return file.path in GENERATED;
}
