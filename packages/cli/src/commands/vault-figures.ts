/** What concerns all vaults of the project together. */
import type { Command } from 'commander'
import type { StorageUsage } from '@opencbr/contract'
import { addFilters, onRun, pagingFilters, readFilters, wholeNumber, type Filter } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findResourceId } from '../names.ts'
import { noteRest, printNote, printRecord, printTable, showMegabytes } from '../output.ts'

/** This list has no marker. */
export const usageFilters: readonly Filter[] = [
  { flags: '--resource <resource>', parameter: 'resource_id', text: 'of this resource', find: findResourceId },
  { flags: '--type <type>', parameter: 'resource_type', text: 'of resources of this type: OS::Sfs::Turbo, OS::Cinder::Volume, …' },
  ...pagingFilters.filter(({ parameter }) => parameter !== 'marker'),
]

export function addFigures(group: Command): void {
  const summary = group.command('summary').description('show the size and use of all vaults together')
  onRun(summary, async ({ openApi, print }) => {
    const answer = await (await openApi()).call<{ size: number, used_size: number }>('GET', '/v3/{project_id}/vaults/summary')
    print(answer, () => printRecord([['size', `${answer.size} GB`], ['used', `${answer.used_size} GB`]]))
  })

  const usage = addFilters(group.command('usage').description('show what the backups of each resource take up'), usageFilters)
  onRun(usage, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, usage, usageFilters)
    const answer = await api.call<{ storage_usage: readonly StorageUsage[], resource_count: number }>('GET', '/v3/{project_id}/storage_usage', { query })
    print(answer, () => {
      printTable(answer.storage_usage, [
        { title: 'resource', value: (row) => row.resource_id },
        { title: 'name', value: (row) => row.resource_name },
        { title: 'type', value: (row) => row.resource_type },
        { title: 'backups', value: (row) => row.backup_count, align: 'right' },
        { title: 'space', value: (row) => showMegabytes(Math.ceil((row.backup_size ?? 0) / 1024 ** 2)), align: 'right' },
      ], 'No resources.')
      noteRest(answer.storage_usage.length, answer.resource_count)
    })
  })

  const updateAll = group.command('update-all').description('change the notifications of all vaults')
    .option('--threshold <percent>', 'notify when so full', wholeNumber('--threshold'))
    .option('--notify', 'record events').option('--no-notify', 'record none')
  onRun<{ threshold?: number, notify?: boolean }>(updateAll, async ({ options: { threshold, notify }, openApi, print }) => {
    if (threshold === undefined && notify === undefined) throw new CommandFailure('usage', 'Say what to change: see opencbr vault update-all --help.')
    const vault = { ...(threshold === undefined ? {} : { threshold }), ...(notify === undefined ? {} : { smn_notify: notify }) }
    const answer = await (await openApi()).call<{ updated_vaults_id: readonly string[] }>('PUT', '/v3/{project_id}/vaults/batch-update', { body: { vault } })
    print(answer, () => printNote(`${answer.updated_vaults_id.length} vaults were changed.`))
  })
}
