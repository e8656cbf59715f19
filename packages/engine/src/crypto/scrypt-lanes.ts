import { assembleScrypt, DIAGONAL_ORDER, laneBytes } from './scrypt-module.ts'

/** Lanes of scrypt that follow each other, each of 128·r bytes, and the module that mixes some of them at once. */
export interface ScryptLanes {
  readonly module: WebAssembly.Module
  readonly lanes: Uint8Array
  /** How many it mixes at once. */
  readonly lanesAtOnce: number
  /** Bytes of a lane. */
  readonly stateBytes: number
  /** Bytes of the module's memory from one lane to the next. */
  readonly laneBytes: number
}

/** The steps of several lanes fill each other's waiting times; with more of them, the processor has no registers left. */
const LANES_AT_ONCE_MAX = 4
const LANES_BYTES_MAX = 64 * 2 ** 20

/** What a thread needs for lanes, whose words it gets and gives back in the diagonal order. */
export function prepareLanes(lanes: Uint8Array, { N, r }: { readonly N: number, readonly r: number }): ScryptLanes {
  const stateBytes = 128 * r
  const count = lanes.length / stateBytes
  const fitting = Math.max(1, Math.min(LANES_AT_ONCE_MAX, Math.floor(LANES_BYTES_MAX / (stateBytes * N))))
  const lanesAtOnce = Math.ceil(count / Math.ceil(count / fitting))
  return { module: moduleOf(lanesAtOnce, N, r), lanesAtOnce, lanes: inDiagonalOrder(lanes, false), stateBytes, laneBytes: laneBytes(N, r) }
}

const modules = new Map<string, WebAssembly.Module>()

function moduleOf(lanes: number, N: number, r: number): WebAssembly.Module {
  const key = `${lanes} ${N} ${r}`
  const module = modules.get(key) ?? new WebAssembly.Module(assembleScrypt(lanes, N, r))
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
