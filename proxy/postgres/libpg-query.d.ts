// The WASM module inside libpg-query, as far as parser.ts uses it: each call of the default export
// makes a fresh instance.
declare module 'libpg-query/wasm/libpg-query.js' {
  export interface GrammarModule {
    /** Another array when the memory has grown. */
    readonly HEAPU8: Uint8Array<ArrayBuffer>;
    _malloc(size: number): number;
    _free(pointer: number): void;
    _wasm_parse_query_raw(text: number): number;
    _wasm_free_parse_result(result: number): void;
    _wasm_parse_plpgsql(text: number): number;
    _wasm_fingerprint(text: number): number;
    _wasm_normalize_query(text: number): number;
    _wasm_scan(text: number): number;
    _wasm_free_string(text: number): void;
  }
  export default function createGrammar(): Promise<GrammarModule>;
}
