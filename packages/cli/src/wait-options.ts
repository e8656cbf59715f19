import type { Command } from 'commander'
import type { OperationLog } from '@opencbr/contract'
import type { Api } from './api.ts'
import { wholeNumber } from './command.ts'
import { printNote } from './output.ts'
import { waitForTasks } from './tasks.ts'

/** The options of every command that starts tasks. */
export interface WaitFlags {
  readonly wait?: boolean
  readonly timeout?: number
}

export function addWaitOptions(command: Command): Command {
  return command
    .option('--wait', 'wait until the work has ended, and show how far it is')
    .option('--timeout <seconds>', 'with --wait: stop waiting after so long', wholeNumber('--timeout'))
}

/** Waits for the tasks if that was asked for; otherwise says how to follow them. */
export async function finishTasks(api: Api, tasks: readonly OperationLog[], { wait, timeout }: WaitFlags): Promise<void> {
  const ids = tasks.map(({ id }) => id)
  if (wait === true) await waitForTasks(api, ids, { timeoutSeconds: timeout })
  else if (ids.length > 0) printNote(`To wait for it: opencbr task wait ${ids.join(' ')}`)
}
