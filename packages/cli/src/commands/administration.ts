/** `domain`, `project`, `user`, `group`, `role` and `key`: who may do what. Needs an administrator, except for one's own keys and password. */
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import type {
  AdministeredDomain, AdministeredProject, AdministeredUser, RoleAssignment, ShownAccessKey, ShownRole, UserGroup,
} from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, collect, onRun, pagingFilters, readFilters, type Filter } from '../command.ts'
import { confirm, type DestroyFlags } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { isId, pickOne } from '../names.ts'
import { noteRest, printLine, printNote, printRecord, printTable, showTime, type Column } from '../output.ts'

interface Row { readonly id: string, readonly name: string, readonly description: string, readonly created_at: string, readonly enabled?: boolean }

/** What domains, projects, users and groups have in common. */
interface Noun {
  readonly name: 'domain' | 'project' | 'user' | 'group'
  readonly text: string
  readonly switched: boolean
}

const path = (noun: Noun['name'] | 'role', id?: string): string => `/x/v1/${noun}s${id === undefined ? '' : `/${encodeURIComponent(id)}`}`

async function findId(api: Api, noun: Noun['name'] | 'role', text: string): Promise<string> {
  if (isId(text)) return text
  const answer = await api.call<Record<string, readonly { id: string, name: string }[]>>('GET', path(noun), { query: { name: text } })
  return pickOne(noun, text, answer[`${noun}s`] ?? []).id
}

const domainFilter: Filter = { flags: '--domain <domain>', parameter: 'domain_id', text: 'of this domain', find: (api, text) => findId(api, 'domain', text) }

export function addDomain(program: Command): void {
  const noun: Noun = { name: 'domain', text: 'a domain', switched: true }
  const group = program.command('domain').description('accounts: each has projects and users of its own')
  const create = group.command('create <name>').description('create a domain').option('--description <text>', 'what it is for')
  onRun<{ description?: string }>(create, async ({ args: [name], options, openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ domain: AdministeredDomain }>('POST', path('domain'), { body: { domain: { name, ...described(options) } } })
    print(answer, () => printRow(answer.domain))
  })
  addCommon(group, noun, [])
}

export function addProject(program: Command): void {
  const noun: Noun = { name: 'project', text: 'a project', switched: true }
  const group = program.command('project').description('tenants: each has vaults and backups of its own')
  const create = group.command('create <name>')
    .description('create a project')
    .option('--description <text>', 'what it is for')
    .option('--domain <domain>', 'in this domain; default: ours')
  onRun<{ description?: string, domain?: string }>(create, async ({ args: [name], options, openApi, print }) => {
    const api = await openApi()
    const body = { project: { name, ...described(options), ...await inDomain(api, options) } }
    const answer = await api.call<{ project: AdministeredProject }>('POST', path('project'), { body })
    print(answer, () => printRow(answer.project))
  })
  addCommon(group, noun, [domainFilter])
}

export function addUser(program: Command): void {
  const noun: Noun = { name: 'user', text: 'a user', switched: true }
  const group = program.command('user').description('who may log in')
  const create = group.command('create <name>')
    .description('create a user; without --password a random one is made and shown once')
    .option('--description <text>', 'who it is')
    .option('--domain <domain>', 'in this domain; default: ours')
    .option('--password <password>', 'at least 10 characters; other users of this machine may see it in the list of processes')
  onRun<{ description?: string, domain?: string, password?: string }>(create, async ({ args: [name], options, openApi, print }) => {
    const api = await openApi()
    const password = options.password ?? randomBytes(18).toString('base64url')
    const body = { user: { name, password, ...described(options), ...await inDomain(api, options) } }
    const answer = await api.call<{ user: AdministeredUser }>('POST', path('user'), { body })
    const shown = options.password === undefined ? { user: { ...answer.user, password } } : answer
    print(shown, () => printRow(answer.user, options.password === undefined ? [['password', password]] : []))
  })
  const reset = group.command('password <user>')
    .description('give a user another password; without --password a random one is made and shown once')
    .option('--password <password>', 'at least 10 characters')
  onRun<{ password?: string }>(reset, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const password = options.password ?? randomBytes(18).toString('base64url')
    const answer = await api.call<{ user: AdministeredUser }>('PUT', path('user', await findId(api, 'user', text)), { body: { user: { password } } })
    const shown = options.password === undefined ? { user: { ...answer.user, password } } : answer
    print(shown, () => (options.password === undefined ? printLine(password) : printNote(`The user ${answer.user.name} has another password.`)))
  })
  addCommon(group, noun, [domainFilter])
}

export function addGroup(program: Command): void {
  const noun: Noun = { name: 'group', text: 'a group', switched: false }
  const group = program.command('group').description('users who have their roles together')
  const create = group.command('create <name>')
    .description('create a group')
    .option('--description <text>', 'who is in it')
    .option('--domain <domain>', 'in this domain; default: ours')
  onRun<{ description?: string, domain?: string }>(create, async ({ args: [name], options, openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ group: UserGroup }>('POST', path('group'), { body: { group: { name, ...described(options), ...await inDomain(api, options) } } })
    print(answer, () => printRow(answer.group))
  })
  for (const [verb, method, text] of [['add-user', 'PUT', 'put a user into a group'], ['remove-user', 'DELETE', 'take a user out of a group']] as const) {
    const command = group.command(`${verb} <group> <user>`).description(text)
    onRun(command, async ({ args: [groupText = '', userText = ''], openApi }) => {
      const api = await openApi()
      const userId = await findId(api, 'user', userText)
      await api.call(method, `${path('group', await findId(api, 'group', groupText))}/users/${encodeURIComponent(userId)}`)
      printNote(`The user ${userText} is ${verb === 'add-user' ? 'in' : 'no longer in'} the group ${groupText}.`)
    })
  }
  addCommon(group, noun, [domainFilter])
}

/** list, show, update and delete. */
function addCommon(group: Command, noun: Noun, filters: readonly Filter[]): void {
  const all: readonly Filter[] = [{ flags: '--name <name>', parameter: 'name', text: 'with this name' }, ...filters, ...pagingFilters]
  const list = addFilters(group.command('list').description(`list ${noun.name}s`), all)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ count: number } & Record<string, unknown>>('GET', path(noun.name), { query: await readFilters(api, list, all) })
    const rows = answer[`${noun.name}s`] as readonly (Row & { domain_id?: string })[]
    print(answer, () => {
      const columns: Column<Row & { domain_id?: string }>[] = [
        { title: 'id', value: (row) => row.id },
        { title: 'name', value: (row) => row.name },
        ...(noun.switched ? [{ title: 'enabled', value: (row: Row) => row.enabled }] : []),
        ...(noun.name === 'domain' ? [] : [{ title: 'domain', value: (row: { domain_id?: string }) => row.domain_id }]),
        { title: 'description', value: (row) => row.description },
      ]
      printTable(rows, columns, `No ${noun.name}s.`)
      noteRest(rows.length, answer.count)
    })
  })

  const show = group.command(`show <${noun.name}>`).description(`show ${noun.text}`)
  onRun(show, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<Record<string, Row & { user_ids?: readonly string[] }>>('GET', path(noun.name, await findId(api, noun.name, text)))
    const row = answer[noun.name]
    if (row === undefined) throw new CommandFailure('failure', `The server answered without the ${noun.name}.`)
    print(answer, () => printRow(row, row.user_ids === undefined ? [] : [['users', row.user_ids.join(', ')]]))
  })

  if (noun.switched) {
    const update = group.command(`update <${noun.name}>`).description(`describe, disable or enable ${noun.text}`)
      .option('--description <text>', 'new description').option('--enable', 'let it act').option('--disable', 'let it act no more, at once')
    onRun<{ description?: string, enable?: boolean, disable?: boolean }>(update, async ({ args: [text = ''], options, openApi, print }) => {
      const change = { ...described(options), ...switchedBy(options) }
      if (Object.keys(change).length === 0) throw new CommandFailure('usage', 'Say what to change: --description, --enable or --disable.')
      const api = await openApi()
      const answer = await api.call<Record<string, Row>>('PUT', path(noun.name, await findId(api, noun.name, text)), { body: { [noun.name]: change } })
      const row = answer[noun.name]
      print(answer, () => row !== undefined && printRow(row))
    })
  }

  const remove = addDestroyOptions(group.command(`delete <${noun.name}>`).description(`delete ${noun.text}`))
  onRun<DestroyFlags>(remove, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const id = await findId(api, noun.name, text)
    if (options.dryRun === true) {
      const answer = await api.call<Record<string, Row>>('GET', path(noun.name, id))
      print({ dry_run: true, ...answer }, () => printLine(`The ${noun.name} ${answer[noun.name]?.name ?? text} would be deleted.`))
      return
    }
    await confirm(`Delete the ${noun.name} ${text}?`, options)
    await api.call('DELETE', path(noun.name, id))
    printNote(`The ${noun.name} ${text} is deleted.`)
  })
}

function addDestroyOptions(command: Command): Command {
  return command.option('--dry-run', 'only say what would be deleted').option('--yes', 'do not ask')
}

function described({ description }: { readonly description?: string }): { description?: string } {
  return description === undefined ? {} : { description }
}

function switchedBy({ enable, disable }: { readonly enable?: boolean, readonly disable?: boolean }): { enabled?: boolean } {
  if (enable === true && disable === true) throw new CommandFailure('usage', 'Say either --enable or --disable.')
  if (enable === true) return { enabled: true }
  return disable === true ? { enabled: false } : {}
}

async function inDomain(api: Api, { domain }: { readonly domain?: string }): Promise<{ domain_id?: string }> {
  return domain === undefined ? {} : { domain_id: await findId(api, 'domain', domain) }
}

function printRow(row: Row, more: readonly (readonly [string, string])[] = []): void {
  printRecord([
    ['id', row.id], ['name', row.name], ['description', row.description],
    ...(row.enabled === undefined ? [] : [['enabled', row.enabled] as const]), ['created', showTime(row.created_at)], ...more,
  ])
}

interface ScopeFlags {
  readonly user?: string
  readonly group?: string
  readonly project?: string
  readonly domain?: string
  readonly system?: boolean
  readonly enterpriseProject?: readonly string[]
}

const assignmentFilters: readonly Filter[] = [
  { flags: '--user <user>', parameter: 'user_id', text: 'of this user', find: (api, text) => findId(api, 'user', text) },
  { flags: '--group <group>', parameter: 'group_id', text: 'of this group', find: (api, text) => findId(api, 'group', text) },
  { flags: '--project <project>', parameter: 'project_id', text: 'in this project', find: (api, text) => findId(api, 'project', text) },
  domainFilter,
  { flags: '--role <role>', parameter: 'role', text: 'this role' },
  ...pagingFilters,
]

export function addRole(program: Command): void {
  const group = program.command('role').description('what may be done, and who may do it where')
  addOwnRoles(group)

  const assign = group.command('assign <role>')
    .description('give a user or a group a role in a project, a domain or the system')
    .option('--user <user>', 'to this user').option('--group <group>', 'to who is in this group')
    .option('--project <project>', 'in this project').option('--domain <domain>', 'in this domain with all its projects')
    .option('--system', 'for administering everything')
    .option('--enterprise-project <id>', 'confined to this enterprise project of the project; may be repeated', collect)
  onRun<ScopeFlags>(assign, async ({ args: [role], options, openApi, print }) => {
    const api = await openApi()
    const find = async (noun: Noun['name'], text: string | undefined) => (text === undefined ? {} : { [`${noun}_id`]: await findId(api, noun, text) })
    const body = {
      role_assignment: {
        role,
        ...await find('user', options.user), ...await find('group', options.group),
        ...await find('project', options.project), ...await find('domain', options.domain),
        ...(options.system === true ? { system: true } : {}),
        ...(options.enterpriseProject === undefined ? {} : { enterprise_project_ids: options.enterpriseProject }),
      },
    }
    const answer = await api.call<{ role_assignment: RoleAssignment }>('POST', '/x/v1/role-assignments', { body })
    print(answer, () => printAssignments([answer.role_assignment]))
  })

  const assignments = addFilters(group.command('assignments').description('list who has which role where'), assignmentFilters)
  onRun(assignments, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, assignments, assignmentFilters)
    const answer = await api.call<{ role_assignments: readonly RoleAssignment[], count: number }>('GET', '/x/v1/role-assignments', { query })
    print(answer, () => {
      printAssignments(answer.role_assignments)
      noteRest(answer.role_assignments.length, answer.count)
    })
  })

  const unassign = group.command('unassign <assignment>').description('take a role away, by the id of the assignment; it ends at once')
  onRun(unassign, async ({ args: [id = ''], openApi }) => {
    const api = await openApi()
    await api.call('DELETE', `/x/v1/role-assignments/${encodeURIComponent(id)}`)
    printNote('The role is taken away.')
  })
}

function addOwnRoles(group: Command): void {
  const create = group.command('create <name> <action...>')
    .description('create a role: a list of actions such as cbr:backups:list or cbr:tasks:*')
    .option('--description <text>', 'what it is for').option('--domain <domain>', 'in this domain; default: ours')
  onRun<{ description?: string, domain?: string }>(create, async ({ args: [name, ...actions], options, openApi, print }) => {
    const api = await openApi()
    const body = { role: { name, actions, ...described(options), ...await inDomain(api, options) } }
    const answer = await api.call<{ role: ShownRole }>('POST', path('role'), { body })
    print(answer, () => printRole(answer.role))
  })

  const roleFilters: readonly Filter[] = [{ flags: '--name <name>', parameter: 'name', text: 'with this name' }, domainFilter, ...pagingFilters]
  const list = addFilters(group.command('list').description('list roles, the built-in ones first'), roleFilters)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, roleFilters)
    const answer = await api.call<{ built_in: readonly ShownRole[], roles: readonly ShownRole[], count: number }>('GET', path('role'), { query })
    print(answer, () => {
      printTable([...answer.built_in, ...answer.roles], [
        { title: 'id', value: (role) => role.id },
        { title: 'name', value: (role) => role.name },
        { title: 'built in', value: (role) => role.domain_id === null },
        { title: 'description', value: (role) => role.description },
      ], 'No roles.')
      noteRest(answer.roles.length, answer.count)
    })
  })

  const show = group.command('show <role>').description('show a role')
  onRun(show, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await showRole(api, text)
    print(answer, () => printRole(answer.role))
  })

  const update = group.command('update <role> [action...]').description('change what a role allows').option('--description <text>', 'new description')
  onRun<{ description?: string }>(update, async ({ args: [text = '', ...actions], options, openApi, print }) => {
    const api = await openApi()
    const { role: { id } } = await showRole(api, text)
    const body = { role: { ...described(options), ...(actions.length === 0 ? {} : { actions }) } }
    const answer = await api.call<{ role: ShownRole }>('PUT', path('role', id), { body })
    print(answer, () => printRole(answer.role))
  })

  const remove = group.command('delete <role>').description('delete a role that nobody has')
  onRun<DestroyFlags>(addDestroyOptions(remove), async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const { role } = await showRole(api, text)
    if (options.dryRun === true) {
      print({ dry_run: true, role }, () => printLine(`The role ${role.name} would be deleted.`))
      return
    }
    await confirm(`Delete the role ${role.name}?`, options)
    await api.call('DELETE', path('role', role.id))
    printNote(`The role ${role.name} is deleted.`)
  })
}

/** By id, by the name of a built-in role, or by the name of another. */
async function showRole(api: Api, text: string): Promise<{ role: ShownRole }> {
  const { built_in: builtIn, roles } = await api.call<{ built_in: readonly ShownRole[], roles: readonly ShownRole[] }>('GET', path('role'), { query: { name: text } })
  const known = builtIn.find((role) => role.name === text)
  if (known !== undefined) return { role: known }
  return api.call<{ role: ShownRole }>('GET', path('role', isId(text) ? text : pickOne('role', text, roles).id))
}

function printRole(role: ShownRole): void {
  printRecord([
    ['id', role.id], ['name', role.name], ['description', role.description], ['domain', role.domain_id],
    ['actions', role.actions.join(' ')], ['except', role.except.join(' ')],
  ])
}

function printAssignments(assignments: readonly RoleAssignment[]): void {
  printTable(assignments, [
    { title: 'id', value: (row) => row.id },
    { title: 'role', value: (row) => row.role_name },
    { title: 'who', value: (row) => (row.user_id === null ? `group ${row.group_id}` : `user ${row.user_id}`) },
    { title: 'where', value: (row) => (row.system ? 'system' : row.project_id === null ? `domain ${row.domain_id}` : `project ${row.project_id}`) },
    { title: 'enterprise projects', value: (row) => row.enterprise_project_ids?.join(', ') },
  ], 'Nobody has a role there.')
}

const keyPath = (key?: string): string => `/x/v1/access-keys${key === undefined ? '' : `/${encodeURIComponent(key)}`}`

export function addKey(program: Command): void {
  const group = program.command('key').description('access keys, with which programs sign their calls')

  const create = group.command('create').description('create an access key; its secret is shown once')
    .option('--user <user>', 'for this user; default: ours').option('--description <text>', 'what it is for')
  onRun<{ user?: string, description?: string }>(create, async ({ options, openApi, print }) => {
    const api = await openApi()
    const body = { access_key: { ...described(options), ...(options.user === undefined ? {} : { user_id: await findId(api, 'user', options.user) }) } }
    const answer = await api.call<{ access_key: ShownAccessKey & { secret_key: string } }>('POST', keyPath(), { body })
    print(answer, () => printRecord([
      ['access key', answer.access_key.access_key], ['secret key', answer.access_key.secret_key], ['user', answer.access_key.user_id],
    ]))
  })

  const keyFilters: readonly Filter[] = [
    { flags: '--user <user>', parameter: 'user_id', text: 'of this user; default: ours', find: (api, text) => findId(api, 'user', text) }, ...pagingFilters,
  ]
  const list = addFilters(group.command('list').description('list access keys'), keyFilters)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, keyFilters)
    const answer = await api.call<{ access_keys: readonly ShownAccessKey[], count: number }>('GET', keyPath(), { query })
    print(answer, () => {
      printTable(answer.access_keys, [
        { title: 'access key', value: (key) => key.access_key },
        { title: 'user', value: (key) => key.user_id },
        { title: 'enabled', value: (key) => key.enabled },
        { title: 'created', value: (key) => showTime(key.created_at) },
        { title: 'description', value: (key) => key.description },
      ], 'No access keys.')
      noteRest(answer.access_keys.length, answer.count)
    })
  })

  for (const [verb, enabled, text] of [['enable', true, 'let an access key act again'], ['disable', false, 'let an access key act no more, at once']] as const) {
    const command = group.command(`${verb} <key>`).description(text)
    onRun(command, async ({ args: [key = ''], openApi, print }) => {
      const api = await openApi()
      const answer = await api.call('PUT', keyPath(key), { body: { access_key: { enabled } } })
      print(answer, () => printNote(`The access key ${key} is ${verb}d.`))
    })
  }

  const remove = group.command('delete <key>').description('delete an access key; it ends at once').option('--yes', 'do not ask')
  onRun<DestroyFlags>(remove, async ({ args: [key = ''], options, openApi }) => {
    const api = await openApi()
    await confirm(`Delete the access key ${key}?`, options)
    await api.call('DELETE', keyPath(key))
    printNote(`The access key ${key} is deleted.`)
  })
}
