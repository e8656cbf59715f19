import { assembleScrypt, DIAGONAL_ORDER, laneBytes } from './scrypt-module.ts'

/** Lanes of scrypt that follow each other, each of 128·r bytes, and the module that mixes some of them at once. */
export interface ScryptLanes {
  readonly module: WebAssembly.Module
  readonly lanes: Uint8Array
  /** Bytes of a lane. */
  readonly stateBytes: number
  /** Bytes of the module's memory from one lane to the next. */
  readonly laneBytes: number
}

/** What a thread needs for lanes, whose words it gets and gives back in the diagonal order. */
export function prepareLanes(lanes: Uint8Array, { N, r }: { readonly N: number, readonly r: number }): ScryptLanes {
  return { module: moduleOf(N, r), lanes: inDiagonalOrder(lanes, false), stateBytes: 128 * r, laneBytes: laneBytes(N, r) }
}

const modules = new Map<string, WebAssembly.Module>()

function moduleOf(N: number, r: number): WebAssembly.Module {
  const key = `${N} ${r}`
  const module = modules.get(key) ?? new WebAssembly.Module(assembleScrypt(2, N, r))
  modules.set(key, module)
  return module
}

/** Copies states word by word into the diagonal order, or back out of it. */
export function inDiagonalOrder(from: Uint8Array, back: boolean): Uint8Array {
  const to = new Uint8Array(from.length)
  for (let block = 0; block < from.length; block += 64) {
    for (const [place, word] of DIAGONAL_ORDER.entries()) {
      const source = block + 4 * (back ? place : word)
      const target = block + 4 * (back ? word : place)
      for (let byte = 0; byte < 4; byte += 1) to[target + byte] = from[source + byte] ?? 0
    }
  }
  return to
}
