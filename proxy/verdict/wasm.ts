// What the verdict stage uses of WebAssembly. TypeScript declares it with the browser's library
// only.
// Invariant: names and meanings are those of the WebAssembly JavaScript interface.

/** A compiled module: opaque. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
export interface WasmInstance {
  readonly exports: { readonly [name: string]: unknown };
}
interface Constructors {
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Memory: new (pages: { initial: number; maximum: number }) => WasmMemory;
  readonly Instance: new (
    module: WasmModule,
    imports: { readonly [space: string]: { readonly [name: string]: unknown } },
  ) => WasmInstance;
}

export const wasm = (globalThis as unknown as { readonly WebAssembly: Constructors }).WebAssembly;
