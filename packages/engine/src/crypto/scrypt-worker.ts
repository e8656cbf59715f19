/** The thread that does the lanes of scrypt that it was started with, and then ends; `scrypt.ts` starts it. */
import assert from 'node:assert/strict'
import { parentPort, workerData } from 'node:worker_threads'
import { mixLanes, type ScryptLanes } from './scrypt-lanes.ts'

assert(parentPort !== null)
parentPort.postMessage(mixLanes(workerData as ScryptLanes), [])
