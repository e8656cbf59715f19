/** The part of the WebAssembly interface that this package uses; Node's types leave it to the browser's. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array)
  }
  class Instance {
    constructor(module: Module, imports?: Record<string, unknown>)
    readonly exports: Record<string, unknown>
  }
  class Memory {
    constructor(descriptor: { initial: number, maximum?: number })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  class Global<Kind extends 'i32' | 'i64'> {
    value: Kind extends 'i64' ? bigint : number
  }
}
