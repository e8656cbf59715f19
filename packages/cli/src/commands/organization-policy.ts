import type { Command } from 'commander'
import type { Deployment, OrganizationPolicy } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, onRun, readFilters, type Filter } from '../command.ts'
import { confirm, type DestroyFlags } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findOrganizationPolicyId } from '../names.ts'
import { noteRest, printNote, printRecord, printTable } from '../output.ts'
import { addKeepOptions, addScheduleOptions, describeKeeping, readDefinition, readPattern, type KeepFlags, type ScheduleFlags } from './policy.ts'

const PATH = '/v3/{project_id}/organization-policies'

export const organizationPolicyFilters: readonly Filter[] = [
  { flags: '--operation-type <type>', parameter: 'operation_type', text: 'backup or replication' },
  { flags: '--limit <rows>', parameter: 'limit', text: 'at most so many rows (the server sends at most 1000)' },
  { flags: '--offset <rows>', parameter: 'offset', text: 'skip so many rows' },
]

export function addOrganizationPolicy(program: Command): void {
  const group = program.command('organization-policy').description('policies of the whole domain, which its projects have too')
  addCreate(group)
  addList(group)
  addShow(group)
  addUpdate(group)
  addDelete(group)
}

interface SayFlags extends Omit<ScheduleFlags, 'timeZone'>, KeepFlags {
  readonly policyName?: string
  readonly description?: string
  readonly scope?: string
}

function addSayOptions(command: Command): Command {
  return addKeepOptions(addScheduleOptions(command, { hasTimeZone: false }))
    .option('--policy-name <name>', 'what it is called in the projects')
    .option('--description <text>', 'what it is for')
    .option('--scope <projects>', 'root for all projects, or ids of projects with commas between them')
}

function sayingsOf({ description, scope }: SayFlags): object {
  return { ...(description === undefined ? {} : { description }), ...(scope === undefined ? {} : { effective_scope: scope }) }
}

function addCreate(group: Command): void {
  const command = addSayOptions(group.command('create <name>').description('create a policy in the projects of the domain'))
    .option('--type <type>', 'backup or replication', 'backup')
    .option('--paused', 'do not run it yet')
  onRun<SayFlags & { type: string, paused?: boolean }>(command, async ({ args: [name = ''], options, openApi, print }) => {
    const pattern = readPattern(options)
    if (pattern === undefined) throw new CommandFailure('usage', 'Say when: --at HH:MM, or --rule.')
    const api = await openApi()
    const { policy } = await api.call<{ policy: OrganizationPolicy }>('POST', PATH, {
      body: {
        policy: {
          name, operation_type: options.type, policy_name: options.policyName ?? name, policy_enabled: options.paused !== true,
          policy_operation_definition: readDefinition(options) ?? {}, policy_trigger: { properties: { pattern } }, ...sayingsOf(options),
        },
      },
    })
    await printOne(api, policy.id, print)
  })
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list the policies of the domain'), organizationPolicyFilters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ policies: readonly OrganizationPolicy[], count: number }>('GET', PATH, { query: await readFilters(api, command, organizationPolicyFilters) })
    print(answer, () => {
      printTable(answer.policies, [
        { title: 'id', value: (policy) => policy.id },
        { title: 'name', value: (policy) => policy.name },
        { title: 'type', value: (policy) => policy.operation_type },
        { title: 'enabled', value: (policy) => policy.policy_enabled },
        { title: 'scope', value: (policy) => policy.effective_scope },
        { title: 'keeps', value: (policy) => describeKeeping(policy.policy_operation_definition) },
        { title: 'status', value: (policy) => policy.status },
      ], 'No policies.')
      noteRest(answer.policies.length, answer.count)
    })
  })
}

function addShow(group: Command): void {
  onRun(group.command('show <policy>').description('show a policy of the domain, and the projects that have it'), async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    await printOne(api, await findOrganizationPolicyId(api, text), print)
  })
}

async function printOne(api: Api, id: string, print: (answer: unknown, show: () => void) => void): Promise<void> {
  const { policy } = await api.call<{ policy: OrganizationPolicy }>('GET', `${PATH}/${id}`)
  const { policies: deployments, count } = await api.call<{ policies: readonly Deployment[], count: number }>('GET', `${PATH}/${id}/policy-detail`)
  print({ policy, deployments }, () => {
    printRecord([
      ['id', policy.id],
      ['name', policy.name],
      ['description', policy.description],
      ['type', policy.operation_type],
      ['scope', policy.effective_scope],
      ['status', policy.status],
      ['in projects', policy.policy_name],
      ['enabled', policy.policy_enabled],
      ...policy.policy_trigger.properties.pattern.map((rule) => ['rule', rule] as const),
      ['keeps', describeKeeping(policy.policy_operation_definition)],
    ])
    printTable(deployments, [
      { title: 'project', value: (deployment) => deployment.project_id },
      { title: 'policy there', value: (deployment) => deployment.policy_id },
      { title: 'status', value: (deployment) => deployment.status },
    ], 'No project has it.')
    noteRest(deployments.length, count)
  })
}

interface UpdateFlags extends SayFlags {
  readonly name?: string
  readonly enable?: boolean
  readonly disable?: boolean
  readonly yes?: boolean
}

function addUpdate(group: Command): void {
  const command = addSayOptions(group.command('update <policy>').description('change a policy of the domain in all projects; keeping less deletes backups later'))
    .option('--name <name>', 'call it so')
    .option('--enable', 'let it run')
    .option('--disable', 'stop its schedule')
    .option('--yes', 'do not ask')
  onRun<UpdateFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    if (options.enable === true && options.disable === true) throw new CommandFailure('usage', 'Say either --enable or --disable.')
    const api = await openApi()
    const id = await findOrganizationPolicyId(api, text)
    const { policy } = await api.call<{ policy: OrganizationPolicy }>('GET', `${PATH}/${id}`)
    const definition = readDefinition(options, policy.policy_operation_definition)
    const pattern = readPattern(options)
    if (definition !== undefined || options.scope !== undefined) {
      await confirm(`Change the policy ${policy.name} in all projects that have it? Keeping less deletes backups; projects that are left out lose it.`, options)
    }
    await api.call('PUT', `${PATH}/${id}`, {
      body: {
        policy: {
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(options.policyName === undefined ? {} : { policy_name: options.policyName }),
          ...(options.enable === true ? { policy_enabled: true } : options.disable === true ? { policy_enabled: false } : {}),
          ...(definition === undefined ? {} : { policy_operation_definition: definition }),
          ...(pattern === undefined ? {} : { policy_trigger: { properties: { pattern } } }),
          ...sayingsOf(options),
        },
      },
    })
    await printOne(api, id, print)
  })
}

function addDelete(group: Command): void {
  const command = group.command('delete <policy>').description('delete a policy of the domain in all projects; backups stay, and those with an end still expire')
    .option('--dry-run', 'only show from which projects it would go')
    .option('--yes', 'do not ask')
  onRun<DestroyFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const id = await findOrganizationPolicyId(api, text)
    const { policy } = await api.call<{ policy: OrganizationPolicy }>('GET', `${PATH}/${id}`)
    if (options.dryRun === true) {
      const { policies: deployments } = await api.call<{ policies: readonly Deployment[] }>('GET', `${PATH}/${id}/policy-detail`)
      print({ dry_run: true, policy, deployments }, () => printTable(deployments, [
        { title: 'would go from', value: (each) => each.project_id },
        { title: 'policy there', value: (each) => each.policy_id },
      ], 'No project has it.'))
      return
    }
    await confirm(`Delete the policy ${policy.name} in all projects that have it?`, options)
    await api.call('DELETE', `${PATH}/${id}`)
    printNote(`The policy ${policy.name} is deleted.`)
  })
}
