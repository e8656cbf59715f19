import type { Command } from 'commander'
import type { Checkpoint } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { collect, onRun } from '../command.ts'
import { confirm } from '../confirm.ts'
import { findResourceId, findVaultId } from '../names.ts'
import { printLine, printNote, printRecord, printTable, safeText, showTime } from '../output.ts'
import { listTasks, tasksStartedBy } from '../tasks.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'

interface CreateOptions extends WaitFlags {
  readonly resource?: readonly string[]
  readonly name?: string
  readonly description?: string
  readonly full?: boolean
  readonly automatic?: boolean
}

export function addCheckpoint(program: Command): void {
  const group = program.command('checkpoint').description('backup runs: each makes one backup of every resource in a vault')

  const create = addWaitOptions(group.command('create <vault>')
    .description('back up a vault now')
    .option('--resource <resource>', 'only this resource of the vault; may be repeated', collect)
    .option('--name <name>', 'name of the backups')
    .option('--description <text>', 'free text for the backups')
    .option('--full', 'read everything again, whatever the previous backup has')
    .option('--automatic', 'mark the backups as automatic, so that the retention of the policy applies to them'))
  onRun<CreateOptions>(create, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const vaultId = await findVaultId(api, text)
    const resources = options.resource === undefined ? undefined : await Promise.all(options.resource.map((each) => findResourceId(api, each)))
    const parameters = {
      ...(resources === undefined ? {} : { resources }),
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(options.description === undefined ? {} : { description: options.description }),
      ...(options.full === true ? { incremental: false } : {}),
      ...(options.automatic === true ? { auto_trigger: true } : {}),
    }
    const started = await api.call<{ checkpoint: Checkpoint }>('POST', '/v3/{project_id}/checkpoints', {
      body: { checkpoint: { vault_id: vaultId, parameters } },
    })
    for (const { name, id, reason } of started.checkpoint.vault.skipped_resources) printNote(safeText(`${name ?? id} is skipped: ${reason}`))
    const tasks = await listTasks(api, { vault_id: vaultId, operation_type: 'backup' })
    await finishTasks(api, tasks.filter((task) => task.checkpoint_id === started.checkpoint.id), options)
    const answer = options.wait === true ? await showCheckpointCall(api, started.checkpoint.id) : started
    print(answer, () => showCheckpoint(answer.checkpoint))
  })

  const show = group.command('show <checkpoint>').description('show a backup run')
  onRun(show, async ({ args: [id = ''], openApi, print }) => {
    const answer = await showCheckpointCall(await openApi(), id)
    print(answer, () => showCheckpoint(answer.checkpoint))
  })

  addDelete(group)
}

interface DeleteOptions extends WaitFlags {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/** A checkpoint goes with the last of its backups: there is no other way to delete one. */
function addDelete(group: Command): void {
  const command = addWaitOptions(group.command('delete <checkpoint>')
    .description('delete all backups of a run, and the run with them')
    .option('--dry-run', 'only say what would be deleted')
    .option('--yes', 'do not ask'))
  onRun<DeleteOptions>(command, async ({ args: [id = ''], options, openApi, print }) => {
    const api = await openApi()
    const { checkpoint } = await showCheckpointCall(api, id)
    const query = { checkpoint_id: checkpoint.id, sort: 'name:asc' }
    const { backups } = await api.call<{ backups: readonly { id: string, name: string, status: string, resource_name: string }[] }>('GET', '/v3/{project_id}/backups', { query })
    if (options.dryRun === true) {
      print({ backups }, () => printTable(backups, [
        { title: 'would be deleted', value: (backup) => backup.id },
        { title: 'name', value: (backup) => backup.name },
        { title: 'resource', value: (backup) => backup.resource_name },
        { title: 'status', value: (backup) => backup.status },
      ], 'No backups.'))
      return
    }
    await confirm(`Delete the ${backups.length} backups of this run in the vault ${checkpoint.vault.name}?`, options)
    const started = await tasksStartedBy(api, { vault_id: checkpoint.vault.id, operation_type: 'delete' }, async () => {
      for (const backup of backups) await api.call('DELETE', `/v3/{project_id}/backups/${backup.id}`)
    })
    const ids = new Set(backups.map((backup) => backup.id))
    const tasks = started.filter((task) => ids.has(task.extra_info.delete?.backup_id ?? ''))
    await finishTasks(api, tasks, options)
    print({ operation_logs: tasks }, () => printNote(`${backups.length} backups ${options.wait === true ? 'are deleted' : 'are being deleted'}.`))
  })
}

function showCheckpointCall(api: Api, id: string): Promise<{ checkpoint: Checkpoint }> {
  return api.call<{ checkpoint: Checkpoint }>('GET', `/v3/{project_id}/checkpoints/${encodeURIComponent(id)}`)
}

function showCheckpoint(checkpoint: Checkpoint): void {
  printRecord([
    ['id', checkpoint.id],
    ['status', checkpoint.status],
    ['vault', `${checkpoint.vault.name} (${checkpoint.vault.id})`],
    ['created', showTime(checkpoint.created_at)],
    ['name', checkpoint.extra_info?.name],
    ['description', checkpoint.extra_info?.description],
  ])
  printLine()
  printTable(checkpoint.vault.resources, [
    { title: 'resource', value: (resource) => resource.id },
    { title: 'name', value: (resource) => resource.name },
    { title: 'type', value: (resource) => resource.type },
    { title: 'status', value: (resource) => resource.protect_status },
    { title: 'backups', value: (resource) => resource.backup_count, align: 'right' },
    { title: 'space', value: (resource) => `${resource.backup_size} MB`, align: 'right' },
  ], 'No resources.')
}
