import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Backup, BackupMetadata, ListBackupsResponse } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, enterpriseProjectFilter, onRun, pagingFilters, readFilters, type Filter } from '../command.ts'
import { confirm, type DestroyFlags } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findBackupId, findResourceId, findVaultId } from '../names.ts'
import { noteRest, printLine, printNote, printRecord, printTable, showTime } from '../output.ts'
import { addBackupFiles } from './backup-files.ts'
import { addVerifyBackup } from './verification.ts'
import { showTask, tasksStartedBy } from '../tasks.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'

/** Every query parameter of the call. */
export const backupFilters: readonly Filter[] = [
  { flags: '--name <name>', parameter: 'name', text: 'with this name' },
  {
    flags: '--status <status>', parameter: 'status', repeatable: true,
    text: 'available, protecting, deleting, restoring, error, waiting_protect, waiting_delete, waiting_restore',
  },
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'in this vault', find: findVaultId },
  { flags: '--resource <resource>', parameter: 'resource_id', text: 'of this resource', find: findResourceId },
  { flags: '--resource-name <name>', parameter: 'resource_name', text: 'of resources with this name' },
  { flags: '--resource-type <type>', parameter: 'resource_type', text: 'of resources of this type' },
  { flags: '--resource-az <zone>', parameter: 'resource_az', text: 'of resources in this availability zone' },
  { flags: '--checkpoint-id <id>', parameter: 'checkpoint_id', text: 'made by this run' },
  { flags: '--parent <backup>', parameter: 'parent_id', text: 'parts of this backup', find: findBackupId },
  { flags: '--start-time <time>', parameter: 'start_time', text: 'made at this time or later, as in 2018-02-01T12:00:00Z' },
  { flags: '--end-time <time>', parameter: 'end_time', text: 'made at this time or earlier' },
  { flags: '--image-type <type>', parameter: 'image_type', text: 'backup or replication' },
  { flags: '--incremental <true|false>', parameter: 'incremental', text: 'incremental ones, or full ones' },
  { flags: '--own-type <type>', parameter: 'own_type', text: 'private (default), shared, all_granted' },
  { flags: '--member-status <status>', parameter: 'member_status', text: 'shared, and pending, accepted or rejected' },
  { flags: '--used-percent <percent>', parameter: 'used_percent', text: 'in vaults that are so full, or fuller' },
  enterpriseProjectFilter,
  { flags: '--dec <true|false>', parameter: 'dec', text: 'of dedicated clouds; has no effect here' },
  { flags: '--show-replication <true|false>', parameter: 'show_replication', text: 'with replication records (--json shows them)' },
  { flags: '--sort <keys>', parameter: 'sort', text: 'such as name:asc,created_at; keys: created_at, updated_at, name, status, protected_at, id' },
  ...pagingFilters,
]

export function addBackup(program: Command): void {
  const group = program.command('backup').description('the data of one resource at one time')
  addList(group)
  addShow(group)
  addUpdate(group)
  addDelete(group)
  addRestore(group)
  addMetadata(group)
  addBackupFiles(group)
  addVerifyBackup(group)
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list backups; every filter narrows the list'), backupFilters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, command, backupFilters)
    const answer = await api.call<ListBackupsResponse>('GET', '/v3/{project_id}/backups', { query })
    print(answer, () => {
      printTable(answer.backups, [
        { title: 'id', value: (backup) => backup.id },
        { title: 'name', value: (backup) => backup.name },
        { title: 'status', value: (backup) => backup.status },
        { title: 'resource', value: (backup) => backup.resource_name },
        { title: 'type', value: (backup) => backup.resource_type },
        { title: 'kind', value: kindOf },
        { title: 'created', value: (backup) => showTime(backup.created_at) },
        { title: 'expires', value: (backup) => showTime(backup.expired_at) },
      ], 'No backups.')
      noteRest(answer.backups.length, answer.count)
    })
  })
}

function addShow(group: Command): void {
  const command = group.command('show <backup>').description('show a backup')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await showBackupCall(api, await findBackupId(api, text))
    print(answer, () => showBackup(answer.backup))
  })
}

function addUpdate(group: Command): void {
  const command = group.command('update <backup>')
    .description('change the name or the description of a backup')
    .option('--name <name>', 'new name')
    .option('--description <text>', 'new description')
  onRun<{ name?: string, description?: string }>(command, async ({ args: [text = ''], options: { name, description }, openApi, print }) => {
    if (name === undefined && description === undefined) throw new CommandFailure('usage', 'Say what to change: --name or --description.')
    const api = await openApi()
    const backup = { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) }
    const answer = await api.call<{ backup: Backup }>('PUT', backupPath(await findBackupId(api, text)), { body: { backup } })
    print(answer, () => showBackup(answer.backup))
  })
}

function addDelete(group: Command): void {
  const command = addWaitOptions(group.command('delete <backup>').description('delete a backup')
    .option('--dry-run', 'only say what would be deleted')
    .option('--yes', 'do not ask'))
  onRun<WaitFlags & DestroyFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const { backup } = await showBackupCall(api, await findBackupId(api, text))
    if (options.dryRun === true) {
      print({ dry_run: true, backup }, () => printLine(`The backup ${backup.name} of ${backup.resource_name}, made ${showTime(backup.created_at)}, would be deleted.`))
      return
    }
    await confirm(`Delete the backup ${backup.name} of ${backup.resource_name}, made ${showTime(backup.created_at)}?`, options)
    const query = { resource_id: backup.resource_id, operation_type: 'delete' }
    const started = await tasksStartedBy(api, query, () => api.call('DELETE', backupPath(backup.id)))
    // Another backup of the resource may have been deleted in the same moment.
    await finishTasks(api, started.filter((task) => (task.extra_info.delete?.backup_id ?? backup.id) === backup.id), options)
    printNote(options.wait === true ? `The backup ${backup.name} is deleted.` : `The backup ${backup.name} is being deleted.`)
  })
}

interface RestoreOptions extends WaitFlags, DestroyFlags {
  readonly to?: string
  readonly volume?: string
}

function addRestore(group: Command): void {
  const command = addWaitOptions(group.command('restore <backup>')
    .description('bring the data of a backup back')
    .option('--to <path>', 'a directory tree: into this directory, which is made if it is missing')
    .option('--volume <resource>', 'a disk: over this disk image or block device, whose content is lost')
    .option('--dry-run', 'only say what would be overwritten')
    .option('--yes', 'do not ask'))
  onRun<RestoreOptions>(command, async ({ args: [text = ''], options, openApi, print }) => {
    if ((options.to === undefined) === (options.volume === undefined)) {
      throw new CommandFailure('usage', 'Say where to: --to PATH for a directory tree, --volume RESOURCE for a disk.')
    }
    const api = await openApi()
    const id = await findBackupId(api, text)
    const restore = options.to === undefined
      ? { volume_id: await findResourceId(api, options.volume ?? '') }
      : { details: { destination_path: resolve(options.to) } }
    if (options.dryRun === true) {
      const { backup } = await showBackupCall(api, id)
      const place = options.to === undefined ? `over the disk ${options.volume}, whose content would be lost` : `into ${resolve(options.to)}; files of the same names there would be changed, others stay`
      print({ dry_run: true, backup, restore }, () => printLine(`The backup ${backup.name} of ${backup.resource_name}, made ${showTime(backup.created_at)}, would be restored ${place}.`))
      return
    }
    if (options.volume !== undefined) await confirm(`Overwrite the disk ${options.volume}?`, options)
    const started = await api.call<{ job_id: string }>('POST', `${backupPath(id)}/restore`, { body: { restore } })
    const task = await showTask(api, started.job_id)
    await finishTasks(api, [task], options)
    const answer = options.wait === true ? { operation_log: await showTask(api, started.job_id) } : started
    print(answer, () => {
      printNote(`${options.wait === true ? 'The data is back' : 'The data is being restored'} ${options.to === undefined ? `on ${options.volume}` : `in ${resolve(options.to)}`}.`)
    })
  })
}

function addMetadata(group: Command): void {
  const command = group.command('metadata <backup>').description('show how the resource was when it was backed up')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<BackupMetadata>('GET', `${backupPath(await findBackupId(api, text))}/metadata`)
    print(answer, () => printRecord(Object.entries(answer).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : String(value)] as const)))
  })
}

function backupPath(id: string): string {
  return `/v3/{project_id}/backups/${encodeURIComponent(id)}`
}

function showBackupCall(api: Api, id: string): Promise<{ backup: Backup }> {
  return api.call<{ backup: Backup }>('GET', backupPath(id))
}

function kindOf(backup: Pick<Backup, 'incremental' | 'image_type'>): string {
  const kind = backup.incremental ? 'incremental' : 'full'
  return backup.image_type === 'backup' ? kind : `${kind}, ${backup.image_type}`
}

function showBackup(backup: Backup): void {
  printRecord([
    ['id', backup.id],
    ['name', backup.name],
    ['description', backup.description],
    ['status', backup.status],
    ['kind', kindOf(backup)],
    ['resource', `${backup.resource_name} (${backup.resource_id})`],
    ['resource type', backup.resource_type],
    ['resource size', `${backup.resource_size} GB`],
    ['zone', backup.resource_az],
    ['vault', backup.vault_id],
    ['checkpoint', backup.checkpoint_id],
    ['part of', backup.parent_id],
    ['automatic', backup.extend_info.auto_trigger],
    ['snapshot', backup.extend_info.snapshot_id],
    ['enterprise project', backup.enterprise_project_id],
    ['created', showTime(backup.created_at)],
    ['protected', showTime(backup.protected_at)],
    ['updated', showTime(backup.updated_at)],
    ['expires', showTime(backup.expired_at)],
  ])
  if (backup.children.length === 0) return
  printLine()
  printTable(backup.children, [
    { title: 'part', value: (part) => part.id },
    { title: 'name', value: (part) => part.name },
    { title: 'status', value: (part) => part.status },
    { title: 'resource', value: (part) => part.resource_name },
    { title: 'size', value: (part) => `${part.resource_size} GB`, align: 'right' },
  ], 'No parts.')
}
