/** File agents: registered, given directories, backed up as one resource, restored, removed; with the real agent process. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { addTenant } from './support/tenants.ts'

interface Agent {
  readonly agent_id: string
  readonly status: string
  readonly paths: readonly { readonly dir_path: string, readonly status: string, readonly exclude_paths: string | null }[]
  readonly last_active_time: string
}

const AGENTS = '/v3/{project_id}/agents'
const here = { host_ip: '127.0.0.1', host_name: hostname(), host_os: 'linux', agent_version: '0.0.1' }
const elsewhere = { host_ip: '192.0.2.17', host_name: 'files-01', host_os: 'linux' }

async function register({ steps }: BackupService, told: object = here, id = randomUUID() as string): Promise<string> {
  await steps.send<{ agent: Agent }>('POST', AGENTS, { agent: { agent_id: id, ...told } }, 200)
  return id
}

const show = async ({ steps }: BackupService, id: string): Promise<Agent> => (await steps.get<{ agent: Agent }>(`${AGENTS}/${id}`)).agent

async function createFileVault({ steps }: BackupService, resources: readonly string[], name = 'files'): Promise<string> {
  const { vault } = await steps.send<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
    vault: {
      name,
      billing: { cloud_type: 'hybrid', consistent_level: 'crash_consistent', object_type: 'file', protect_type: 'backup', size: 100 },
      resources: resources.map((id) => ({ id, type: 'OS::Native::Server' })),
    },
  }, 200)
  return vault.id
}

async function refused({ service }: BackupService, method: string, path: string, body: unknown, status: number, code: string, words = /./): Promise<void> {
  const answer = await service.call<{ error_code: string, error_msg: string }>(method, path, body)
  assert.deepEqual([answer.status, answer.body.error_code], [status, `BackupService.${code}`], answer.body.error_msg)
  assert.match(answer.body.error_msg, words)
}

const states = (agent: Agent) => agent.paths.map((path) => [path.dir_path, path.status])

async function write(path: string, content: string): Promise<void> {
  await fs.mkdir(join(path, '..'), { recursive: true })
  await fs.writeFile(path, content)
}

test('the directories of an agent are one backup, and come back with their paths', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  for (const path of ['srv/data/1', 'srv/data/tmp/no', 'srv/data/[odd]*/no', 'etc/app/conf', 'unprotected']) await write(join(root, path), path)
  const id = await register(world)
  const added = await steps.send('POST', `${AGENTS}/${id}/add-path`, {
    add_path: [join(root, 'srv/data'), join(root, 'etc/app/'), join(root, 'srv/data')],
    exclude_path: [{ path_name: join(root, 'srv/data'), exclude_path_name: [join(root, 'srv/data/tmp'), join(root, 'srv/data/[odd]*')] }],
  }, 200)
  assert.deepEqual(added, { added: [join(root, 'srv/data'), join(root, 'etc/app')], existed: [] })

  const vaultId = await createFileVault(world, [id])
  const started = await steps.startCheckpoint(vaultId)
  assert.equal((await steps.checkpointEnd(started.id)).status, 'available', JSON.stringify((await steps.taskOf(started.id)).error_info))
  const [backup] = await steps.backupsOf(started.id)
  assert.equal(backup?.resource_id, id)

  const destination = join(root, 'back')
  const task = await steps.restore(backup?.id ?? '', { details: { destination_path: destination } })
  assert.equal(task.status, 'success', task.error_info.message)
  const back = join(destination, root)
  assert.equal(await fs.readFile(join(back, 'srv/data/1'), 'utf8'), 'srv/data/1')
  assert.equal(await fs.readFile(join(back, 'etc/app/conf'), 'utf8'), 'etc/app/conf')
  assert.deepEqual((await fs.readdir(join(back, 'srv/data'))).toSorted(), ['1'])
  assert.deepEqual((await fs.readdir(back)).toSorted(), ['etc', 'srv'])

  const kit = await steps.recoveryKit(vaultId)
  const stock = restic(resticBinaries().at(-1) ?? 'restic', kit.repository, kit.password)
  stock.run('check', '--no-lock', '--read-data')
  const [snapshot] = JSON.parse(stock.run('snapshots', '--no-lock', '--json').stdout.toString()) as { paths: string[] }[]
  assert.deepEqual(snapshot?.paths.toSorted(), [join(root, 'etc/app'), join(root, 'srv/data')])

  // A second run reads only what is new, and leaves out what was taken out.
  await write(join(root, 'srv/data/2'), 'new')
  world.service.clock.advanceSeconds(60)
  assert.deepEqual(await steps.send('POST', `${AGENTS}/${id}/remove-path`, { remove_path: [join(root, 'etc/app'), '/home/none'] }, 200), {
    removed: [join(root, 'etc/app')], not_existed: ['/home/none'],
  })
  const [second] = await steps.backUp(vaultId)
  assert.equal(second?.status, 'available')
  const listed = stock.run('ls', '--no-lock', 'latest').stdout.toString()
  assert.deepEqual([listed.includes('srv/data/2'), listed.includes('etc/app')], [true, false], listed)
})

test('an agent that cannot be read shows why, as what can be protected and in its task', async () => {
  await using world = await startBackupService()
  const { steps } = world
  const [far, bare, gone] = [await register(world, elsewhere), await register(world), await register(world)]
  await steps.send('POST', `${AGENTS}/${far}/add-path`, { add_path: ['C:\\data', '/srv/data'] }, 200)
  await steps.send('PUT', `${AGENTS}/${gone}`, { agent: { status: 'uninstall' } }, 200)
  assert.deepEqual([(await show(world, far)).status, (await show(world, bare)).status, (await show(world, gone)).status], ['offline', 'normal', 'uninstall'])

  interface Instance { id: string, status: string, protectable: { result: boolean, code: string }, detail: { agent_id: string } }
  const list = async (query: string) => (await steps.get<{ instances: Instance[] }>(`/v3/{project_id}/protectables/server/instances?${query}`)).instances
  const judged = new Map((await list('')).map((each) => [each.id, [each.status, each.protectable.result, each.protectable.code]]))
  assert.deepEqual(judged.get(far), ['offline', false, 'BackupService.7101'])
  assert.deepEqual(judged.get(bare), ['available', false, 'BackupService.7108'])
  assert.deepEqual(judged.get(gone), ['uninstall', false, 'BackupService.7101'])
  assert.deepEqual((await list('status=available')).map((each) => each.id), [bare])
  assert.deepEqual((await list('status=offline')).map((each) => each.id), [far])
  assert.deepEqual(await list('status=nonsense'), [])

  const vaultId = await createFileVault(world, [far, bare, gone])
  const checkpoint = await steps.startCheckpoint(vaultId)
  assert.equal((await steps.checkpointEnd(checkpoint.id)).status, 'error')
  for (const [id, words] of [[far, /files-01 is offline/], [bare, /has no directories/], [gone, /out of service/]] as const) {
    const { status, error_info } = await steps.taskOf(checkpoint.id, id)
    assert.deepEqual([status, error_info.code], ['failed', 'BackupService.6215'])
    assert.match(error_info.message, words)
  }
  const checked = await steps.send<{ agent_status: { installed: boolean, version: string | null, is_old: boolean | null, code: string | null }[] }>('POST', '/v3/{project_id}/agent/check', {
    agent_status: [bare, far, randomUUID()].map((id) => ({ resource_id: id, resource_type: 'OS::Nova::Server' })),
  }, 200)
  assert.deepEqual(checked.agent_status.map((each) => [each.installed, each.version, each.code]), [
    [true, '0.0.1', null], [false, null, 'BackupService.7101'], [false, null, null],
  ])
  // Registering again puts it back.
  await register(world, here, gone)
  assert.equal((await show(world, gone)).status, 'normal')
})

test('a missing directory makes the backup an error that names it, and the others are in it', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  await write(join(root, 'a/1'), 'x')
  const id = await register(world)
  await steps.send('POST', `${AGENTS}/${id}/add-path`, { add_path: [join(root, 'a'), join(root, 'later')] }, 200)
  const vaultId = await createFileVault(world, [id])
  const first = await steps.startCheckpoint(vaultId)
  await steps.checkpointEnd(first.id)
  const task = await steps.taskOf(first.id)
  assert.deepEqual([task.status, task.error_info.code], ['failed', 'BackupService.6215'])
  assert.match(task.error_info.message, new RegExp(join(root, 'later')))
  await write(join(root, 'later/2'), 'x')
  assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
})

test('a path that is taken out while a backup waits or runs stands as remove until that has ended', async () => {
  await using first = await startBackupService(undefined, { agent: 'none' })
  const { root } = first
  await write(join(root, 'a/1'), 'x')
  await write(join(root, 'b/1'), 'x')
  const id = await register(first)
  await first.steps.send('POST', `${AGENTS}/${id}/add-path`, { add_path: [join(root, 'a'), join(root, 'b')] }, 200)
  const vaultId = await createFileVault(first, [id])
  const checkpoint = await first.steps.startCheckpoint(vaultId)
  await first.steps.send('POST', `${AGENTS}/${id}/remove-path`, { remove_path: [join(root, 'b')] }, 200)
  assert.deepEqual(states(await show(first, id)), [[join(root, 'a'), 'available'], [join(root, 'b'), 'remove']])
  const task = await first.steps.taskOf(checkpoint.id)
  await first.steps.send('POST', `/x/v1/{project_id}/tasks/${task.id}/cancel`, undefined, 202)
  assert.deepEqual(states(await show(first, id)), [[join(root, 'a'), 'available']])
})

test('what an agent may not be is refused, and the list filters and pages', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, root } = world
  const id = await register(world)
  await refused(world, 'POST', AGENTS, { agent: { ...here, agent_id: 'nonsense' } }, 400, '9900', /agent\.agent_id/)
  await refused(world, 'POST', AGENTS, { agent: { agent_id: randomUUID(), host_ip: 'x', host_name: 'x' } }, 400, '9900', /host_os/)
  await refused(world, 'GET', `${AGENTS}/${randomUUID()}`, undefined, 404, '6302')
  await refused(world, 'PUT', `${AGENTS}/${randomUUID()}`, { agent: { status: 'uninstall' } }, 404, '6302')
  await refused(world, 'PUT', `${AGENTS}/${id}`, { agent: { status: 'normal' } }, 400, '9900')
  await refused(world, 'POST', `${AGENTS}/${id}/add-path`, { add_path: ['/etc'] }, 400, '9900', /operator allows/)
  await refused(world, 'POST', `${AGENTS}/${id}/add-path`, { add_path: [`${root}/../x`] }, 400, '9900', /\.\./)
  await refused(world, 'POST', `${AGENTS}/${id}/add-path`, {
    add_path: [join(root, 'a')], exclude_path: [{ path_name: join(root, 'a'), exclude_path_name: [join(root, 'b')] }],
  }, 400, '9900', /does not lie in/)
  await refused(world, 'POST', '/v3/{project_id}/vaults', {
    vault: { name: 'x', billing: { consistent_level: 'crash_consistent', object_type: 'file', protect_type: 'backup', size: 100 }, resources: [] },
  }, 400, '6116', /cloud_type/)
  const turbo = await steps.createVault('turbo', [])
  await refused(world, 'POST', `/v3/{project_id}/vaults/${turbo}/addresources`, { resources: [{ id, type: 'OS::Native::Server' }] }, 400, '6102')
  await refused(world, 'DELETE', `/x/v1/{project_id}/resources/${id}`, undefined, 400, '9900', /unregister/)
  for (let n = 0; n < 3; n += 1) await register(world, { ...elsewhere, host_name: `host-${n}` })
  const page = await steps.get<{ agents: Agent[], count: number, limit: number, offset: number }>(`${AGENTS}?limit=2&offset=1&status=offline`)
  assert.deepEqual([page.agents.length, page.count, page.limit, page.offset], [2, 3, 2, 1])
  assert.deepEqual((await steps.get<{ agents: Agent[] }>(`${AGENTS}?agent_id=${id}&agent_id=${randomUUID()}`)).agents.map((agent) => agent.agent_id), [id])
})

test('an agent that is removed takes its backups along, unless the vault is locked', async () => {
  await using world = await startBackupService()
  const { steps, root, service } = world
  await write(join(root, 'a/1'), 'x')
  const id = await register(world)
  await steps.send('POST', `${AGENTS}/${id}/add-path`, { add_path: [join(root, 'a')] }, 200)
  const vaultId = await createFileVault(world, [id])
  const [backup] = await steps.backUp(vaultId)
  const answer = await service.call('DELETE', `${AGENTS}/${id}`)
  assert.deepEqual([answer.status, answer.body], [200, undefined])
  await refused(world, 'GET', `${AGENTS}/${id}`, undefined, 404, '6302')
  await until('the end of the backup', async () => ((await service.call('GET', `/v3/{project_id}/backups/${backup?.id}`)).status === 404 ? true : undefined))
  await until('the empty vault', async () => ((await steps.vault(vaultId)).resources.length === 0 ? true : undefined))

  const kept = await register(world)
  const locked = await createFileVault(world, [kept], 'locked')
  await steps.send('PUT', `/v3/{project_id}/vaults/${locked}`, { vault: { locked: true } }, 200)
  await refused(world, 'DELETE', `${AGENTS}/${kept}`, undefined, 400, '6110', /locked/)
  assert.equal((await show(world, kept)).agent_id, kept)
})

test('an agent belongs to its project: another one sees nothing of it, and may have one with the same id', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, root, service } = world
  const id = await register(world)
  await steps.send('POST', `${AGENTS}/${id}/add-path`, { add_path: [join(root, 'a')] }, 200)
  const other = await addTenant(service, 'other')
  for (const [method, path, body] of [
    ['GET', `${AGENTS}/${id}`, undefined], ['DELETE', `${AGENTS}/${id}`, undefined], ['PUT', `${AGENTS}/${id}`, { agent: { status: 'uninstall' } }],
    ['POST', `${AGENTS}/${id}/add-path`, { add_path: [join(root, 'b')] }], ['POST', `${AGENTS}/${id}/remove-path`, { remove_path: [join(root, 'a')] }],
  ] as const) {
    assert.equal((await other.call(method, path, body)).status, 404, `${method} ${path}`)
  }
  assert.deepEqual((await other.call<{ agents: Agent[], count: number }>('GET', AGENTS)).body.count, 0)
  const same = await other.call<{ agent: Agent }>('POST', AGENTS, { agent: { agent_id: id, ...elsewhere } })
  assert.deepEqual([same.status, same.body.agent.status, same.body.agent.paths], [200, 'offline', []])
  const { instances } = (await other.call<{ instances: { id: string, detail: { agent_id: string } }[] }>('GET', '/v3/{project_id}/protectables/server/instances')).body
  assert.deepEqual([instances.length, instances[0]?.detail.agent_id], [1, id])
  assert.notEqual(instances[0]?.id, id)
  assert.equal((await other.call('DELETE', `${AGENTS}/${id}`)).status, 200)
  assert.deepEqual(states(await show(world, id)), [[join(root, 'a'), 'available']])
})
