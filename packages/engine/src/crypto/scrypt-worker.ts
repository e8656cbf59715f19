/**
 * The thread that applies ROMix to the lanes that it is given, and then ends; `scrypt-threads.ts` starts it.
 * It loads nothing, for it has to be at work at once.
 */
import { parentPort } from 'node:worker_threads'
import type { ScryptLanes } from './scrypt-lanes.ts'

interface RomixExports {
  readonly memory: WebAssembly.Memory
  romix(): void
}

parentPort?.once('message', ({ module, lanesAtOnce, lanes, stateBytes, laneBytes }: ScryptLanes) => {
  const { memory, romix } = new WebAssembly.Instance(module).exports as unknown as RomixExports
  const states = new Uint8Array(memory.buffer)
  for (let at = 0; at < lanes.length; at += lanesAtOnce * stateBytes) {
    // Where lanes are missing at the end, the module mixes what lies in their places.
    const count = Math.min(lanesAtOnce, (lanes.length - at) / stateBytes)
    for (let i = 0; i < count; i += 1) states.set(lanes.subarray(at + i * stateBytes, at + (i + 1) * stateBytes), i * laneBytes)
    romix()
    for (let i = 0; i < count; i += 1) lanes.set(states.subarray(i * laneBytes, i * laneBytes + stateBytes), at + i * stateBytes)
  }
  parentPort?.postMessage(lanes, [])
})
