/** One agent process: started, spoken to, watched, ended. */
import { fork, type ChildProcess } from 'node:child_process'
import { agentProgramPath, type AgentSettings, type FromAgent, type ToAgent } from '@opencbr/agent'

/** A process that has missed so many of its signs of life hangs. */
const SILENT_TICKS_MAX = 12

/** Of the server's environment only what a program needs to run at all: secrets are not passed on. */
const PASSED_ON = /^(PATH|HOME|LANG|LC_\w+|TZ|TMPDIR)$/

export interface AgentProcess {
  /** Names this process as the holder of leases. */
  readonly holder: string
  readonly send: (message: ToAgent) => void
  /** Resolves when the process has ended and everything that it said has been passed on. */
  readonly ended: Promise<void>
  readonly kill: () => void
}

export function startAgentProcess(
  holder: string, settings: AgentSettings, onMessage: (message: FromAgent) => void, log: (text: string) => void,
): AgentProcess {
  const child = fork(agentProgramPath, [], {
    serialization: 'advanced',
    execArgv: ['--disable-warning=ExperimentalWarning'],
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name))),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const stopWatching = watch(child, settings.aliveEveryMs, log)
  child.on('message', (message) => onMessage(message as FromAgent))
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  child.on('error', (error) => {
    log(`the agent cannot be started: ${error.message}`)
    if (child.pid === undefined) resolve()
  })
  // Not 'exit': that comes as soon as the process is dead, and its last words may still be on the way.
  child.on('close', () => resolve())
  const send = (message: ToAgent): void => {
    // An error means that the process is ending, which is noticed in any case.
    if (child.connected) child.send(message, () => undefined)
  }
  send({ type: 'settings', settings })
  return {
    holder,
    send,
    ended: ended.finally(stopWatching),
    kill: () => void child.kill('SIGKILL'),
  }
}

/**
 * Kills a process that hangs. Counted in ticks and not by a clock: when the server itself was held
 * up, ticks are missing too, and messages that waited meanwhile are read before the next one.
 */
function watch(child: ChildProcess, everyMs: number, log: (text: string) => void): () => void {
  let silentTicks = 0
  child.on('message', () => {
    silentTicks = 0
  })
  const timer = setInterval(() => {
    silentTicks += 1
    if (silentTicks <= SILENT_TICKS_MAX) return
    log('the agent does not answer and is killed')
    child.kill('SIGKILL')
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
