import type { Command } from 'commander'
import type { RecoveryKit, Vault } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, collect, enterpriseProjectFilter, onRun, pagingFilters, parseTag, readFilters, wholeNumber, type Filter } from '../command.ts'
import { confirm } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findResource, findResourceId, findVaultId, isId } from '../names.ts'
import { noteRest, printLine, printNote, printRecord, printTable, showMegabytes, showTime } from '../output.ts'
import { quoteForShell } from '../shell.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'
import { addScrubVault, addVerifyVault } from './verification.ts'
import { tasksStartedBy } from '../tasks.ts'
import { addFigures } from './vault-figures.ts'
import { addLock } from './vault-lock.ts'
import { addResourceCommands } from './vault-resources.ts'

/** The type that a vault of this kind holds, for resources that nobody declared here. */
const resourceTypes: Readonly<Record<string, string>> = {
  server: 'OS::Nova::Server',
  disk: 'OS::Cinder::Volume',
  turbo: 'OS::Sfs::Turbo',
  workspace: 'OS::Workspace::DesktopV2',
  vmware: 'OS::Native::Server',
  file: 'OS::Native::Server',
}

export const vaultFilters: readonly Filter[] = [
  { flags: '--id <id>', parameter: 'id', text: 'with this id', repeatable: true },
  { flags: '--name <name>', parameter: 'name', text: 'with this name' },
  { flags: '--status <status>', parameter: 'status', text: 'available, lock, frozen, deleting, error' },
  { flags: '--object-type <type>', parameter: 'object_type', text: 'server, disk, turbo, workspace, vmware, rds, file' },
  { flags: '--protect-type <type>', parameter: 'protect_type', text: 'backup, replication, hybrid' },
  { flags: '--cloud-type <type>', parameter: 'cloud_type', text: 'public, hybrid' },
  { flags: '--policy-id <id>', parameter: 'policy_id', text: 'bound to this policy' },
  { flags: '--resource <resource>', parameter: 'resource_ids', text: 'that holds this resource', find: findResourceId },
  enterpriseProjectFilter,
  ...pagingFilters,
]

export function addVault(program: Command): void {
  const group = program.command('vault').description('where backups are kept: each vault is one restic repository')
  addCreate(group)
  addList(group)
  addShow(group)
  addUpdate(group)
  addDelete(group)
  addAddResource(group)
  addRemoveResource(group)
  addResourceCommands(group)
  addLock(group)
  addFigures(group)
  addRecoveryKit(group)
  addVerifyVault(group)
  addScrubVault(group)
}

interface CreateOptions {
  readonly type: string
  readonly size: number
  readonly description?: string
  readonly resource?: readonly string[]
  readonly tag?: readonly string[]
  readonly consistentLevel: string
  readonly enterpriseProjectId?: string
  readonly autoBind?: boolean
  readonly bindTag?: readonly string[]
  readonly autoExpand?: boolean
  readonly threshold?: number
  readonly notify: boolean
  readonly backupNamePrefix?: string
  readonly zone?: string
  readonly policyId?: string
  readonly lock?: boolean
}

function addCreate(group: Command): void {
  const command = group.command('create <name>')
    .description('create a vault')
    .requiredOption('--type <type>', 'turbo for directory trees, disk for images and block devices, file for directories of agents')
    .requiredOption('--size <gb>', 'capacity in GB', wholeNumber('--size'))
    .option('--resource <resource>', 'put this resource in; may be repeated', collect)
    .option('--description <text>', 'free text')
    .option('--tag <key=value>', 'tag the vault; may be repeated', collect)
    .option('--consistent-level <level>', 'crash_consistent or app_consistent', 'crash_consistent')
    .option('--enterprise-project-id <id>', 'enterprise project that owns it')
    .option('--auto-bind', 'take in matching resources by itself')
    .option('--bind-tag <key=value>', 'match resources with this tag; may be repeated', collect)
    .option('--auto-expand', 'grow when full')
    .option('--threshold <percent>', 'notify when so full', wholeNumber('--threshold'))
    .option('--no-notify', 'send no notifications')
    .option('--backup-name-prefix <text>', 'begin the names of automatic backups with this')
    .option('--zone <zone>', 'availability zone')
    .option('--policy-id <id>', 'bind this backup policy')
    .option('--lock', 'lock it (WORM): automatic backups leave only by their retention, for ever')
  onRun<CreateOptions>(command, async ({ args: [name = ''], options, openApi, print }) => {
    const api = await openApi()
    const resources = await describeResources(api, options.resource ?? [], options.type)
    const answer = await api.call<{ vault: Vault }>('POST', '/v3/{project_id}/vaults', {
      body: {
        vault: {
          name,
          resources,
          billing: {
            object_type: options.type,
            // Files of machines are protected in hybrid vaults only.
            ...(options.type === 'file' ? { cloud_type: 'hybrid' } : {}),
            size: options.size,
            protect_type: 'backup',
            consistent_level: options.consistentLevel,
          },
          ...whereGiven({
            description: options.description,
            tags: options.tag?.map(parseTag),
            enterprise_project_id: options.enterpriseProjectId,
            auto_bind: options.autoBind,
            bind_rules: options.bindTag === undefined ? undefined : { tags: options.bindTag.map(parseRule) },
            auto_expand: options.autoExpand,
            threshold: options.threshold,
            smn_notify: options.notify ? undefined : false,
            backup_name_prefix: options.backupNamePrefix,
            availability_zone: options.zone,
            backup_policy_id: options.policyId,
            locked: options.lock,
          }),
        },
      },
    })
    print(answer, () => showVault(answer.vault))
  })
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list vaults'), vaultFilters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, command, vaultFilters)
    const answer = await api.call<{ vaults: readonly Vault[], count: number }>('GET', '/v3/{project_id}/vaults', { query })
    print(answer, () => {
      printTable(answer.vaults, [
        { title: 'id', value: (vault) => vault.id },
        { title: 'name', value: (vault) => vault.name },
        { title: 'type', value: (vault) => vault.billing.object_type },
        { title: 'status', value: (vault) => vault.billing.status },
        { title: 'used', value: (vault) => showMegabytes(vault.billing.used), align: 'right' },
        { title: 'size', value: (vault) => `${vault.billing.size} GB`, align: 'right' },
        { title: 'resources', value: (vault) => vault.resources.length, align: 'right' },
        { title: 'created', value: (vault) => showTime(vault.created_at) },
      ], 'No vaults.')
      noteRest(answer.vaults.length, answer.count)
    })
  })
}

function addShow(group: Command): void {
  const command = group.command('show <vault>').description('show a vault and what is in it')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await showVaultCall(api, await findVaultId(api, text))
    print(answer, () => showVault(answer.vault))
  })
}

interface UpdateOptions {
  readonly name?: string
  readonly size?: number
  readonly consistentLevel?: string
  readonly threshold?: number
  readonly notify?: boolean
  readonly autoBind?: boolean
  readonly bindTag?: readonly string[]
  readonly autoExpand?: boolean
}

function addUpdate(group: Command): void {
  const command = group.command('update <vault>')
    .description('change a vault; what is not given stays')
    .option('--name <name>', 'new name')
    .option('--size <gb>', 'new capacity in GB', wholeNumber('--size'))
    .option('--consistent-level <level>', 'app_consistent, for server vaults')
    .option('--threshold <percent>', 'notify when so full', wholeNumber('--threshold'))
    .option('--notify', 'send notifications')
    .option('--no-notify', 'send none')
    .option('--auto-bind', 'take in matching resources by itself')
    .option('--no-auto-bind', 'take in none by itself')
    .option('--bind-tag <key=value>', 'match resources with this tag; may be repeated, replaces the old rules', collect)
    .option('--auto-expand', 'grow when full')
    .option('--no-auto-expand', 'refuse backups when full')
  onRun<UpdateOptions>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const billing = whereGiven({ size: options.size, consistent_level: options.consistentLevel })
    const vault = whereGiven({
      name: options.name,
      billing: Object.keys(billing).length === 0 ? undefined : billing,
      threshold: options.threshold,
      smn_notify: options.notify,
      auto_bind: options.autoBind,
      bind_rules: options.bindTag === undefined ? undefined : { tags: options.bindTag.map(parseRule) },
      auto_expand: options.autoExpand,
    })
    if (Object.keys(vault).length === 0) throw new CommandFailure('usage', 'Say what to change: see opencbr vault update --help.')
    const api = await openApi()
    const answer = await api.call<{ vault: Vault }>('PUT', vaultPath(await findVaultId(api, text)), { body: { vault } })
    print(answer, () => showVault(answer.vault))
  })
}

function addDelete(group: Command): void {
  const command = addWaitOptions(group.command('delete <vault>')
    .description('delete a vault with all its backups and its repository')
    .option('--dry-run', 'only say what would be deleted')
    .option('--yes', 'do not ask'))
  onRun<WaitFlags & { yes?: boolean, dryRun?: boolean }>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const { vault } = await showVaultCall(api, await findVaultId(api, text))
    const backups = vault.resources.reduce((sum, resource) => sum + resource.backup_count, 0)
    if (options.dryRun === true) {
      print({ dry_run: true, vault_id: vault.id, backups, resources: vault.resources }, () => printLine(`The vault ${vault.name} with ${backups} backups would be deleted.`))
      return
    }
    await confirm(`Delete the vault ${vault.name} with ${backups} backups?`, options)
    const tasks = await tasksStartedBy(api, { vault_id: vault.id, operation_type: 'vault_delete' }, () => api.call('DELETE', vaultPath(vault.id)))
    await finishTasks(api, tasks, options)
    printNote(options.wait === true ? `The vault ${vault.name} is deleted.` : `The vault ${vault.name} is being deleted.`)
  })
}

function addAddResource(group: Command): void {
  const command = group.command('add-resource <vault> <resource...>').description('put resources into a vault')
  onRun(command, async ({ args: [text = '', ...names], openApi, print }) => {
    const api = await openApi()
    const { vault } = await showVaultCall(api, await findVaultId(api, text))
    const resources = await describeResources(api, names, vault.billing.object_type)
    const answer = await api.call('POST', `${vaultPath(vault.id)}/addresources`, { body: { resources } })
    print(answer, () => printNote(`The vault ${vault.name} protects ${names.join(', ')} now.`))
  })
}

function addRemoveResource(group: Command): void {
  const command = addWaitOptions(group.command('remove-resource <vault> <resource...>')
    .description('take resources out of a vault, and delete their backups in it')
    .option('--dry-run', 'only say what would be deleted')
    .option('--yes', 'do not ask'))
  onRun<WaitFlags & { yes?: boolean, dryRun?: boolean }>(command, async ({ args: [text = '', ...names], options, openApi, print }) => {
    const api = await openApi()
    const { vault } = await showVaultCall(api, await findVaultId(api, text))
    // The names that the vault shows count here: a resource may be in a vault without being declared.
    const chosen = await Promise.all(names.map(async (name) => {
      const inside = vault.resources.filter((resource) => resource.id === name || resource.name === name)
      return inside.length === 1 && inside[0] !== undefined ? inside[0] : { id: await findResourceId(api, name), backup_count: 0 }
    }))
    const backups = chosen.reduce((sum, resource) => sum + resource.backup_count, 0)
    if (options.dryRun === true) {
      print({ dry_run: true, vault_id: vault.id, backups, resources: chosen }, () =>
        printLine(`${names.join(', ')} would leave the vault ${vault.name}, and ${backups} backups would be deleted.`))
      return
    }
    await confirm(`Remove ${names.join(', ')} from the vault ${vault.name} and delete ${backups} backups?`, options)
    let answer: unknown
    const tasks = await tasksStartedBy(api, { vault_id: vault.id, operation_type: 'remove_resource' }, async () => {
      answer = await api.call('POST', `${vaultPath(vault.id)}/removeresources`, { body: { resource_ids: chosen.map(({ id }) => id) } })
    })
    await finishTasks(api, tasks, options)
    print(answer, () => printNote(`${names.join(', ')} ${options.wait === true ? 'left' : 'is leaving'} the vault ${vault.name}.`))
  })
}

function addRecoveryKit(group: Command): void {
  const command = group.command('recovery-kit <vault>')
    .description('print what the restic program needs to open the vault without this service')
    .addHelpText('after', '\nIn a shell:  eval "$(opencbr vault recovery-kit VAULT)" && restic snapshots\n'
      + 'Keep what it prints in a safe place: with it, everything in the vault can be read.')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const path = `/x/v1/{project_id}/vaults/${encodeURIComponent(await findVaultId(api, text))}/recovery-kit`
    const answer = await api.call<{ recovery_kit: RecoveryKit }>('GET', path)
    print(answer, () => {
      const { repository, password, variables, exists } = answer.recovery_kit
      if (!exists) printNote('The repository is made by the first backup of the vault.')
      printLine(`export RESTIC_REPOSITORY=${quoteForShell(repository)}`)
      printLine(`export RESTIC_PASSWORD=${quoteForShell(password)}`)
      if (variables.length > 0) printNote('Who runs the service has the keys of the bucket, which restic needs besides.')
      for (const name of variables) printLine(`# export ${name}=…`)
      printLine('# restic snapshots')
      printLine('# restic check --read-data')
      printLine('# restic restore latest --target /tmp/restored')
    })
  })
}

function vaultPath(id: string): string {
  return `/v3/{project_id}/vaults/${encodeURIComponent(id)}`
}

function showVaultCall(api: Api, id: string): Promise<{ vault: Vault }> {
  return api.call<{ vault: Vault }>('GET', vaultPath(id))
}

/** The form that the API wants; ids that nobody declared get the type that fits the vault. */
async function describeResources(api: Api, texts: readonly string[], objectType: string): Promise<{ id: string, type: string, name?: string }[]> {
  const described = []
  for (const text of texts) {
    try {
      const { id, type, name } = await findResource(api, text)
      described.push({ id, type, name })
    } catch (error) {
      const undeclared = error instanceof CommandFailure && error.ending === 'notFound' && isId(text)
      if (!undeclared) throw error
      described.push({ id: text, type: resourceTypes[objectType] ?? 'OS::Nova::Server' })
    }
  }
  return described
}

/** `key=value`; a key alone matches any value. */
function parseRule(text: string): { key: string, value?: string } {
  return text.includes('=') ? parseTag(text) : { key: text }
}

/** The members that have a value; the API takes an absent member for "as it is". */
function whereGiven(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}

function showRules({ bind_rules: { tags = [] } }: Vault): string {
  return tags.length === 0 ? '' : `, with any of ${tags.map(({ key, value }) => value === undefined ? key : `${key}=${value}`).join(', ')}`
}

function showVault(vault: Vault): void {
  const { billing } = vault
  printRecord([
    ['id', vault.id],
    ['name', vault.name],
    ['description', vault.description],
    ['type', billing.object_type],
    ['purpose', billing.protect_type],
    ['status', billing.status],
    ['used', `${showMegabytes(billing.used)} of ${billing.size} GB`],
    ['consistency', billing.consistent_level],
    ['locked', vault.locked],
    ['auto bind', vault.auto_bind ? `yes${showRules(vault)}` : 'no'],
    ['auto expand', vault.auto_expand],
    ['threshold', `${vault.threshold} %`],
    ['tags', vault.tags.map(({ key, value }) => `${key}=${value}`).join(', ')],
    ['enterprise project', vault.enterprise_project_id],
    ['created', showTime(vault.created_at)],
  ])
  if (vault.resources.length === 0) return
  printLine()
  printTable(vault.resources, [
    { title: 'resource', value: (resource) => resource.id },
    { title: 'name', value: (resource) => resource.name },
    { title: 'type', value: (resource) => resource.type },
    { title: 'status', value: (resource) => resource.protect_status },
    { title: 'scheduled', value: (resource) => resource.auto_protect },
    { title: 'backups', value: (resource) => resource.backup_count, align: 'right' },
    { title: 'space', value: (resource) => showMegabytes(resource.backup_size), align: 'right' },
  ], 'No resources.')
}
