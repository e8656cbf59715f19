import { assembleScrypt, DIAGONAL_ORDER, laneBytes } from './scrypt-module.ts'

/** Lanes of scrypt that follow each other, each of 128·r bytes. */
export interface ScryptLanes {
  readonly N: number
  readonly r: number
  readonly lanes: Uint8Array
}

interface RomixExports {
  readonly memory: WebAssembly.Memory
  romix(): void
}

/** Applies ROMix to every lane, two at a time. */
export function mixLanes({ N, r, lanes }: ScryptLanes): Uint8Array {
  const stateBytes = 128 * r
  const mixed = new Uint8Array(lanes.length)
  for (let at = 0; at < lanes.length;) {
    const count = lanes.length - at > stateBytes ? 2 : 1
    const module = instantiate(count, N, r)
    const memory = new Uint8Array(module.memory.buffer)
    for (let lane = 0; lane < count; lane += 1) {
      const own = at + lane * stateBytes
      inDiagonalOrder(lanes.subarray(own, own + stateBytes), memory.subarray(lane * laneBytes(N, r)), false)
    }
    module.romix()
    for (let lane = 0; lane < count; lane += 1) {
      inDiagonalOrder(memory.subarray(lane * laneBytes(N, r)), mixed.subarray(at + lane * stateBytes, at + (lane + 1) * stateBytes), true)
    }
    at += count * stateBytes
  }
  return mixed
}

const instances = new Map<string, RomixExports>()

function instantiate(lanes: 1 | 2, N: number, r: number): RomixExports {
  const key = `${lanes} ${N} ${r}`
  const known = instances.get(key)
  if (known !== undefined) return known
  const module = new WebAssembly.Instance(new WebAssembly.Module(assembleScrypt(lanes, N, r))).exports as unknown as RomixExports
  instances.set(key, module)
  return module
}

/** Copies a state word by word into the diagonal order, or back out of it. */
function inDiagonalOrder(from: Uint8Array, to: Uint8Array, back: boolean): void {
  const length = Math.min(from.length, to.length)
  for (let block = 0; block < length; block += 64) {
    for (const [place, word] of DIAGONAL_ORDER.entries()) {
      const source = block + 4 * (back ? place : word)
      const target = block + 4 * (back ? word : place)
      for (let byte = 0; byte < 4; byte += 1) to[target + byte] = from[source + byte] ?? 0
    }
  }
}
