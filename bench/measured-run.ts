/** Runs a program and measures what the whole of it costs, as `time -v` would. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'

export interface Cost {
  readonly wallSeconds: number
  /** User and system time of all its threads. */
  readonly cpuSeconds: number
  readonly peakBytes: number
}

const SAMPLE_MS = 10
const RUSAGE_CHILDREN = -1
/** Of `struct rusage`; its first four words are the user time and the system time in seconds and microseconds. */
const RUSAGE_WORDS = 18

const libc = process.getBuiltinModule('node:ffi').dlopen(null, {
  getrusage: { return: 'i32', arguments: ['i32', 'pointer'] },
}).functions

/** Processor time of all children that have ended so far. */
function childrenCpuSeconds(): number {
  const usage = new BigInt64Array(RUSAGE_WORDS)
  assert.equal(libc.getrusage(RUSAGE_CHILDREN, usage), 0)
  const [userSeconds = 0n, userMicroseconds = 0n, systemSeconds = 0n, systemMicroseconds = 0n] = usage
  return Number(userSeconds + systemSeconds) + Number(userMicroseconds + systemMicroseconds) / 1e6
}

/** Runs a program to its successful end. No other child of this process may end meanwhile. */
export async function measureRun(program: string, commandLine: readonly string[], environment: NodeJS.ProcessEnv): Promise<Cost> {
  const cpuBefore = childrenCpuSeconds()
  const startedAt = performance.now()
  const child = spawn(program, commandLine, { env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.on('data', (text: Buffer) => { output += text.toString() })
  let peakBytes = 0
  // The kernel's own high-water mark; what `wait` tells would include this process before it became the other.
  const sampling = setInterval(() => { peakBytes = Math.max(peakBytes, peakBytesOf(child.pid)) }, SAMPLE_MS)
  try {
    const [exitCode] = (await once(child, 'exit')) as [number | null]
    const wallSeconds = (performance.now() - startedAt) / 1000
    assert.equal(exitCode, 0, `${program} ${commandLine.join(' ')} ended with ${exitCode}:\n${output}`)
    return { wallSeconds, cpuSeconds: childrenCpuSeconds() - cpuBefore, peakBytes }
  } finally {
    clearInterval(sampling)
  }
}

function peakBytesOf(pid: number | undefined): number {
  try {
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? 0 : Number(kibibytes) * 1024
  } catch {
    // It has just ended.
    return 0
  }
}
