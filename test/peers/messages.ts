// PostgreSQL messages for scripted peers: made by hand and read by hand.
// Invariant: shares no code with the proxy, so that a mistake there can't hide here.

type Value = string | Uint8Array | null;

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** Any message of one type byte: length filled in. */
export function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body]);
}

export function startup(
  parameters: { readonly [name: string]: string },
  version = 0x0003_0000,
): Buffer {
  const pairs = Object.entries(parameters).flatMap(([k, v]) => [cstring(k), cstring(v)]);
  const body = Buffer.concat([int32(version), ...pairs, Buffer.from([0])]);
  return Buffer.concat([int32(body.length + 4), body]);
}

export function cancelRequest(pid: number, secret: Uint8Array): Buffer {
  const body = Buffer.concat([int32(80_877_102), int32(pid), secret]);
  return Buffer.concat([int32(body.length + 4), body]);
}

export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
export const GSSENC_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 48]);

export const query = (sql: string): Buffer => message('Q', cstring(sql));
export const sync = (): Buffer => message('S');
export const flush = (): Buffer => message('H');
export const terminate = (): Buffer => message('X');
export const copyData = (data: string | Uint8Array): Buffer => message('d', Buffer.from(data));
export const copyDone = (): Buffer => message('c');
export const copyFail = (why: string): Buffer => message('f', cstring(why));

export function parse(sql: string, name = '', types: readonly number[] = []): Buffer {
  return message('P', cstring(name), cstring(sql), int16(types.length), ...types.map(int32));
}

export interface BindOptions {
  readonly portal?: string;
  readonly statement?: string;
  readonly formats?: readonly number[];
  readonly results?: readonly number[];
}

export function bind(values: readonly Value[] = [], options: BindOptions = {}): Buffer {
  const formats = options.formats ?? [];
  const results = options.results ?? [];
  const encoded = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const bytes = Buffer.from(value);
    return [int32(bytes.length), bytes];
  });
  return message(
    'B',
    cstring(options.portal ?? ''),
    cstring(options.statement ?? ''),
    int16(formats.length),
    ...formats.map(int16),
    int16(values.length),
    ...encoded,
    int16(results.length),
    ...results.map(int16),
  );
}

type What = 'statement' | 'portal';
const letter = (what: What): Buffer => Buffer.from(what === 'statement' ? 'S' : 'P');

export const describe = (what: What, name = ''): Buffer =>
  message('D', letter(what), cstring(name));
export const close = (what: What, name = ''): Buffer => message('C', letter(what), cstring(name));
export const execute = (portal = '', rows = 0): Buffer =>
  message('E', cstring(portal), int32(rows));

/** Parse, Bind, Describe and Execute of an unnamed statement, without Sync. */
export function extended(sql: string, values: readonly Value[] = []): Buffer {
  return Buffer.concat([parse(sql), bind(values), describe('portal'), execute()]);
}

/** One message as it came from a peer. */
export interface Received {
  readonly type: string;
  readonly body: Buffer;
}

/** Cuts a stream of typed messages; feed it chunks as they come. */
export class Splitter {
  #rest: Buffer = Buffer.alloc(0);

  get left(): Buffer {
    return this.#rest;
  }

  push(chunk: Buffer): Received[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const found: Received[] = [];
    let at = 0;
    while (this.#rest.length - at >= 5) {
      const length = this.#rest.readInt32BE(at + 1);
      if (length < 4) throw new Error(`a message with length ${length}`);
      if (this.#rest.length - at < length + 1) break;
      const type = String.fromCharCode(this.#rest[at] ?? 0);
      found.push({ type, body: this.#rest.subarray(at + 5, at + 1 + length) });
      at += length + 1;
    }
    if (at > 0) this.#rest = Buffer.from(this.#rest.subarray(at));
    return found;
  }
}

/** The fields of an ErrorResponse or NoticeResponse by their letter. */
export function fields(body: Buffer): { readonly [field: string]: string } {
  const found: { [field: string]: string } = {};
  for (const part of body.toString('utf8').split('\0')) {
    if (part !== '') found[part.slice(0, 1)] = part.slice(1);
  }
  return found;
}

/**
 * A server's message as one line: what two transcripts are compared by. Numbers that differ by run
 * are left out.
 */
export function line({ type, body }: Received): string {
  switch (type) {
    case 'E':
    case 'N': {
      const { S, C, M, D, H, P } = fields(body);
      const rest = [D && `D=${D}`, H && `H=${H}`, P && `P=${P}`].filter(Boolean).join(' ');
      return `${type} ${S} ${C} ${M}${rest === '' ? '' : ` ${rest}`}`;
    }
    case 'T':
      return `T ${columnsOf(body).join(', ')}`;
    case 'K':
      return 'K';
    case 'A':
      return `A ${JSON.stringify(body.toString('latin1', 4))}`;
    default:
      return body.length === 0 ? type : `${type} ${JSON.stringify(body.toString('latin1'))}`;
  }
}

/**
 * Column name, type OID and format of a RowDescription; table OIDs differ from database to
 * database.
 */
function columnsOf(body: Buffer): string[] {
  const columns: string[] = [];
  let at = 2;
  for (let i = body.readInt16BE(0); i > 0; i--) {
    const end = body.indexOf(0, at);
    const name = body.toString('utf8', at, end);
    columns.push(`${name}:${body.readInt32BE(end + 7)}:${body.readInt16BE(end + 17)}`);
    at = end + 19;
  }
  return columns;
}
