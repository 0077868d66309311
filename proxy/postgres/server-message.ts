// What a server may send after the handshake, as far as the proxy must read it; the rest passes by
// length. (PostgreSQL documentation, "Message Formats", B messages.) Invariant: nothing here copies
// row data.
import { Reader } from '../bytes/reader.ts';
import { HEADER } from './frame.ts';

/** CommandComplete: String tag, for example `DELETE 3`, `SELECT 10`, `COPY 5`. */
export function decodeCommandComplete(frame: Buffer): { tag: string; rows: number | null } {
  const reader = new Reader(frame, HEADER, frame.length);
  const tag = reader.cstring();
  const count = /(\d+)$/.exec(tag)?.[1];
  return { tag, rows: count === undefined ? null : Number(count) };
}

/** ReadyForQuery: Byte1 `I` idle, `T` in a transaction block, `E` in a failed one. */
export type TransactionStatus = 'I' | 'T' | 'E';

export function decodeReadyForQuery(frame: Buffer): TransactionStatus {
  const status = String.fromCharCode(frame.readUInt8(HEADER));
  return status === 'I' || status === 'T' ? status : 'E';
}

/** ParameterStatus: String name, String value. */
export function decodeParameterStatus(frame: Buffer): { name: string; value: string } {
  const reader = new Reader(frame, HEADER, frame.length);
  return { name: reader.cstring(), value: reader.cstring() };
}

/** ErrorResponse: severity, code and message; the other fields stay between client and server. */
export function decodeError(frame: Buffer): {
  severity: string;
  code: string;
  message: string;
  position: number | null;
} {
  const reader = new Reader(frame, HEADER, frame.length);
  const found: Record<string, string> = {};
  for (;;) {
    const field = reader.byte();
    if (field === 0) break;
    found[String.fromCharCode(field)] = reader.cstring();
  }
  return {
    severity: found.V ?? found.S ?? 'ERROR',
    code: found.C ?? 'XX000',
    message: found.M ?? '',
    position: found.P === undefined ? null : Number(found.P),
  };
}

/** ParameterDescription: Int16 n, Int32[n] type OIDs. */
export function decodeParameterDescription(frame: Buffer): readonly number[] {
  const reader = new Reader(frame, HEADER, frame.length);
  const count = reader.int16() & 0xffff;
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  return types;
}

/** The columns of a DataRow as text; for the proxy's own SHOW queries. */
export function decodeDataRow(frame: Buffer): readonly (string | null)[] {
  const reader = new Reader(frame, HEADER, frame.length);
  const count = reader.int16() & 0xffff;
  const columns: (string | null)[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.int32();
    columns.push(length < 0 ? null : reader.slice(length).toString('utf8'));
  }
  return columns;
}
