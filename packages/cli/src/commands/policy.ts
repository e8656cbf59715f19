import type { Command } from 'commander'
import type { Policy, PolicyDefinition, PolicyDefinitionIn, PolicyPreview, PolicyRun, PolicySchedule } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, collect, onRun, readFilters, wholeNumber, type Filter } from '../command.ts'
import { confirm } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findPolicyId, findVaultId } from '../names.ts'
import { noteRest, printLine, printNote, printRecord, printTable, showTime } from '../output.ts'

const POLICIES = '/v3/{project_id}/policies'
const MORE = '/x/v1/{project_id}/policies'

export const policyFilters: readonly Filter[] = [
  { flags: '--operation-type <type>', parameter: 'operation_type', text: 'backup or replication' },
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'bound to this vault', find: findVaultId },
]

const runFilters: readonly Filter[] = [
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'in this vault', find: findVaultId },
  { flags: '--limit <rows>', parameter: 'limit', text: 'at most so many rows (the server sends at most 1000)' },
  { flags: '--offset <rows>', parameter: 'offset', text: 'skip so many rows' },
]

export function addPolicy(program: Command): void {
  const group = program.command('policy').description('when vaults are backed up, and how long backups are kept')
  addCreate(group)
  addList(group)
  addShow(group)
  addUpdate(group)
  addDelete(group)
  addAssociate(group)
  addDissociate(group)
  addPreview(group)
  addRuns(group)
}

export interface ScheduleFlags {
  readonly rule?: readonly string[]
  readonly at?: readonly string[]
  readonly days?: string
  readonly every?: number
  readonly timeZone?: string
}

export function addScheduleOptions(command: Command, { hasTimeZone = true } = {}): Command {
  command
    .option('--at <HH:MM>', 'run at this time of day; may be repeated', collect)
    .option('--days <days>', 'on these days of the week, such as MO,WE,FR (default: every day)')
    .option('--every <days>', 'every so many days instead', wholeNumber('--every'))
    .option('--rule <rule>', 'a rule as the API takes it, instead of the three above; may be repeated', collect)
  return hasTimeZone ? command.option('--time-zone <zone>', 'read the times by the clock of this zone, such as Europe/Berlin (default: UTC)') : command
}

/** One rule per time of day, as Terraform writes them. */
export function readPattern(flags: ScheduleFlags): string[] | undefined {
  if (flags.rule !== undefined) {
    if (flags.at !== undefined || flags.days !== undefined || flags.every !== undefined) throw new CommandFailure('usage', '--rule says it all: leave out --at, --days and --every.')
    return [...flags.rule]
  }
  if (flags.at === undefined) {
    if (flags.days !== undefined || flags.every !== undefined) throw new CommandFailure('usage', '--days and --every need a time: --at HH:MM.')
    return undefined
  }
  if (flags.days !== undefined && flags.every !== undefined) throw new CommandFailure('usage', 'Say either --days or --every.')
  const days = flags.days === undefined ? `FREQ=DAILY;INTERVAL=${flags.every ?? 1}` : `FREQ=WEEKLY;BYDAY=${flags.days.toUpperCase()}`
  return flags.at.map((time) => {
    const parts = /^(\d{1,2}):(\d{2})$/.exec(time)
    if (parts === null) throw new CommandFailure('usage', `The value ${time} of --at is no time such as 01:30.`)
    return `${days};BYHOUR=${parts[1]?.padStart(2, '0')};BYMINUTE=${parts[2]}`
  })
}

export interface KeepFlags {
  readonly keep?: number
  readonly keepDays?: number
  readonly keepDaily?: number
  readonly keepWeekly?: number
  readonly keepMonthly?: number
  readonly keepYearly?: number
  readonly keepAll?: boolean
  readonly offset?: string
  readonly fullEvery?: number
  readonly destinationRegion?: string
  readonly destinationProject?: string
}

export function addKeepOptions(command: Command): Command {
  return command
    .option('--keep <count>', 'keep the newest so many of each resource', wholeNumber('--keep'))
    .option('--keep-days <days>', 'keep each for so many days', wholeNumber('--keep-days'))
    .option('--keep-daily <count>', 'keep the newest of each of the last so many days', wholeNumber('--keep-daily'))
    .option('--keep-weekly <count>', 'the same for weeks', wholeNumber('--keep-weekly'))
    .option('--keep-monthly <count>', 'the same for months', wholeNumber('--keep-monthly'))
    .option('--keep-yearly <count>', 'the same for years', wholeNumber('--keep-yearly'))
    .option('--keep-all', 'keep all of them')
    .option('--offset <UTC+HH:MM>', 'where days, weeks, months and years of --keep-daily and so on begin')
    .option('--full-every <runs>', 'read everything again after so many incremental runs', wholeNumber('--full-every'))
    .option('--destination-region <region>', 'for replication: the region to copy to')
    .option('--destination-project <id>', 'for replication: the project to copy to')
}

/** What is given takes the place of all limits that were; the rest stays. Undefined when nothing is given. */
export function readDefinition(flags: KeepFlags, known?: PolicyDefinition): PolicyDefinitionIn | undefined {
  const limits = {
    max_backups: flags.keep, retention_duration_days: flags.keepDays, day_backups: flags.keepDaily, week_backups: flags.keepWeekly,
    month_backups: flags.keepMonthly, year_backups: flags.keepYearly,
  }
  const hasLimits = flags.keepAll === true || Object.values(limits).some((value) => value !== undefined)
  const others = {
    timezone: flags.offset, full_backup_interval: flags.fullEvery, destination_region: flags.destinationRegion,
    destination_project_id: flags.destinationProject,
  }
  if (!hasLimits && Object.values(others).every((value) => value === undefined)) return undefined
  const isCalendar = [flags.keepDaily, flags.keepWeekly, flags.keepMonthly, flags.keepYearly].some((value) => value !== undefined)
  const { created_by: _, ...before } = known ?? { created_by: '' }
  const kept: Record<string, unknown> = { ...before }
  if (hasLimits) for (const name of Object.keys(limits)) delete kept[name]
  const given = Object.entries({ ...limits, ...others }).filter(([, value]) => value !== undefined)
  return { ...(isCalendar ? { timezone: 'UTC+00:00' } : {}), ...kept, ...Object.fromEntries(given) }
}

function addCreate(group: Command): void {
  const command = addKeepOptions(addScheduleOptions(group.command('create <name>').description('create a policy')))
    .option('--type <type>', 'backup or replication', 'backup')
    .option('--paused', 'do not run it yet')
    .option('--vault <vault>', 'bind it to this vault; may be repeated', collect)
  onRun<ScheduleFlags & KeepFlags & { type: string, paused?: boolean, vault?: readonly string[] }>(command, async ({ args: [name = ''], options, openApi, print }) => {
    const pattern = readPattern(options)
    if (pattern === undefined) throw new CommandFailure('usage', 'Say when: --at HH:MM, or --rule.')
    const api = await openApi()
    const vaultIds = await Promise.all((options.vault ?? []).map((text) => findVaultId(api, text)))
    const { policy } = await api.call<{ policy: Policy }>('POST', POLICIES, {
      body: {
        policy: {
          name, operation_type: options.type, operation_definition: readDefinition(options) ?? {}, trigger: { properties: { pattern } },
          ...(options.paused === true ? { enabled: false } : {}),
        },
      },
    })
    if (options.timeZone !== undefined) await setTimeZone(api, policy.id, options.timeZone)
    for (const vaultId of vaultIds) await api.call('POST', `/v3/{project_id}/vaults/${vaultId}/associatepolicy`, { body: { policy_id: policy.id } })
    await printPolicy(api, policy.id, print)
  })
}

async function setTimeZone(api: Api, id: string, timeZone: string): Promise<void> {
  await api.call('PUT', `${MORE}/${id}/schedule`, { body: { schedule: { time_zone: timeZone } } })
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list policies'), policyFilters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ policies: readonly Policy[] }>('GET', POLICIES, { query: await readFilters(api, command, policyFilters) })
    print(answer, () => printTable(answer.policies, [
      { title: 'id', value: (policy) => policy.id },
      { title: 'name', value: (policy) => policy.name },
      { title: 'type', value: (policy) => policy.operation_type },
      { title: 'enabled', value: (policy) => policy.enabled },
      { title: 'keeps', value: (policy) => describeKeeping(policy.operation_definition) },
      { title: 'rules', value: (policy) => policy.trigger.properties.pattern.join(' ') },
      { title: 'vaults', value: (policy) => policy.associated_vaults?.length ?? 0, align: 'right' },
    ], 'No policies.'))
  })
}

function addShow(group: Command): void {
  const command = group.command('show <policy>').description('show a policy, its vaults, and when it runs next')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    await printPolicy(api, await findPolicyId(api, text), print)
  })
}

type Print = (answer: unknown, show: () => void) => void

async function printPolicy(api: Api, id: string, print: Print): Promise<void> {
  const answer = await api.call<{ policy: Policy }>('GET', `${POLICIES}/${id}`)
  const { schedule } = await api.call<{ schedule: PolicySchedule }>('GET', `${MORE}/${id}/schedule`)
  print(answer, () => showPolicy(answer.policy, schedule))
}

function showPolicy(policy: Policy, schedule: PolicySchedule): void {
  const definition = policy.operation_definition
  printRecord([
    ['id', policy.id],
    ['name', policy.name],
    ['type', policy.operation_type],
    ['enabled', policy.enabled],
    ...policy.trigger.properties.pattern.map((rule) => ['rule', rule] as const),
    ['time zone', schedule.time_zone],
    ['next run', schedule.next_run_at === null ? '-' : `${showTime(schedule.next_run_at)} UTC`],
    ['keeps', describeKeeping(definition)],
    ['full backup', definition.full_backup_interval < 0 ? 'the first' : `after ${definition.full_backup_interval} incremental ones`],
    ...(policy.operation_type === 'replication' ? [['to', `${definition.destination_region}, project ${definition.destination_project_id}`] as const] : []),
    ...(policy.associated_vaults ?? []).map((vault) => ['vault', vault.vault_id] as const),
  ])
}

export function describeKeeping(definition: PolicyDefinition): string {
  const parts = [
    definition.max_backups > 0 ? `the newest ${definition.max_backups}` : '',
    definition.retention_duration_days > 0 ? `${definition.retention_duration_days} days` : '',
    definition.day_backups > 0 ? `${definition.day_backups} daily` : '',
    definition.week_backups > 0 ? `${definition.week_backups} weekly` : '',
    definition.month_backups > 0 ? `${definition.month_backups} monthly` : '',
    definition.year_backups > 0 ? `${definition.year_backups} yearly` : '',
  ].filter((part) => part !== '')
  return parts.length === 0 ? 'all' : parts.join(', ')
}

interface UpdateFlags extends ScheduleFlags, KeepFlags {
  readonly name?: string
  readonly enable?: boolean
  readonly disable?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
}

function addUpdate(group: Command): void {
  const command = addKeepOptions(addScheduleOptions(group.command('update <policy>').description('change a policy; keeping less deletes backups later')))
    .option('--name <name>', 'call it so')
    .option('--enable', 'let it run')
    .option('--disable', 'stop its schedule')
    .option('--dry-run', 'only show what the changed policy would keep of what it has made')
    .option('--yes', 'do not ask')
  onRun<UpdateFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    if (options.enable === true && options.disable === true) throw new CommandFailure('usage', 'Say either --enable or --disable.')
    const api = await openApi()
    const id = await findPolicyId(api, text)
    const { policy } = await api.call<{ policy: Policy }>('GET', `${POLICIES}/${id}`)
    const definition = readDefinition(options, policy.operation_definition)
    const pattern = readPattern(options)
    const previews = definition === undefined && options.dryRun !== true ? [] : await previewVaults(api, policy, definition)
    if (options.dryRun === true) {
      print({ previews }, () => showPreviews(previews))
      return
    }
    const going = previews.reduce((sum, preview) => sum + (preview.retention?.going ?? 0), 0)
    if (going > 0) await confirm(`The changed policy deletes ${going} backups that there are. Change it?`, options)
    await api.call('PUT', `${POLICIES}/${id}`, {
      body: {
        policy: {
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(options.enable === true ? { enabled: true } : options.disable === true ? { enabled: false } : {}),
          ...(definition === undefined ? {} : { operation_definition: definition }),
          ...(pattern === undefined ? {} : { trigger: { properties: { pattern } } }),
        },
      },
    })
    if (options.timeZone !== undefined) await setTimeZone(api, id, options.timeZone)
    await printPolicy(api, id, print)
  })
}

async function previewVaults(api: Api, policy: Policy, definition: PolicyDefinitionIn | undefined): Promise<PolicyPreview[]> {
  const previews: PolicyPreview[] = []
  for (const { vault_id } of policy.associated_vaults ?? []) {
    const { preview } = await api.call<{ preview: PolicyPreview }>('POST', `${MORE}/preview`, {
      body: { preview: { policy_id: policy.id, vault_id, runs: 1, ...(definition === undefined ? {} : { operation_definition: definition }) } },
    })
    previews.push(preview)
  }
  return previews
}

function showPreviews(previews: readonly PolicyPreview[]): void {
  for (const { retention } of previews) if (retention !== null) showRetention(retention)
  if (previews.length === 0) printNote('The policy is bound to no vault.')
}

function showRetention(retention: NonNullable<PolicyPreview['retention']>): void {
  printNote(`Vault ${retention.vault_id}: ${retention.kept} backups are kept, ${retention.going} go.`)
  printTable(retention.backups, [
    { title: 'backup', value: (backup) => backup.backup_id },
    { title: 'name', value: (backup) => backup.name },
    { title: 'resource', value: (backup) => backup.resource_name },
    { title: 'created', value: (backup) => showTime(backup.created_at) },
    { title: 'kept because', value: (backup) => backup.kept_because.length === 0 ? 'goes' : backup.kept_because.join('; ') },
  ], 'The policy has made no backups in it.')
}

function addDelete(group: Command): void {
  const command = group.command('delete <policy>').description('delete a policy; its backups stay, and those with an end still expire')
    .option('--dry-run', 'only show from which vaults it would be unbound')
    .option('--yes', 'do not ask')
  onRun<{ dryRun?: boolean, yes?: boolean }>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const id = await findPolicyId(api, text)
    const answer = await api.call<{ policy: Policy }>('GET', `${POLICIES}/${id}`)
    const vaults = answer.policy.associated_vaults ?? []
    if (options.dryRun === true) {
      print(answer, () => printTable(vaults, [{ title: 'unbound from vault', value: (vault) => vault.vault_id }], 'It is bound to no vault.'))
      return
    }
    await confirm(`Delete the policy ${answer.policy.name}, which is bound to ${vaults.length} vaults?`, options)
    await api.call('DELETE', `${POLICIES}/${id}`)
    printNote(`The policy ${answer.policy.name} is deleted.`)
  })
}

function addAssociate(group: Command): void {
  const command = group.command('associate <policy> <vault>').description('bind a policy to a vault, in the place of the one of its kind that it has')
    .option('--destination-vault <id>', 'for replication: the vault to copy to')
  onRun<{ destinationVault?: string }>(command, async ({ args: [policy = '', vault = ''], options, openApi, print }) => {
    const api = await openApi()
    const [id, vaultId] = [await findPolicyId(api, policy), await findVaultId(api, vault)]
    const answer = await api.call('POST', `/v3/{project_id}/vaults/${vaultId}/associatepolicy`, {
      body: { policy_id: id, ...(options.destinationVault === undefined ? {} : { destination_vault_id: options.destinationVault }) },
    })
    print(answer, () => printNote(`The policy ${policy} is bound to the vault ${vault}.`))
  })
}

function addDissociate(group: Command): void {
  const command = group.command('dissociate <policy> <vault>').description('unbind a policy from a vault; its backups stay')
  onRun(command, async ({ args: [policy = '', vault = ''], openApi, print }) => {
    const api = await openApi()
    const [id, vaultId] = [await findPolicyId(api, policy), await findVaultId(api, vault)]
    const answer = await api.call('POST', `/v3/{project_id}/vaults/${vaultId}/dissociatepolicy`, { body: { policy_id: id } })
    print(answer, () => printNote(`The policy ${policy} is not bound to the vault ${vault} any more.`))
  })
}

interface PreviewFlags extends ScheduleFlags, KeepFlags {
  readonly vault?: string
  readonly runs?: number
  readonly from?: string
}

function addPreview(group: Command): void {
  const command = addKeepOptions(addScheduleOptions(group.command('preview [policy]')
    .description('show when a policy or given rules would run, and what is kept; changes nothing')))
    .option('--vault <vault>', 'judge what the policy has made in this vault')
    .option('--runs <count>', 'show so many runs', wholeNumber('--runs'))
    .option('--from <time>', 'runs after this time, as in 2018-02-01T12:00:00Z')
  onRun<PreviewFlags>(command, async ({ args: [text], options, openApi, print }) => {
    const api = await openApi()
    const policyId = text === undefined ? undefined : await findPolicyId(api, text)
    const known = policyId === undefined ? undefined : (await api.call<{ policy: Policy }>('GET', `${POLICIES}/${policyId}`)).policy.operation_definition
    const wanted = {
      policy_id: policyId,
      vault_id: options.vault === undefined ? undefined : await findVaultId(api, options.vault),
      pattern: readPattern(options),
      operation_definition: readDefinition(options, known),
      time_zone: options.timeZone,
      from: options.from,
      runs: options.runs,
    }
    const answer = await api.call<{ preview: PolicyPreview }>('POST', `${MORE}/preview`, { body: { preview: wanted } })
    print(answer, () => showPreview(answer.preview))
  })
}

function showPreview({ time_zone: zone, runs, retention }: PolicyPreview): void {
  printTable(runs, [
    { title: 'runs at (UTC)', value: (run) => showTime(run.at) },
    { title: zone, value: (run) => `${showTime(run.local_time)}${run.moved ? ' (skipped by the clocks)' : ''}` },
    { title: 'expires', value: (run) => showTime(run.expired_at) },
    { title: 'kept after the last of these', value: (run) => run.kept_because.length === 0 ? 'no' : run.kept_because.join('; ') },
  ], 'It does not run in the next ten years.')
  if (retention === null) return
  printLine()
  showRetention(retention)
}

function addRuns(group: Command): void {
  const command = addFilters(group.command('runs <policy>').description('list the due times of a policy and what became of them'), runFilters)
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const id = await findPolicyId(api, text)
    const answer = await api.call<{ runs: readonly PolicyRun[], count: number }>('GET', `${MORE}/${id}/runs`, { query: await readFilters(api, command, runFilters) })
    print(answer, () => {
      printTable(answer.runs, [
        { title: 'due', value: (run) => showTime(run.due_at) },
        { title: 'ran', value: (run) => showTime(run.ran_at) },
        { title: 'vault', value: (run) => run.vault_id },
        { title: 'outcome', value: (run) => run.outcome },
        { title: 'missed before', value: (run) => run.missed_runs, align: 'right' },
        { title: 'checkpoint', value: (run) => run.checkpoint_id },
        { title: 'why', value: (run) => run.error_info.message },
      ], 'It has not been due.')
      noteRest(answer.runs.length, answer.count)
    })
  })
}
