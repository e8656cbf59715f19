import type { Command } from 'commander'
import type { OperationLog } from '@opencbr/contract'
import { addFilters, enterpriseProjectFilter, onRun, pagingFilters, readFilters, wholeNumber, type Filter } from '../command.ts'
import { findResourceId, findVaultId } from '../names.ts'
import { noteRest, printRecord, printTable, showTime } from '../output.ts'
import { isFinal, showTask, subjectOf, waitForEnd, waitForTasks } from '../tasks.ts'
import { showBytes } from './repository-progress.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'

export const taskFilters: readonly Filter[] = [
  { flags: '--operation-type <type>', parameter: 'operation_type', text: 'backup, restore, delete, remove_resource, vault_delete, sync, copy, replication' },
  { flags: '--status <status>', parameter: 'status', text: 'waiting, running, success, failed, timeout, skipped' },
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'about this vault', find: findVaultId },
  { flags: '--vault-name <name>', parameter: 'vault_name', text: 'about vaults with this name' },
  { flags: '--resource <resource>', parameter: 'resource_id', text: 'about this resource', find: findResourceId },
  { flags: '--resource-name <name>', parameter: 'resource_name', text: 'about resources with this name' },
  { flags: '--provider-id <id>', parameter: 'provider_id', text: 'of this backup engine' },
  { flags: '--start-time <time>', parameter: 'start_time', text: 'begun at this time or later, as in 2018-02-01T12:00:00Z' },
  { flags: '--end-time <time>', parameter: 'end_time', text: 'ended at this time or earlier' },
  enterpriseProjectFilter,
  ...pagingFilters,
]

export function addTask(program: Command): void {
  const group = program.command('task').description('the record of everything that runs in the background')

  const list = addFilters(group.command('list').description('list tasks, newest first'), taskFilters)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, taskFilters)
    const answer = await api.call<{ operation_logs: readonly OperationLog[], count: number }>('GET', '/v3/{project_id}/operation-logs', { query })
    print(answer, () => {
      printTable(answer.operation_logs, [
        { title: 'id', value: (task) => task.id },
        { title: 'type', value: (task) => task.operation_type },
        { title: 'subject', value: subjectOf },
        { title: 'status', value: (task) => task.status },
        { title: 'done', value: (task) => `${task.extra_info.common.progress} %`, align: 'right' },
        { title: 'created', value: (task) => showTime(task.created_at) },
        { title: 'ended', value: (task) => showTime(task.ended_at) },
        { title: 'error', value: (task) => task.error_info.message },
      ], 'No tasks.')
      noteRest(answer.operation_logs.length, answer.count)
    })
  })

  const show = group.command('show <task>').description('show a task')
  onRun(show, async ({ args: [id = ''], openApi, print }) => {
    const task = await showTask(await openApi(), id)
    print({ operation_log: task }, () => showRecord(task))
  })

  const wait = group.command('wait <task...>')
    .description('wait until tasks have ended, and show how far they are')
    .option('--timeout <seconds>', 'stop waiting after so long', wholeNumber('--timeout'))
  onRun<{ timeout?: number }>(wait, async ({ args: ids, options, openApi, print }) => {
    const tasks = await waitForTasks(await openApi(), ids, { timeoutSeconds: options.timeout })
    print({ operation_logs: tasks }, () => printTable(tasks, [
      { title: 'id', value: (task) => task.id },
      { title: 'type', value: (task) => task.operation_type },
      { title: 'status', value: (task) => task.status },
      { title: 'ended', value: (task) => showTime(task.ended_at) },
    ], 'No tasks.'))
  })

  addCancel(group)
  addRetry(group)
}

/** What has begun to stop ends a little later: waiting for it is what people mean. */
function addCancel(group: Command): void {
  const cancel = addWaitOptions(group.command('cancel <task>').description('stop a task: one that waits never starts'))
  onRun<WaitFlags>(cancel, async ({ args: [id = ''], options, openApi, print }) => {
    const api = await openApi()
    const path = `/x/v1/{project_id}/tasks/${encodeURIComponent(id)}/cancel`
    const { operation_log: asked } = await api.call<{ operation_log: OperationLog }>('POST', path)
    const task = options.wait === true && !isFinal(asked) ? await waitForEnd(api, id, { timeoutSeconds: options.timeout }) : asked
    print({ operation_log: task }, () => showRecord(task))
  })
}

function addRetry(group: Command): void {
  const retry = addWaitOptions(group.command('retry <task>').description('start again what a task did not get done, as a new task'))
  onRun<WaitFlags>(retry, async ({ args: [id = ''], options, openApi, print }) => {
    const api = await openApi()
    const path = `/x/v1/{project_id}/tasks/${encodeURIComponent(id)}/retry`
    const { operation_log: started } = await api.call<{ operation_log: OperationLog }>('POST', path)
    await finishTasks(api, [started], options)
    const task = options.wait === true ? await showTask(api, started.id) : started
    print({ operation_log: task }, () => showRecord(task))
  })
}

function showRecord(task: OperationLog): void {
  const { backup, restore, delete: removal, remove_resources: removals, schedule } = task.extra_info
  const space = removal ?? removals
  const withWarnings = backup ?? restore ?? removal ?? removals
  printRecord([
    ['id', task.id],
    ['type', task.operation_type],
    ['status', task.status],
    ['done', `${task.extra_info.common.progress} %`],
    ['subject', subjectOf(task)],
    ['vault', task.vault_name === null ? task.vault_id : `${task.vault_name} (${task.vault_id})`],
    ['checkpoint', task.checkpoint_id],
    ['backup', (backup ?? restore ?? removal)?.backup_id],
    ['created', showTime(task.created_at)],
    ['started', showTime(task.started_at)],
    ['ended', showTime(task.ended_at)],
    ...(schedule === undefined ? [] : [
      ['due', `${showTime(schedule.due_at)}${schedule.moved ? ', moved by a change of the clocks' : ''}`] as const,
      ['makes up for', `${schedule.missed_runs} missed runs`] as const,
    ]),
    ...(space?.freed_bytes === undefined ? [] : [['freed', showBytes(space.freed_bytes)] as const]),
    ...(space?.pending_bytes === undefined ? [] : [['still to free', showBytes(space.pending_bytes)] as const]),
    ['error', [task.error_info.code, task.error_info.message].filter((part) => part !== '').join(': ')],
    ...(withWarnings?.warnings ?? []).map(({ path, message }) => ['warning', `${path}: ${message}`] as const),
  ])
}
