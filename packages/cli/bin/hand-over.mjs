/**
 * Hands a command over to the Node that OpenCBR runs on.
 *
 * Users start us with whatever Node their system has; the project needs 26. npm brings that one as
 * an optional dependency, so this file, which has to run on Node 20, finds it, starts it on a
 * TypeScript file and stays in between only as a go-between: input and output are the child's own,
 * signals are passed on, and the exit code or the fatal signal becomes ours.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAJOR_NEEDED = 26

/** The root of the checkout, without a slash at its end. */
export const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '')

/** The Node to run on: the one npm brought, else the running one if it is new enough. */
export function findNode() {
  const brought = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  if (existsSync(brought)) return brought
  if (Number.parseInt(process.versions.node, 10) >= MAJOR_NEEDED) return process.execPath
  return undefined
}

/** Runs one file with that Node and ends this process the way it ended. Never returns normally. */
export async function handOver(file, args) {
  const node = findNode()
  if (node === undefined) {
    fail(
      `OpenCBR runs on Node ${MAJOR_NEEDED}; this is Node ${process.versions.node}. npm brings the right one on Linux x64 and ` +
        `arm64: run "npm ci --include=optional" in ${root}. On another system, install Node ${MAJOR_NEEDED} and use that.`,
    )
  }
  // SQLite and the foreign function interface still count as experimental in Node; its note about
  // that is none of the user's business. The switch is an argument, not NODE_OPTIONS, because an
  // older Node that we start in turn would refuse it there.
  // Translated and compiled code is kept, which halves the time that a short command takes. Where the
  // folder cannot be written, Node does without.
  const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'), ...process.env }
  // A server runs for months: without these, memory that was once needed for young objects, or by one thread, stays taken, and what is
  // garbage may become as much as what is not.
  const serves = args.includes('serve')
  const switches = ['--disable-warning=ExperimentalWarning', ...(serves ? ['--max-semi-space-size=4', '--heap-growing-percent=30'] : [])]
  const ended = await runPassingSignals(node, [...switches, file, ...args], {
    stdio: 'inherit',
    env: serves ? { MALLOC_ARENA_MAX: '1', ...env } : env,
  }).catch((error) => fail(`${node} cannot be started: ${error.message}`))
  endLike(ended)
}

/**
 * Runs a program to its end. Signals that ask this process to stop go to the program instead, and
 * this process waits for what the program makes of them. Resolves to { code, signal }.
 */
export function runPassingSignals(program, args, options, whenStarted = () => {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, options)
    const passOn = (signal) => child.kill(signal)
    const signals = ['SIGTERM', 'SIGINT', 'SIGHUP']
    for (const signal of signals) process.on(signal, passOn)
    const settle = (action) => {
      for (const signal of signals) process.off(signal, passOn)
      action()
    }
    child.on('error', (error) => settle(() => reject(error)))
    child.on('close', (code, signal) => settle(() => resolve({ code, signal })))
    whenStarted(child)
  })
}

/** Ends this process as another one ended: with the same exit code, or by the same signal. */
export function endLike({ code, signal }) {
  if (signal === null) process.exit(code)
  process.kill(process.pid, signal)
  // A signal that this process survives, or that arrives late, ends it as a shell would report it.
  process.exit(128 + (constants.signals[signal] ?? 0))
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
