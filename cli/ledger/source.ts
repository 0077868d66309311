// Where `holdpoint ledger` looks: a directory's files and index, or a service over HTTP.
// Invariant: reads only; a directory may be in use by a running ledger.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { request } from 'undici';
import { bodyName, readBody } from '../../ledger/body.ts';
import { decodeEntry, type Logged } from '../../ledger/canonical.ts';
import { DiskFiles } from '../../ledger/files.ts';
import { bodyOf, IndexFile } from '../../ledger/index-file.ts';
import { Layout } from '../../ledger/layout.ts';
import { PublishedLog } from '../../ledger/log.ts';
import { parseVkey, type Verifier } from '../../ledger/note.ts';
import {
  type SearchPage,
  type SearchQuery,
  type Story,
  search,
  story,
} from '../../ledger/search.ts';

export interface SourceOptions {
  readonly directory?: string;
  readonly url?: string;
  readonly tokenFile?: string;
}

export interface Source {
  search(query: SearchQuery): Promise<SearchPage>;
  story(id: string): Promise<Story>;
  close(): void;
}

/** A vkey itself, or a file that holds one. */
export function keyOf(given: string): Verifier {
  return parseVkey(given.includes('+') ? given : readFileSync(given, 'utf8'));
}

/** The public key that a ledger keeps in its directory. */
export function publicKeyOf(directory: string): string {
  const path = join(directory, 'key.pub');
  if (!existsSync(path)) {
    throw new Error(`${path} is not there; is ${directory} a ledger's directory?`);
  }
  return readFileSync(path, 'utf8').trim();
}

class DirectorySource implements Source {
  readonly #directory: string;
  readonly #index: IndexFile;

  constructor(directory: string) {
    const path = join(directory, 'index.sqlite');
    if (!existsSync(path)) {
      throw new Error(`${path} is not there; make it with: holdpoint ledger reindex`);
    }
    this.#directory = directory;
    this.#index = new IndexFile(path, publicKeyOf(directory));
  }

  /** The log as it is now, so that every indexed entry is in it. */
  #read(): (index: number) => Promise<Logged> {
    const log = new PublishedLog(this.#directory, null);
    return async (index) => JSON.parse(Buffer.from(log.entry(index)).toString());
  }

  search(query: SearchQuery): Promise<SearchPage> {
    return search(this.#index, this.#read(), query);
  }

  story(id: string): Promise<Story> {
    return story(this.#index, this.#read(), id);
  }

  close(): void {
    this.#index.close();
  }
}

async function ask(
  url: string,
  token: string | null,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
): Promise<unknown> {
  const response = await request(`${url}${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const answer = (await response.body.json()) as { message?: string };
  if (response.statusCode === 200) return answer;
  throw new Error(answer.message ?? `the ledger answered ${response.statusCode}`);
}

function serviceOf(options: SourceOptions): { url: string; token: string | null } {
  const { url = '', tokenFile } = options;
  const token = tokenFile === undefined ? null : readFileSync(tokenFile, 'utf8').trim();
  return { url: url.replace(/\/$/, ''), token };
}

/** One request to the service of `--url`. */
export function askService(
  options: SourceOptions,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
): Promise<unknown> {
  const { url, token } = serviceOf(options);
  return ask(url, token, method, path, body);
}

class ServiceSource implements Source {
  readonly #url: string;
  readonly #token: string | null;

  constructor(options: SourceOptions) {
    const { url, token } = serviceOf(options);
    this.#url = url;
    this.#token = token;
  }

  #get(path: string): Promise<unknown> {
    return ask(this.#url, this.#token, 'GET', path);
  }

  async search(query: SearchQuery): Promise<SearchPage> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const asked = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return (await this.#get(`/v1/search?${asked}`)) as SearchPage;
  }

  async story(id: string): Promise<Story> {
    return (await this.#get(`/v1/operations/${encodeURIComponent(id)}`)) as Story;
  }

  close(): void {}
}

export function openSource(options: SourceOptions): Source {
  if (options.url !== undefined) return new ServiceSource(options);
  if (options.directory !== undefined) return new DirectorySource(options.directory);
  throw new Error(
    'Say where the ledger is: --directory PATH, or --url URL with --token-file PATH.',
  );
}

/** An entry and the body that it names, checked against its SHA-256; null where it names none. */
export async function bodyAndEntry(
  options: SourceOptions,
  index: number,
): Promise<{ entry: Logged; body: Buffer | null }> {
  const { directory, url } = options;
  if (directory === undefined && url === undefined) openSource(options);
  const entry =
    directory === undefined
      ? ((await askService(options, 'GET', `/v1/entries/${index}`)) as { entry: Logged }).entry
      : decodeEntry(new PublishedLog(directory, null).entry(index));
  const name = bodyOf(entry);
  if (name === null) return { entry, body: null };
  const body =
    directory === undefined
      ? await askBytes(options, `/v1/bodies/${name}`)
      : readBody(new DiskFiles(), new Layout(directory), name);
  if (bodyName(body) !== name)
    throw new Error(`the body of entry ${index} is not the one it names`);
  return { entry, body };
}

async function askBytes(options: SourceOptions, path: string): Promise<Buffer> {
  const { url, token } = serviceOf(options);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await request(`${url}${path}`, { headers });
  const bytes = Buffer.from(await response.body.arrayBuffer());
  if (response.statusCode === 200) return bytes;
  throw new Error(`the ledger answered ${response.statusCode} for the body`);
}
