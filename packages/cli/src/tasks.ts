/** Waiting for what the service does in the background, with progress on stderr. */
import { setTimeout as delay } from 'node:timers/promises'
import type { OperationLog } from '@opencbr/contract'
import type { Api, QueryValue } from './api.ts'
import { CommandFailure, exitCodes } from './exit-codes.ts'
import { printNote, safeText } from './output.ts'

const POLL_MS_MIN = 100
const POLL_MS_MAX = 2000

export interface WaitOptions {
  /** Give up after so many seconds, undefined: never. The task itself goes on. */
  readonly timeoutSeconds?: number | undefined
}

export function isFinal(task: Pick<OperationLog, 'status'>): boolean {
  return task.status !== 'waiting' && task.status !== 'running'
}

/** The newest tasks that match. */
export async function listTasks(api: Api, query: Readonly<Record<string, QueryValue>>): Promise<readonly OperationLog[]> {
  const answer = await api.call<{ operation_logs: readonly OperationLog[] }>('GET', '/v3/{project_id}/operation-logs', { query })
  return answer.operation_logs
}

export async function showTask(api: Api, id: string): Promise<OperationLog> {
  const path = `/v3/{project_id}/operation-logs/${encodeURIComponent(id)}`
  return (await api.call<{ operation_log: OperationLog }>('GET', path)).operation_log
}

/**
 * Runs a call that starts tasks, and finds those that are new after it. For calls whose answer does
 * not name their task: the task exists before the call is answered, so the difference is complete.
 */
export async function tasksStartedBy(api: Api, query: Readonly<Record<string, QueryValue>>, start: () => Promise<unknown>): Promise<readonly OperationLog[]> {
  const before = new Set((await listTasks(api, query)).map(({ id }) => id))
  await start()
  return (await listTasks(api, query)).filter(({ id }) => !before.has(id))
}

/**
 * Waits until every task has ended, and shows how far they are. Resolves to the tasks as they ended.
 * Throws a `CommandFailure`: `taskFailed` unless all ended in success, `stillRunning` at the timeout.
 */
export async function waitForTasks(api: Api, ids: readonly string[], options: WaitOptions = {}): Promise<readonly OperationLog[]> {
  const tasks = await waitForEnds(api, ids, options)
  const failed = tasks.filter((task) => task.status !== 'success')
  if (failed.length > 0) throw new CommandFailure('taskFailed', failed.map(describeFailure).join('\n'), { answer: { operation_logs: tasks } })
  return tasks
}

/** Waits until a task has ended, however it does. */
export async function waitForEnd(api: Api, id: string, options: WaitOptions = {}): Promise<OperationLog> {
  const [task] = await waitForEnds(api, [id], options)
  if (task === undefined) throw new TypeError('a task was waited for and is not there')
  return task
}

async function waitForEnds(api: Api, ids: readonly string[], { timeoutSeconds }: WaitOptions): Promise<readonly OperationLog[]> {
  const deadline = timeoutSeconds === undefined ? Infinity : performance.now() + timeoutSeconds * 1000
  const comeBack = `The work goes on. To wait for it again: opencbr task wait ${ids.join(' ')}`
  const onInterrupt = (): void => {
    printNote(`\n${comeBack}`)
    process.exit(exitCodes.interrupted.code)
  }
  process.once('SIGINT', onInterrupt)
  const show = progressLine()
  try {
    let pauseMs = POLL_MS_MIN
    const ended = new Map<string, OperationLog>()
    for (;;) {
      for (const id of ids) {
        if (ended.has(id)) continue
        const task = await showTask(api, id)
        show(id, describeProgress(task))
        if (isFinal(task)) ended.set(id, task)
      }
      if (ended.size === ids.length) break
      if (performance.now() >= deadline) throw new CommandFailure('stillRunning', `The time is up after ${timeoutSeconds} s. ${comeBack}`)
      await delay(pauseMs)
      pauseMs = Math.min(pauseMs * 1.5, POLL_MS_MAX)
    }
    return [...ended.values()]
  } finally {
    process.off('SIGINT', onInterrupt)
    show.end()
  }
}

export function subjectOf(task: OperationLog): string {
  return task.extra_info.resource?.name ?? task.extra_info.resource?.id ?? task.vault_name ?? task.id
}

function describeProgress(task: OperationLog): string {
  const share = task.status === 'running' ? ` ${task.extra_info.common.progress} %` : ''
  return safeText(`${task.operation_type} ${subjectOf(task)}: ${task.status}${share}`)
}

function describeFailure(task: OperationLog): string {
  const { code, message } = task.error_info
  const reason = [code, message].filter((part) => part !== '').join(': ')
  return safeText(`The task ${task.id} (${task.operation_type} ${subjectOf(task)}) ended as ${task.status}${reason === '' ? '' : `: ${reason}`}`)
}

interface ProgressLine {
  (key: string, text: string): void
  /** Ends the line that is being rewritten, if there is one. */
  end(): void
}

/** One line that is rewritten on a terminal; elsewhere a line for each step that says something new. */
function progressLine(): ProgressLine {
  const terminal = process.stderr.isTTY === true
  const latest = new Map<string, string>()
  let open = false
  const show = (key: string, text: string): void => {
    const before = latest.get(key)
    latest.set(key, text)
    if (terminal) {
      const columns = process.stderr.columns || 80
      process.stderr.write(`\r\u001B[2K${[...latest.values()].join(' · ').slice(0, columns - 1)}`)
      open = true
    } else if (stepOf(before) !== stepOf(text)) printNote(text)
  }
  show.end = (): void => {
    if (open) process.stderr.write('\n')
  }
  return show
}

/** Progress in a log moves in tens of percents, not in every one. */
function stepOf(text: string | undefined): string | undefined {
  return text?.replace(/\d (?=%$)/, '')
}
