/**
 * Processes that are killed. Whatever dies, and whenever: afterwards everything has ended or goes on,
 * nothing stays in between, what is called available is whole, and the next run works.
 *
 * Moments are chosen by what has happened so far (files in the repository, progress of the task), from
 * seeds that a failure prints.
 */
import assert from 'node:assert/strict'
import { createHash, randomFillSync } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { startBackupService, until } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { startServerProcess, type ServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024
const SOURCE_MIB = 64

/** A small generator of numbers from 0 up to 1: the same ones for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function fillFolder(folder: string): Promise<void> {
  await fs.mkdir(folder, { recursive: true })
  const content = Buffer.alloc(4 * MIB)
  for (let at = 0; at < SOURCE_MIB; at += 4) await fs.writeFile(join(folder, `part-${at}`), randomFillSync(content))
}

/** One text for the names and contents of a folder's files. */
async function digestOf(folder: string): Promise<string> {
  const digest = createHash('sha256')
  for (const name of (await fs.readdir(folder)).toSorted()) digest.update(name).update('\0').update(await fs.readFile(join(folder, name)))
  return digest.digest('hex')
}

async function countFiles(directory: string): Promise<number> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isFile()).length
}

/** Snapshots that are there whole: one that is being written has another name until it is. */
async function countSnapshots({ repository }: Pick<World, 'repository'>): Promise<number> {
  const names = await fs.readdir(join(repository, 'snapshots')).catch(() => [])
  return names.filter((name) => /^[0-9a-f]{64}$/.test(name)).length
}

interface World {
  readonly root: string
  readonly dataDir: string
  readonly folder: string
  server: ServerProcess
  vaultId: string
  repository: string
  password: string
}

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-crash-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  const folder = join(root, 'folder')
  await fillFolder(folder)
  const server = await startServerProcess({ dataDir, allowPaths: [root] })
  const world: World = { root, dataDir, folder, server, vaultId: '', repository: '', password: '' }
  try {
    world.vaultId = await server.steps.createVault('turbo', [await server.steps.declare(folder)])
    Object.assign(world, await server.steps.recoveryKit(world.vaultId))
    await run(world)
  } finally {
    await world.server[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
  }
}

/** Kills a process by its id; one that has ended by itself meanwhile is as dead. */
function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}

type Victim = 'server' | 'agent' | 'both'

async function kill(world: World, victim: Victim): Promise<void> {
  if (victim !== 'server') for (const pid of world.server.agentPids()) killHard(pid)
  if (victim === 'agent') return
  world.server.signal('SIGKILL')
  await world.server.ended
  world.server = await startServerProcess({ dataDir: world.dataDir, allowPaths: [world.root] })
}

/** Every task has ended, however it did. */
async function calm({ server }: World): Promise<void> {
  for (const status of ['waiting', 'running']) {
    await until(`no task is ${status}`, async () => ((await server.steps.tasks(`status=${status}`)).length === 0 ? true : undefined))
  }
}

/** Looks into the catalogue itself: the API might hide what is stuck. */
function assertNothingBetween(dataDir: string): void {
  const catalogue = new DatabaseSync(join(dataDir, 'catalogue.db'), { readOnly: true })
  try {
    const between = {
      jobs: `select status from jobs where status in ('waiting', 'leased')`,
      backups: `select status from backups where status not in ('available', 'error')`,
      checkpoints: `select status from checkpoints where status not in ('available', 'error')`,
      vaults: `select status from vaults where status != 'available'`,
      vault_resources: `select protect_status from vault_resources where protect_status != 'available'`,
      operation_logs: `select status from operation_logs where status not in ('success', 'failed')`,
      'ended tasks without an end': 'select id from operation_logs where ended_at is null or started_at is null',
    }
    for (const [what, query] of Object.entries(between)) assert.deepEqual(catalogue.prepare(query).all(), [], what)
  } finally {
    catalogue.close()
  }
}

interface ListedBackup {
  readonly id: string
  readonly status: string
  readonly extend_info: { readonly snapshot_id: string | null }
}

/** What is called available is in the repository, and stock restic finds nothing amiss with any of it. */
async function assertAvailableIsWhole(world: World): Promise<ListedBackup[]> {
  const { backups } = await world.server.steps.get<{ backups: ListedBackup[] }>(`/v3/{project_id}/backups?vault_id=${world.vaultId}`)
  if (await countSnapshots(world) > 0) {
    const program = restic(resticBinaries().at(-1) ?? 'restic', world.repository, world.password)
    program.run('check', '--no-lock', '--read-data')
    const snapshots = JSON.parse(program.run('snapshots', '--no-lock', '--json').stdout.toString()) as { id: string, tags: string[] }[]
    for (const backup of backups.filter((each) => each.status === 'available')) {
      const own = snapshots.filter((each) => each.tags.includes(`opencbr:backup=${backup.id}`))
      assert.ok(own.some((each) => each.id === backup.extend_info.snapshot_id), `the snapshot of ${backup.id}`)
    }
    const known = new Set(backups.map((each) => each.id))
    for (const each of snapshots) {
      const id = each.tags.find((tag) => tag.startsWith('opencbr:backup='))?.slice('opencbr:backup='.length)
      assert.ok(id !== undefined && known.has(id), `snapshot ${each.id} belongs to no backup`)
    }
  } else {
    assert.deepEqual(backups.filter((each) => each.status === 'available'), [])
  }
  return backups
}

/** Waits until the repository has changed so often, or what is going on is over. */
async function untilFiles(world: World, taskId: string, change: (files: number) => boolean): Promise<void> {
  for (;;) {
    if (change(await countFiles(world.repository))) return
    const { operation_log: task } = await world.server.steps.get<{ operation_log: { status: string } }>(`/v3/{project_id}/operation-logs/${taskId}`)
    if (task.status !== 'waiting' && task.status !== 'running') return
    await sleep(1)
  }
}

test('backups survive the death of server and agent at any moment', { timeout: 400_000 }, async (t) => {
  await withWorld(async (world) => {
    const contents = new Map<string, string>()
    for (const seed of [40, 44, 45, 49, 51, 54]) {
      await t.test(`seed ${seed}`, async () => {
        const random = randomFrom(seed)
        // A run adds some eight files: the lock, packs, their index, the snapshot. Zero is right away.
        const added = Math.floor(random() * 10)
        const victim = (['server', 'agent', 'both'] as const)[Math.floor(random() * 3)] ?? 'both'
        await fillFolder(world.folder)
        const digest = await digestOf(world.folder)
        const before = await countFiles(world.repository)
        const { id } = await world.server.steps.startCheckpoint(world.vaultId)
        const task = await world.server.steps.taskOf(id)
        if (added > 0) await untilFiles(world, task.id, (files) => files >= before + added)
        await kill(world, victim)
        await calm(world)
        assertNothingBetween(world.dataDir)
        for (const backup of await assertAvailableIsWhole(world)) {
          if (!contents.has(backup.id)) contents.set(backup.id, digest)
        }
        const ended = await world.server.steps.taskOf(id)
        assert.equal(ended.status, 'success', `killed once, the run goes on: ${ended.error_info.message}`)
      })
    }
    for (const [id, digest] of contents) {
      const destination = join(world.root, `back-${id}`)
      assert.equal((await world.server.steps.restore(id, { details: { destination_path: destination } })).status, 'success')
      assert.equal(await digestOf(destination), digest, `the content of ${id}`)
      await fs.rm(destination, { recursive: true })
    }
    assert.equal(contents.size, 6)
  })
})

test('a server that dies between the snapshot and its record makes no second one', { timeout: 120_000 }, async () => {
  await withWorld(async (world) => {
    const { id } = await world.server.steps.startCheckpoint(world.vaultId)
    while (await countSnapshots(world) === 0) await sleep(1)
    await kill(world, 'both')
    await calm(world)
    assertNothingBetween(world.dataDir)
    const [backup] = await assertAvailableIsWhole(world)
    assert.equal(backup?.status, 'available')
    assert.equal(await countSnapshots(world), 1)
    assert.equal((await world.server.steps.taskOf(id)).status, 'success')
    assert.ok((await world.server.steps.vault(world.vaultId)).billing.used >= SOURCE_MIB)
  })
})

test('restores survive the death of server and agent, and bring back everything', { timeout: 200_000 }, async (t) => {
  await withWorld(async (world) => {
    const digest = await digestOf(world.folder)
    const [backup] = await world.server.steps.backUp(world.vaultId)
    assert.ok(backup !== undefined)
    for (const seed of [21, 22, 23]) {
      await t.test(`seed ${seed}`, async () => {
        const random = randomFrom(seed)
        const victim = (['agent', 'server', 'both'] as const)[Math.floor(random() * 3)] ?? 'both'
        const files = Math.floor(random() * (SOURCE_MIB / 4))
        const destination = join(world.root, `back-${seed}`)
        const taskId = await world.server.steps.startRestore(backup.id, { details: { destination_path: destination } })
        await until('some files', async () => (await countFiles(destination) >= files ? true : undefined))
        await kill(world, victim)
        const task = await world.server.steps.taskEnd(taskId)
        assert.equal(task.status, 'success', task.error_info.message)
        await calm(world)
        assertNothingBetween(world.dataDir)
        assert.equal(await digestOf(destination), digest)
      })
    }
    await assertAvailableIsWhole(world)
  })
})

test('deletions survive the death of server and agent, and take rows and snapshots alike', { timeout: 200_000 }, async (t) => {
  await withWorld(async (world) => {
    const deaths: [Victim, 'at once' | 'when it is locked' | 'when the snapshot is gone'][] = [
      ['server', 'at once'], ['agent', 'when it is locked'], ['both', 'when it is locked'],
      ['server', 'when the snapshot is gone'], ['agent', 'when the snapshot is gone'],
    ]
    for (const [victim, moment] of deaths) {
      await t.test(`${victim}, ${moment}`, async () => {
        const [backup] = await world.server.steps.backUp(world.vaultId)
        assert.ok(backup !== undefined)
        const snapshots = await countSnapshots(world)
        const locks = join(world.repository, 'locks')
        const known = new Set(await fs.readdir(locks))
        await world.server.steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
        if (moment === 'when it is locked') {
          while ((await fs.readdir(locks)).every((name) => known.has(name)) && await countSnapshots(world) === snapshots) await sleep(1)
        }
        if (moment === 'when the snapshot is gone') {
          while (await countSnapshots(world) === snapshots) await sleep(1)
        }
        await kill(world, victim)
        await calm(world)
        assertNothingBetween(world.dataDir)
        assert.equal((await world.server.call('GET', `/v3/{project_id}/backups/${backup.id}`)).status, 404)
        await assertAvailableIsWhole(world)
      })
    }
    await world.server.steps.backUp(world.vaultId)
    await world.server.steps.send('DELETE', `/v3/{project_id}/vaults/${world.vaultId}`, undefined, 204)
    await kill(world, 'both')
    await until('the vault is gone', async () => ((await world.server.call('GET', `/v3/{project_id}/vaults/${world.vaultId}`)).status === 404 ? true : undefined))
    await assert.rejects(fs.stat(world.repository))
  })
})

test('work that its agent never survives fails clearly after three attempts, and other work goes on', { timeout: 200_000 }, async () => {
  await withWorld(async (world) => {
    const { steps } = world.server
    const { id } = await steps.startCheckpoint(world.vaultId)
    const dead = new Set<number>()
    const task = await until('the end of the task', async () => {
      const now = await steps.taskOf(id)
      if (now.status === 'failed' || now.status === 'success') return now
      const attempts = attemptsOf(world.dataDir)
      // Only an agent that has leased the job: one that has nothing to do would not count.
      if (attempts > dead.size) {
        for (const pid of world.server.agentPids().filter((each) => !dead.has(each))) {
          dead.add(pid)
          killHard(pid)
        }
      }
      return undefined
    })
    assert.equal(task.status, 'failed')
    assert.match(task.error_info.message, /died 3 times/)
    assert.equal(dead.size, 3)
    await calm(world)
    assertNothingBetween(world.dataDir)
    assert.equal((await steps.backUp(world.vaultId))[0]?.status, 'available')
    await assertAvailableIsWhole(world)
  })
})

function attemptsOf(dataDir: string): number {
  const catalogue = new DatabaseSync(join(dataDir, 'catalogue.db'), { readOnly: true })
  try {
    return Number(catalogue.prepare(`select max(attempts) as most from jobs where status = 'leased'`).get()?.['most'] ?? 0)
  } finally {
    catalogue.close()
  }
}

test('an agent that hangs is killed, and its work is done by the next one', { timeout: 120_000 }, async () => {
  await using world = await startBackupService(undefined, { agent: { aliveEveryMs: 500 } })
  const folder = join(world.root, 'folder')
  await fillFolder(folder)
  const vaultId = await world.steps.createVault('turbo', [await world.steps.declare(folder)])
  const { id } = await world.steps.startCheckpoint(vaultId)
  const stopped = await until('a working agent', async () => {
    if ((await world.steps.taskOf(id)).status !== 'running') return undefined
    const [pid] = (await fs.readFile(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')).split(' ').filter((each) => each !== '')
    return pid === undefined ? undefined : Number(pid)
  })
  process.kill(stopped, 'SIGSTOP')
  assert.equal((await world.steps.checkpointEnd(id)).status, 'available')
})
