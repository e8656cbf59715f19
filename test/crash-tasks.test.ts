/**
 * Cancelled tasks, agents and whole checkpoints whose server or agent process is killed: whatever was
 * asked for happens or has ended, nothing stays in between, and what is called available is whole.
 */
import assert from 'node:assert/strict'
import { randomFillSync, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { until } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { startServerProcess, type ServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

interface World {
  readonly root: string
  readonly dataDir: string
  server: ServerProcess
}

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-crash-tasks-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  await fs.mkdir(root)
  const world: World = { root, dataDir, server: await startServerProcess({ dataDir, allowPaths: [root] }) }
  try {
    await run(world)
  } finally {
    await world.server[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
  }
}

async function fill(folder: string, mebibytes: number): Promise<string> {
  await fs.mkdir(folder, { recursive: true })
  for (let at = 0; at < mebibytes; at += 4) await fs.writeFile(join(folder, `part-${at}`), randomFillSync(Buffer.alloc(4 * MIB)))
  return folder
}

/** One that has ended by itself meanwhile is as dead. */
function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}

async function kill(world: World, victim: 'agent' | 'server'): Promise<void> {
  if (victim === 'agent') {
    for (const pid of world.server.agentPids()) killHard(pid)
    return
  }
  world.server.signal('SIGKILL')
  await world.server.ended
  world.server = await startServerProcess({ dataDir: world.dataDir, allowPaths: [world.root] })
}

async function calm(world: World): Promise<void> {
  for (const status of ['waiting', 'running']) {
    await until(`no task is ${status}`, async () => ((await world.server.steps.tasks(`status=${status}`)).length === 0 ? true : undefined))
  }
  const catalogue = new DatabaseSync(join(world.dataDir, 'catalogue.db'), { readOnly: true })
  try {
    const between = {
      jobs: `select status from jobs where status in ('waiting', 'leased')`,
      backups: `select status from backups where status not in ('available', 'error')`,
      checkpoints: `select status from checkpoints where status not in ('available', 'error')`,
      vault_resources: `select protect_status from vault_resources where protect_status != 'available'`,
      agent_paths: `select status from agent_paths where status != 'available'`,
    }
    for (const [what, query] of Object.entries(between)) assert.deepEqual(catalogue.prepare(query).all(), [], what)
  } finally {
    catalogue.close()
  }
}

async function assertWhole({ server }: World, vaultId: string): Promise<void> {
  const kit = await server.steps.recoveryKit(vaultId)
  if ((await fs.readdir(kit.repository).catch(() => [])).length === 0) return
  restic(resticBinaries().at(-1) ?? 'restic', kit.repository, kit.password).run('check', '--no-lock', '--read-data')
}

test('a task that was cancelled ends, whoever dies when, and never begins again', { timeout: 200_000 }, async (t) => {
  await withWorld(async (world) => {
    const folder = join(world.root, 'folder')
    const vaultId = await world.server.steps.createVault('turbo', [await world.server.steps.declare(await fill(folder, 32))])
    for (const [victim, runsFor] of [['server', 0], ['agent', 0], ['server', 2], ['agent', 2]] as const) {
      await t.test(`${victim} dies, ${runsFor === 0 ? 'at once' : 'while it works'}`, async () => {
        await fill(folder, 32)
        const { repository } = await world.server.steps.recoveryKit(vaultId)
        const count = async (): Promise<number> => (await fs.readdir(repository, { recursive: true }).catch(() => [])).length
        const before = await count()
        const checkpoint = await world.server.steps.startCheckpoint(vaultId)
        const task = await world.server.steps.taskOf(checkpoint.id)
        while (await count() < before + runsFor && ['waiting', 'running'].includes((await world.server.steps.taskOf(checkpoint.id)).status)) await sleep(1)
        const asked = await world.server.call('POST', `/x/v1/{project_id}/tasks/${task.id}/cancel`)
        await kill(world, victim)
        await calm(world)
        const ended = await world.server.steps.taskOf(checkpoint.id)
        // It may have been done before it heard of it.
        if (ended.status === 'failed') assert.match(ended.error_info.message, /^Cancelled/)
        else assert.equal(ended.status, 'success', `${asked.status}: ${ended.error_info.message}`)
        await assertWhole(world, vaultId)
      })
    }
    assert.equal((await world.server.steps.backUp(vaultId))[0]?.status, 'available')
  })
})

test('a checkpoint of several backups goes whole, though its server or agent dies in between', { timeout: 200_000 }, async () => {
  await withWorld(async (world) => {
    const resources = await Promise.all(['one', 'two', 'three'].map(async (name) => world.server.steps.declare(await fill(join(world.root, name), 4))))
    const vaultId = await world.server.steps.createVault('turbo', resources)
    for (const victim of ['server', 'agent'] as const) {
      const backups = await world.server.steps.backUp(vaultId)
      assert.equal(backups.length, 3)
      const path = `/v3/{project_id}/checkpoints/${backups[0]?.checkpoint_id}`
      for (const { id } of backups) await world.server.steps.send('DELETE', `/v3/{project_id}/backups/${id}`, undefined, 204)
      await until('the first one', async () => ((await world.server.call('GET', `/v3/{project_id}/backups/${backups[0]?.id}`)).status === 404 ? true : undefined))
      await kill(world, victim)
      await calm(world)
      assert.equal((await world.server.call('GET', path)).status, 404)
      await assertWhole(world, vaultId)
    }
  })
})

test('the backup of an agent goes on after a death, and so does its removal', { timeout: 200_000 }, async () => {
  await withWorld(async (world) => {
    const agents = '/v3/{project_id}/agents'
    const id = randomUUID() as string
    await world.server.steps.send('POST', agents, { agent: { agent_id: id, host_ip: '127.0.0.1', host_name: hostname(), host_os: 'linux' } }, 200)
    const paths = [await fill(join(world.root, 'one'), 16), await fill(join(world.root, 'two'), 16)]
    await world.server.steps.send('POST', `${agents}/${id}/add-path`, { add_path: paths }, 200)
    const { vault } = await world.server.steps.send<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
      vault: {
        name: 'files',
        billing: { cloud_type: 'hybrid', consistent_level: 'crash_consistent', object_type: 'file', protect_type: 'backup', size: 10 },
        resources: [{ id, type: 'OS::Native::Server' }],
      },
    }, 200)
    for (const victim of ['server', 'agent'] as const) {
      const { id: checkpointId } = await world.server.steps.startCheckpoint(vault.id)
      await until('a running task', async () => ((await world.server.steps.taskOf(checkpointId)).status === 'waiting' ? undefined : true))
      await kill(world, victim)
      await calm(world)
      assert.equal((await world.server.steps.taskOf(checkpointId)).status, 'success')
      await assertWhole(world, vault.id)
    }
    assert.equal((await world.server.call('DELETE', `${agents}/${id}`)).status, 200)
    await kill(world, 'server')
    await calm(world)
    assert.equal((await world.server.call('GET', `${agents}/${id}`)).status, 404)
    const { backups } = await world.server.steps.get<{ backups: unknown[] }>(`/v3/{project_id}/backups?vault_id=${vault.id}`)
    assert.deepEqual(backups, [])
    assert.deepEqual((await world.server.steps.vault(vault.id)).resources, [])
  })
})
