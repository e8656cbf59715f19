/** The part of the WebAssembly interface that this package uses; Node's types leave it to the browser's. */
declare namespace WebAssembly {
  interface Module {
    readonly [Symbol.toStringTag]: 'WebAssembly.Module'
  }
  const Module: new (bytes: Uint8Array) => Module
  interface Instance {
    readonly exports: Record<string, unknown>
  }
  const Instance: new (module: Module, imports?: Record<string, unknown>) => Instance
  interface Memory {
    readonly buffer: ArrayBuffer
  }
  interface Global<Kind extends 'i32' | 'i64'> {
    value: Kind extends 'i64' ? bigint : number
  }
}
