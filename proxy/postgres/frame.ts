// PostgreSQL frames: one byte of type, Int32 length that counts itself but not the type, body.
// (PostgreSQL documentation, "Message Formats".) Invariant: a length is checked before it is
// believed.
import { LIMITS } from '../limits.ts';

/** Bytes of type and length before a body. */
export const HEADER = 5;

/** Message types by their byte, named as the manual names them. */
export const CLIENT = {
  bind: 0x42, // B
  close: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  describe: 0x44, // D
  execute: 0x45, // E
  flush: 0x48, // H
  functionCall: 0x46, // F
  parse: 0x50, // P
  password: 0x70, // p
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const;

export const SERVER = {
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  commandComplete: 0x43, // C
  copyBothResponse: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  dataRow: 0x44, // D
  emptyQueryResponse: 0x49, // I
  errorResponse: 0x45, // E
  noData: 0x6e, // n
  noticeResponse: 0x4e, // N
  notificationResponse: 0x41, // A
  parameterDescription: 0x74, // t
  parameterStatus: 0x53, // S
  parseComplete: 0x31, // 1
  portalSuspended: 0x73, // s
  readyForQuery: 0x5a, // Z
  rowDescription: 0x54, // T
} as const;

/**
 * Length of the whole message (type, length and body) whose header starts at `at`; the header must
 * be there.
 */
export function frameLength(bytes: Buffer, at: number): number {
  return 1 + bytes.readInt32BE(at + 1);
}

/** The longest message of a client's that is taken, by its type. */
export function mostBytes(type: number): number {
  switch (type) {
    case CLIENT.query:
    case CLIENT.parse:
      return LIMITS.client_statement_bytes;
    case CLIENT.bind:
    case CLIENT.copyData:
      return LIMITS.client_message_bytes;
    default:
      return LIMITS.client_small_message_bytes;
  }
}
