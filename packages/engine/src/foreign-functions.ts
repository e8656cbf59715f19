/**
 * Node's foreign function interface, or undefined where the runtime has none or may not use it. Node
 * warns once in each thread that it is experimental; the exact runtime is pinned by the project, so
 * that this tells a user nothing, and this warning alone is dropped.
 */
export function loadForeignFunctions(): typeof import('node:ffi') | undefined {
  const emitWarning = process.emitWarning
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (rest[0] === 'ExperimentalWarning' && String(warning).startsWith('FFI ')) return
    Reflect.apply(emitWarning, process, [warning, ...rest])
  }
  try {
    return process.getBuiltinModule('node:ffi')
  } catch {
    return undefined
  } finally {
    process.emitWarning = emitWarning
  }
}
