/** What is done with the resources of a vault besides putting them in and taking them out. */
import type { Command } from 'commander'
import type { Vault } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { onRun } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findResourceId, findVaultId } from '../names.ts'
import { printLine, printNote, showMegabytes } from '../output.ts'
import { tasksStartedBy } from '../tasks.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'

type ResourceInVault = Vault['resources'][number]

export function addResourceCommands(group: Command): void {
  addSetting(group, 'suspend', 'leave resources out of the scheduled runs of their vault', 'suspend', 'left out of scheduled runs')
  addSetting(group, 'resume', 'put resources into the scheduled runs of their vault again', 'unsuspend', 'in scheduled runs again')
  addMigrate(group)
}

function vaultPath(id: string): string {
  return `/v3/{project_id}/vaults/${encodeURIComponent(id)}`
}

async function showVault(api: Api, text: string): Promise<Vault> {
  return (await api.call<{ vault: Vault }>('GET', vaultPath(await findVaultId(api, text)))).vault
}

/** The names that the vault shows count: a resource may be in a vault without being declared. */
async function findInside(api: Api, vault: Vault, names: readonly string[]): Promise<ResourceInVault[]> {
  return Promise.all(names.map(async (name) => {
    const inside = vault.resources.filter((resource) => resource.id === name || resource.name === name)
    if (inside.length === 1 && inside[0] !== undefined) return inside[0]
    const id = await findResourceId(api, name)
    const found = vault.resources.find((resource) => resource.id === id)
    if (found === undefined) throw new CommandFailure('notFound', `The resource ${name} is not in the vault ${vault.name}.`)
    return found
  }))
}

function addSetting(group: Command, verb: string, text: string, action: string, said: string): void {
  const command = group.command(`${verb} <vault> <resource...>`).description(text)
  onRun(command, async ({ args: [vaultText = '', ...names], openApi, print }) => {
    const api = await openApi()
    const vault = await showVault(api, vaultText)
    const resources = await findInside(api, vault, names)
    const answer = await api.call('PUT', `${vaultPath(vault.id)}/set-resources`, { body: { action, resource_ids: resources.map(({ id }) => id) } })
    print(answer, () => printNote(`In the vault ${vault.name}, ${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} ${said}.`))
  })
}

interface MigrateOptions extends WaitFlags {
  readonly to: string
  readonly dryRun?: boolean
}

function addMigrate(group: Command): void {
  const command = addWaitOptions(group.command('migrate <vault> <resource...>')
    .description('move resources with all their backups to another vault of the same type')
    .requiredOption('--to <vault>', 'the vault that they go to')
    .option('--dry-run', 'only say what would be moved'))
  onRun<MigrateOptions>(command, async ({ args: [text = '', ...names], options, openApi, print }) => {
    const api = await openApi()
    const vault = await showVault(api, text)
    const target = await showVault(api, options.to)
    const resources = await findInside(api, vault, names)
    if (options.dryRun === true) {
      print({ dry_run: true, vault_id: vault.id, destination_vault_id: target.id, resources }, () => {
        for (const resource of resources) printLine(`${resource.name} with ${resource.backup_count} backups (${showMegabytes(resource.backup_size)}) would move to ${target.name}`)
      })
      return
    }
    let answer: unknown
    const tasks = await tasksStartedBy(api, { vault_id: vault.id, operation_type: 'copy' }, async () => {
      answer = await api.call('POST', `${vaultPath(vault.id)}/migrateresources`, {
        body: { destination_vault_id: target.id, resource_ids: resources.map(({ id }) => id) },
      })
    })
    await finishTasks(api, tasks, options)
    print(answer, () => printNote(`${names.join(', ')} ${options.wait === true ? 'moved' : 'is moving'} to the vault ${target.name}.`))
  })
}
