/**
 * The thread that applies ROMix to the lanes that it was started with, two at a time, and then ends; `scrypt.ts` starts it.
 * It loads nothing, for it has to be at work at once.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { ScryptLanes } from './scrypt-lanes.ts'

interface RomixExports {
  readonly memory: WebAssembly.Memory
  romix(): void
}

const { module, lanes, stateBytes, laneBytes } = workerData as ScryptLanes
const { memory, romix } = new WebAssembly.Instance(module).exports as unknown as RomixExports
const states = new Uint8Array(memory.buffer)
for (let at = 0; at < lanes.length; at += 2 * stateBytes) {
  // Where a second lane is missing, the module mixes what lies in its place.
  const offsets = [0, laneBytes].slice(0, (lanes.length - at) / stateBytes)
  for (const [i, offset] of offsets.entries()) states.set(lanes.subarray(at + i * stateBytes, at + (i + 1) * stateBytes), offset)
  romix()
  for (const [i, offset] of offsets.entries()) lanes.set(states.subarray(offset, offset + stateBytes), at + i * stateBytes)
}
parentPort?.postMessage(lanes, [])
