import { randomUUID } from 'node:crypto'
import { hostname, networkInterfaces, platform } from 'node:os'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Agent } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, collect, onRun, readFilters, type Filter } from '../command.ts'
import { confirm } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { isId } from '../names.ts'
import { noteRest, printNote, printRecord, printTable, showTime } from '../output.ts'
import { tasksStartedBy } from '../tasks.ts'
import { addWaitOptions, finishTasks, type WaitFlags } from '../wait-options.ts'
import { version } from '../version.ts'

export const agentFilters: readonly Filter[] = [
  { flags: '--status <status>', parameter: 'status', text: 'normal, offline or uninstall' },
  { flags: '--agent-id <id>', parameter: 'agent_id', text: 'with this id', repeatable: true },
  { flags: '--limit <rows>', parameter: 'limit', text: 'at most so many rows (the server sends at most 1000)' },
  { flags: '--offset <rows>', parameter: 'offset', text: 'skip so many rows' },
]

export function addAgent(program: Command): void {
  const group = program.command('agent').description('machines whose directories are backed up together')
  addRegister(group)
  addList(group)
  addShow(group)
  addPaths(group)
  addUninstall(group)
  addUnregister(group)
}

interface RegisterOptions {
  readonly id?: string
  readonly name?: string
  readonly host?: string
  readonly address?: string
  readonly os?: string
  readonly path?: readonly string[]
}

function addRegister(group: Command): void {
  const command = group.command('register')
    .description('register this machine, or another one')
    .option('--id <uuid>', 'the id of the agent; a new one when absent, and the same one to register it again')
    .option('--name <name>', 'name for people')
    .option('--host <name>', 'name of the machine (default: this one)')
    .option('--address <address>', 'address of the machine (default: one of this machine)')
    .option('--os <system>', 'operating system (default: that of this machine)')
    .option('--path <dir>', 'back up this directory; may be repeated', collect)
  onRun<RegisterOptions>(command, async ({ options, openApi, print }) => {
    const api = await openApi()
    const agent = {
      agent_id: options.id ?? randomUUID(),
      agent_type: 'native',
      agent_version: /\d+\.\d+\.\d+/.exec(version)?.[0],
      host_ip: options.address ?? ownAddress(),
      host_name: options.host ?? hostname(),
      host_nickname: options.name,
      host_os: options.os ?? platform(),
    }
    await api.call<{ agent: Agent }>('POST', '/v3/{project_id}/agents', { body: { agent } })
    if (options.path !== undefined) await api.call('POST', `${pathOf(agent.agent_id)}/add-path`, { body: { add_path: options.path.map((path) => resolve(path)) } })
    const answer = await showCall(api, agent.agent_id)
    print(answer, () => showAgent(answer.agent))
  })
}

/** The address by which others reach this machine; a loopback one when there is none. */
function ownAddress(): string {
  const outside = Object.values(networkInterfaces()).flatMap((each) => each ?? []).find((each) => !each.internal)
  return outside?.address ?? '127.0.0.1'
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list agents, newest first'), agentFilters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ agents: readonly Agent[], count: number }>('GET', '/v3/{project_id}/agents', { query: await readFilters(api, command, agentFilters) })
    print(answer, () => {
      printTable(answer.agents, [
        { title: 'id', value: (agent) => agent.agent_id },
        { title: 'name', value: nameOf },
        { title: 'address', value: (agent) => agent.host_ip },
        { title: 'status', value: (agent) => agent.status },
        { title: 'paths', value: (agent) => agent.paths.length, align: 'right' },
        { title: 'last active', value: (agent) => showTime(agent.last_active_time) },
      ], 'No agents.')
      noteRest(answer.agents.length, answer.count)
    })
  })
}

function addShow(group: Command): void {
  const command = group.command('show <agent>').description('show an agent and its directories')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await showCall(api, await findAgentId(api, text))
    print(answer, () => showAgent(answer.agent))
  })
}

function addPaths(group: Command): void {
  const add = group.command('add-path <agent> <dir...>')
    .description('back up directories of the machine, from the next run on')
    .option('--exclude <dir>', 'leave this directory inside them out; may be repeated', collect)
  onRun<{ exclude?: readonly string[] }>(add, async ({ args: [text = '', ...paths], options, openApi, print }) => {
    const api = await openApi()
    const excludes = paths.map((path) => ({ path_name: path, exclude_path_name: (options.exclude ?? []).filter((each) => each.startsWith(`${path.replace(/\/$/, '')}/`)) }))
    const stray = options.exclude?.find((each) => !excludes.some((path) => path.exclude_path_name.includes(each)))
    if (stray !== undefined) throw new CommandFailure('usage', `${stray} does not lie in ${paths.join(' or ')}.`)
    const answer = await api.call<{ added: string[], existed: string[] }>('POST', `${pathOf(await findAgentId(api, text))}/add-path`, {
      body: { add_path: paths, exclude_path: excludes.filter((path) => path.exclude_path_name.length > 0) },
    })
    print(answer, () => {
      for (const path of answer.added) printNote(`${path} is backed up from the next run on.`)
      for (const path of answer.existed) printNote(`${path} was there already.`)
    })
  })
  const remove = group.command('remove-path <agent> <dir...>').description('stop backing up directories; backups that hold them stay')
  onRun(remove, async ({ args: [text = '', ...paths], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ removed: string[], not_existed: string[] }>('POST', `${pathOf(await findAgentId(api, text))}/remove-path`, { body: { remove_path: paths } })
    print(answer, () => {
      for (const path of answer.removed) printNote(`${path} is not backed up any more.`)
      for (const path of answer.not_existed) printNote(`${path} was not backed up.`)
    })
  })
}

function addUninstall(group: Command): void {
  const command = group.command('uninstall <agent>').description('take an agent out of service; its backups stay')
  onRun(command, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ agent: Agent }>('PUT', pathOf(await findAgentId(api, text)), { body: { agent: { status: 'uninstall' } } })
    print(answer, () => showAgent(answer.agent))
  })
}

interface UnregisterOptions extends WaitFlags {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

function addUnregister(group: Command): void {
  const command = addWaitOptions(group.command('unregister <agent>')
    .description('remove an agent, and delete all its backups')
    .option('--dry-run', 'only say what would be deleted')
    .option('--yes', 'do not ask'))
  onRun<UnregisterOptions>(command, async ({ args: [text = ''], options, openApi }) => {
    const api = await openApi()
    const { agent } = await showCall(api, await findAgentId(api, text))
    const resourceId = await findResourceOf(api, agent.agent_id)
    const { count } = await api.call<{ count: number }>('GET', '/v3/{project_id}/backups', { query: { resource_id: resourceId, limit: '1' } })
    if (options.dryRun === true) {
      printNote(`The agent ${nameOf(agent)} would be removed, and ${count} backups of it deleted.`)
      return
    }
    await confirm(`Remove the agent ${nameOf(agent)} and delete ${count} backups?`, options)
    const tasks = await tasksStartedBy(api, { operation_type: 'remove_resource' }, () => api.call('DELETE', pathOf(agent.agent_id)))
    // Other resources may have been removed in the same moment.
    const own = tasks.filter((task) => task.extra_info.remove_resources?.resources.some((resource) => resource.id === resourceId) === true)
    await finishTasks(api, own, options)
    printNote(`The agent ${nameOf(agent)} is removed.`)
  })
}

/** The resource has the agent's id, unless somebody else's had it before. */
async function findResourceOf(api: Api, agentId: string): Promise<string> {
  const path = '/v3/{project_id}/protectables/server/instances'
  for (let offset = 0; ; offset += 100) {
    const { instances } = await api.call<{ instances: readonly { id: string, detail: { agent_id?: string } }[] }>('GET', path, { query: { limit: '100', offset: String(offset) } })
    const found = instances.find((instance) => instance.detail.agent_id === agentId)
    if (found !== undefined) return found.id
    if (instances.length < 100) return agentId
  }
}

function pathOf(id: string): string {
  return `/v3/{project_id}/agents/${encodeURIComponent(id)}`
}

function showCall(api: Api, id: string): Promise<{ agent: Agent }> {
  return api.call<{ agent: Agent }>('GET', pathOf(id))
}

function nameOf(agent: Agent): string {
  return agent.host_nickname === null || agent.host_nickname === '' ? agent.host_name : agent.host_nickname
}

async function findAgentId(api: Api, text: string): Promise<string> {
  if (isId(text)) return text
  const { agents } = await api.call<{ agents: readonly Agent[] }>('GET', '/v3/{project_id}/agents')
  const [found, ...more] = agents.filter((agent) => nameOf(agent) === text || agent.host_name === text)
  if (found === undefined) throw new CommandFailure('notFound', `There is no agent with the name or id ${text}.`)
  if (more.length > 0) throw new CommandFailure('usage', `There are ${more.length + 1} agents with the name ${text}; use the id of one of them.`)
  return found.agent_id
}

function showAgent(agent: Agent): void {
  printRecord([
    ['id', agent.agent_id],
    ['name', nameOf(agent)],
    ['host', `${agent.host_name} (${agent.host_ip}, ${agent.host_os})`],
    ['version', agent.agent_version],
    ['status', agent.status],
    ['registered', showTime(agent.created_at)],
    ['last active', showTime(agent.last_active_time)],
    ...agent.paths.map((path) => ['path', `${path.dir_path}${path.exclude_paths === null ? '' : ` without ${path.exclude_paths}`}${path.status === 'remove' ? ' (being removed)' : ''}`] as const),
  ])
}
