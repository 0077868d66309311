// What a server may send after the handshake, as far as the proxy must read it; the rest passes by
// length. (PostgreSQL documentation, "Message Formats", B messages.) Invariant: a decoder reads
// exactly its frame, `bytes[at, end)`; nothing here copies row data.
import { Reader } from '../bytes/reader.ts';
import { HEADER } from './frame.ts';

/** CommandComplete: String tag, for example `DELETE 3`, `SELECT 10`, `COPY 5`. */
export function decodeCommandComplete(
  bytes: Buffer,
  at: number,
  end: number,
): { tag: string; rows: number | null } {
  const reader = new Reader(bytes, at + HEADER, end);
  const tag = reader.cstring();
  const count = /(\d+)$/.exec(tag)?.[1];
  return { tag, rows: count === undefined ? null : Number(count) };
}

/** ReadyForQuery: Byte1 `I` idle, `T` in a transaction block, `E` in a failed one. */
export type TransactionStatus = 'I' | 'T' | 'E';

export function decodeReadyForQuery(bytes: Buffer, at: number, end: number): TransactionStatus {
  switch (new Reader(bytes, at + HEADER, end).byte()) {
    case 0x49:
      return 'I';
    case 0x54:
      return 'T';
    default:
      return 'E';
  }
}

/** ParameterStatus: String name, String value. */
export function decodeParameterStatus(
  bytes: Buffer,
  at: number,
  end: number,
): { name: string; value: string } {
  const reader = new Reader(bytes, at + HEADER, end);
  return { name: reader.cstring(), value: reader.cstring() };
}

/** ErrorResponse: severity, code and message; the other fields stay between client and server. */
export function decodeError(
  bytes: Buffer,
  at: number,
  end: number,
): {
  severity: string;
  code: string;
  message: string;
  position: number | null;
} {
  const reader = new Reader(bytes, at + HEADER, end);
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
export function decodeParameterDescription(
  bytes: Buffer,
  at: number,
  end: number,
): readonly number[] {
  const reader = new Reader(bytes, at + HEADER, end);
  const count = reader.int16() & 0xffff;
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  return types;
}

/** The columns of a DataRow as text; for the proxy's own SHOW queries. */
export function decodeDataRow(bytes: Buffer, at: number, end: number): readonly (string | null)[] {
  const reader = new Reader(bytes, at + HEADER, end);
  const count = reader.int16() & 0xffff;
  const columns: (string | null)[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.int32();
    columns.push(length < 0 ? null : reader.slice(length).toString('utf8'));
  }
  return columns;
}
