// Messages of the proxy's own: errors and notices to the client, and what it adds on the way to the
// server.
// Invariant: every statement the proxy adds uses a name of its own and leaves no trace in the
// client's names.
import { Writer } from '../bytes/writer.ts';

export interface Report {
  readonly severity: 'ERROR' | 'FATAL' | 'NOTICE';
  readonly code: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
}

/** ErrorResponse or NoticeResponse ("Error and Notice Message Fields": S, V, C, M, D, H, R). */
export function encodeReport(report: Report): Buffer {
  const writer = new Writer();
  const field = (type: string, value: string | undefined): void => {
    if (value !== undefined) writer.byte(type.charCodeAt(0)).cstring(value);
  };
  field('S', report.severity);
  field('V', report.severity);
  field('C', report.code);
  field('M', report.message);
  field('D', report.detail);
  field('H', report.hint);
  field('R', 'holdpoint');
  return writer.byte(0).message(report.severity === 'NOTICE' ? 'N' : 'E');
}

export function encodeReadyForQuery(status: string): Buffer {
  return new Writer().byte(status.charCodeAt(0)).message('Z');
}

export function encodeParameterStatus(name: string, value: string): Buffer {
  return new Writer().cstring(name).cstring(value).message('S');
}

export function encodeBackendKeyData(processId: number, secret: Buffer): Buffer {
  return new Writer().int32(processId).bytes(secret).message('K');
}

export const AUTHENTICATION_OK = new Writer().int32(0).message('R');
export const SYNC = new Writer().message('S');
export const FLUSH = new Writer().message('H');
export const TERMINATE = new Writer().message('X');

/** The proxy's own prepared statement and portal; clients may not use names that start so. */
export const OWN_NAME = 'holdpoint';

function parse(statement: string, text: string): Buffer {
  return new Writer().cstring(statement).cstring(text).int16(0).message('P');
}

function bind(portal: string, statement: string): Buffer {
  return new Writer().cstring(portal).cstring(statement).int16(0).int16(0).int16(0).message('B');
}

function execute(portal: string): Buffer {
  return new Writer().cstring(portal).int32(0).message('E');
}

function close(what: 'S' | 'P', name: string): Buffer {
  return new Writer().byte(what.charCodeAt(0)).cstring(name).message('C');
}

/**
 * One statement of the proxy's own: Close, Parse, Bind, Execute, Close, Close, then Sync where it
 * is a unit of its own, or Flush inside a unit of the client's. The extended protocol with a name
 * of its own, since a Query would drop the client's unnamed statement.
 */
export function encodeOwnStatement(text: string, end: Buffer): Buffer {
  return Buffer.concat([
    close('S', OWN_NAME),
    parse(OWN_NAME, text),
    bind(OWN_NAME, OWN_NAME),
    execute(OWN_NAME),
    close('P', OWN_NAME),
    close('S', OWN_NAME),
    end,
  ]);
}

/**
 * Parse and Close of a text under the proxy's own name: the server says whether it understands it,
 * and runs nothing.
 */
export function encodeProbe(text: Buffer): Buffer {
  const parse = new Writer().cstring(OWN_NAME).bytes(text).byte(0).int16(0).message('P');
  return Buffer.concat([close('S', OWN_NAME), parse, close('S', OWN_NAME), SYNC]);
}

/**
 * Something that the server is sure to fail at, in order and without running anything: Execute of a
 * portal that can't exist. Its error is replaced by the refusal; the server then skips to Sync and
 * aborts what the refusal must abort.
 */
export function encodeFailure(): Buffer {
  return execute('holdpoint: refused');
}
