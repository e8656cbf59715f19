/**
 * Tasks that are cancelled, retried, and given up; with the real agent. Somebody else's lock in the
 * repository keeps a job running for as long as a test needs it: the job waits for it, and nothing moves.
 */
import assert from 'node:assert/strict'
import { randomBytes, randomFillSync } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openRepository } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { startTestService } from '@opencbr/testkit'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { addUser, create } from './support/tenants.ts'

const MIB = 1024 * 1024

interface Task {
  readonly id: string
  readonly status: string
  readonly error_info: { readonly code: string, readonly message: string }
}

async function makeFolder(root: string, name: string, mebibytes = 1): Promise<string> {
  const folder = join(root, name)
  await fs.mkdir(folder, { recursive: true })
  for (let at = 0; at < mebibytes; at += 1) await fs.writeFile(join(folder, `part-${at}`), randomFillSync(Buffer.alloc(MIB)))
  return folder
}

/** A lock as another program on another machine would hold it. */
async function lockOut(kit: { repository: string, password: string }): Promise<AsyncDisposable> {
  const repository = await openRepository(localStorage(kit.repository), { password: kit.password })
  const lock = await repository.lock({ exclusive: true, hostname: 'elsewhere' })
  return {
    async [Symbol.asyncDispose]() {
      await lock[Symbol.asyncDispose]()
      await repository[Symbol.asyncDispose]()
    },
  }
}

async function cancel({ service }: BackupService, id: string): Promise<Task> {
  const { status, body } = await service.call<{ operation_log: Task }>('POST', `/x/v1/{project_id}/tasks/${id}/cancel`)
  assert.equal(status, 202, JSON.stringify(body))
  return body.operation_log
}

async function retry({ service }: BackupService, id: string): Promise<Task> {
  const { status, body } = await service.call<{ operation_log: Task }>('POST', `/x/v1/{project_id}/tasks/${id}/retry`)
  assert.equal(status, 202, JSON.stringify(body))
  return body.operation_log
}

async function refused({ service }: BackupService, path: string, words: RegExp, status = 400): Promise<void> {
  const answer = await service.call<{ error_msg: string }>('POST', path)
  assert.equal(answer.status, status)
  assert.match(answer.body.error_msg, words)
}

function assertWhole(kit: { repository: string, password: string }): void {
  restic(resticBinaries().at(-1) ?? 'restic', kit.repository, kit.password).run('check', '--no-lock', '--read-data')
}

async function assertNothingBetween({ service }: BackupService): Promise<void> {
  const { db } = service.service.deps
  assert.deepEqual(await db.selectFrom('jobs').select('id').where('status', 'in', ['waiting', 'leased']).execute(), [])
  assert.deepEqual(await db.selectFrom('backups').select('status').where('status', 'not in', ['available', 'error']).execute(), [])
  assert.deepEqual(await db.selectFrom('vault_resources').select('protect_status').where('protect_status', '!=', 'available').execute(), [])
  assert.deepEqual(await db.selectFrom('checkpoints').select('status').where('status', 'not in', ['available', 'error']).execute(), [])
}

test('a task that waits never starts, and leaves everything as it was', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, service } = world
  const resource = await steps.declare(await makeFolder(world.root, 'folder'))
  const vaultId = await steps.createVault('turbo', [resource])
  const checkpoint = await steps.startCheckpoint(vaultId)
  const task = await cancel(world, (await steps.taskOf(checkpoint.id)).id)
  assert.equal(task.status, 'failed')
  assert.match(task.error_info.message, /^Cancelled before it ran/)
  assert.equal((await steps.checkpointEnd(checkpoint.id)).status, 'error')
  await assertNothingBetween(world)
  await refused(world, `/x/v1/{project_id}/tasks/${task.id}/cancel`, /has ended already, as failed/)

  // A deletion that is cancelled before it begins has not happened.
  const [backup] = await steps.backupsOf(checkpoint.id)
  assert.ok(backup !== undefined)
  await steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
  const [deletion] = await steps.tasks('operation_type=delete')
  assert.equal((await cancel(world, deletion?.id ?? '')).status, 'failed')
  assert.equal((await steps.backup(backup.id)).status, 'error')
  await steps.send('POST', `/v3/{project_id}/vaults/${vaultId}/removeresources`, { resource_ids: [resource] }, 200)
  const [removal] = await steps.tasks('operation_type=remove_resource')
  await cancel(world, removal?.id ?? '')
  assert.equal((await steps.vault(vaultId)).resources[0]?.protect_status, 'available')
  await steps.send('DELETE', `/v3/{project_id}/vaults/${vaultId}`, undefined, 204)
  const [end] = await steps.tasks('operation_type=vault_delete')
  await cancel(world, end?.id ?? '')
  assert.equal((await steps.vault(vaultId)).billing.status, 'available')
  await assertNothingBetween(world)

  assert.equal((await service.call('POST', `/x/v1/{project_id}/tasks/${'0'.repeat(8)}-0000-4000-8000-${'0'.repeat(12)}/cancel`)).status, 404)
  await refused(world, '/x/v1/{project_id}/tasks/nonsense/cancel', /not a UUID/)
})

test('a running task stops when it is cancelled, and can be retried', async () => {
  await using world = await startBackupService()
  const { steps } = world
  const folder = await makeFolder(world.root, 'folder')
  const resource = await steps.declare(folder)
  const vaultId = await steps.createVault('turbo', [resource])
  await steps.backUp(vaultId)
  const kit = await steps.recoveryKit(vaultId)

  let cancelled: Task
  {
    await using _lock = await lockOut(kit)
    const checkpoint = await steps.startCheckpoint(vaultId, { name: 'wanted', description: 'why' })
    const task = await until('a running task', async () => {
      const now = await steps.taskOf(checkpoint.id)
      return now.status === 'running' ? now : undefined
    })
    await cancel(world, task.id)
    cancelled = await steps.taskEnd(task.id)
    assert.equal(cancelled.status, 'failed')
    assert.match(cancelled.error_info.message, /^Cancelled while it was running/)
    assert.equal((await steps.checkpointEnd(checkpoint.id)).status, 'error')
    await assertNothingBetween(world)
  }
  assertWhole(kit)

  const again = await retry(world, cancelled.id)
  assert.notEqual(again.id, cancelled.id)
  const ended = await steps.taskEnd(again.id)
  assert.equal(ended.status, 'success', ended.error_info.message)
  const backup = await steps.backup(ended.extra_info.backup?.backup_id ?? '')
  assert.deepEqual([backup.name, backup.status], ['wanted', 'available'])
  await refused(world, `/x/v1/{project_id}/tasks/${again.id}/retry`, /only what failed, timed out or was cancelled/)

  // What takes backups out goes on to its end.
  {
    await using _lock = await lockOut(kit)
    await steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
    const deletion = await until('a running deletion', async () => (await steps.tasks('operation_type=delete&status=running'))[0])
    await refused(world, `/x/v1/{project_id}/tasks/${deletion.id}/cancel`, /being removed already/)
  }
  const [deletion] = await steps.tasks('operation_type=delete')
  assert.equal((await steps.taskEnd(deletion?.id ?? '')).status, 'success')
})

test('a cancelled restore is retried to the same place', async () => {
  await using world = await startBackupService()
  const { steps } = world
  const folder = await makeFolder(world.root, 'folder')
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const [backup] = await steps.backUp(vaultId)
  assert.ok(backup !== undefined)
  const destination = join(world.root, 'back')
  let task: Task
  {
    await using _lock = await lockOut(await steps.recoveryKit(vaultId))
    const id = await steps.startRestore(backup.id, { details: { destination_path: destination } })
    await until('a running restore', async () => ((await steps.tasks('operation_type=restore&status=running')).length > 0 ? true : undefined))
    await cancel(world, id)
    task = await steps.taskEnd(id)
    assert.equal(task.status, 'failed')
    assert.equal((await steps.backup(backup.id)).status, 'available')
    await assertNothingBetween(world)
  }
  assert.equal((await steps.taskEnd((await retry(world, task.id)).id)).status, 'success')
  assert.deepEqual(await fs.readFile(join(destination, 'part-0')), await fs.readFile(join(folder, 'part-0')))
})

test('backups that are cancelled at any moment leave a whole repository', { timeout: 120_000 }, async () => {
  await using world = await startBackupService()
  const { steps } = world
  const folder = await makeFolder(world.root, 'folder', 48)
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const kit = await steps.recoveryKit(vaultId)
  let cancelled = 0
  for (const files of [1, 4, 7, 9]) {
    for (const name of await fs.readdir(folder)) await fs.writeFile(join(folder, name), randomBytes(MIB))
    const count = async (): Promise<number> => (await fs.readdir(kit.repository, { recursive: true }).catch(() => [])).length
    const before = await count()
    const checkpoint = await steps.startCheckpoint(vaultId)
    const { id } = await steps.taskOf(checkpoint.id)
    const isOver = async (): Promise<boolean> => !['waiting', 'running'].includes((await steps.taskOf(checkpoint.id)).status)
    await until('some files', async () => (await count() >= before + files || await isOver() ? true : undefined))
    if (!await isOver()) await world.service.call('POST', `/x/v1/{project_id}/tasks/${id}/cancel`)
    const task = await steps.taskEnd(id)
    if (task.status === 'failed') cancelled += 1
    await assertNothingBetween(world)
    if ((await steps.vault(vaultId)).billing.used > 0) assertWhole(kit)
  }
  assert.ok(cancelled > 0, 'no backup was cancelled in time')
  assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
  assertWhole(kit)
})

test('a task that shows no sign of going on ends as timeout, and the next one runs', async () => {
  await using first = await startBackupService()
  const { root, dataDir } = first
  const vaultId = await first.steps.createVault('turbo', [await first.steps.declare(await makeFolder(root, 'folder'))])
  await first.steps.backUp(vaultId)
  await first.service[Symbol.asyncDispose]()

  let stuck: string
  {
    // Only what waits here may be impatient: on a busy machine real work may be quiet for seconds.
    await using impatient = await startBackupService({ root, dataDir }, { agent: { aliveEveryMs: 1000, stuckAfterMs: 2000, lockPatienceMs: 600_000 } })
    const { steps } = impatient
    await using _lock = await lockOut(await steps.recoveryKit(vaultId))
    const checkpoint = await steps.startCheckpoint(vaultId)
    const task = await steps.taskEnd((await steps.taskOf(checkpoint.id)).id)
    assert.equal(task.status, 'timeout')
    assert.match(task.error_info.message, /no sign of going on/)
    assert.equal((await steps.checkpointEnd(checkpoint.id)).status, 'error')
    await assertNothingBetween(impatient)
    assert.deepEqual((await steps.tasks('status=timeout')).map((each) => each.id), [task.id])
    stuck = task.id
  }
  await using patient = await startBackupService({ root, dataDir })
  assert.equal((await patient.steps.taskEnd((await retry(patient, stuck)).id)).status, 'success')
})

test('in one vault one backup runs at a time, and two vaults do not wait for each other', async () => {
  await using world = await startBackupService(undefined, { config: { jobsPerAgent: 4 } })
  const { steps } = world
  const [one, two, three] = await Promise.all(['one', 'two', 'three'].map(async (name) => steps.declare(await makeFolder(world.root, name))))
  assert.ok(one !== undefined && two !== undefined && three !== undefined)
  const first = await steps.createVault('turbo', [one, two])
  const second = await steps.createVault('turbo', [three])
  await steps.backUp(first)
  await steps.backUp(second)
  {
    await using _first = await lockOut(await steps.recoveryKit(first))
    await using _second = await lockOut(await steps.recoveryKit(second))
    await steps.startCheckpoint(first)
    await steps.startCheckpoint(second)
    await until('a running task in either vault', async () => {
      const running = await steps.tasks('status=running')
      return running.some((task) => task.vault_id === first) && running.some((task) => task.vault_id === second) ? true : undefined
    })
    const waiting = await steps.tasks('status=waiting')
    assert.deepEqual(waiting.map((task) => task.vault_id), [first])
  }
  await until('the end', async () => ((await steps.tasks('status=waiting&status=running')).length === 0 ? true : undefined))
  await assertNothingBetween(world)
})

test('whoever retries or cancels a task needs the action of what the task does', async () => {
  const root = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await using service = await startTestService({ agent: 'none', config: { allowPaths: [root] } })
    const { body: { resource } } = await service.call<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', { resource: { type: 'OS::Sfs::Turbo', path: root } })
    const { body: { vault } } = await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
      vault: {
        name: 'docs', resources: [{ id: resource.id, type: 'OS::Sfs::Turbo' }],
        billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' },
      },
    })
    const cancelled = async (type: string): Promise<string> => {
      const { body } = await service.call<{ operation_logs: { id: string }[] }>('GET', `/v3/{project_id}/operation-logs?operation_type=${type}&status=waiting`)
      const id = body.operation_logs[0]?.id ?? ''
      assert.equal((await service.call('POST', `/x/v1/{project_id}/tasks/${id}/cancel`)).status, 202)
      return id
    }
    await service.call('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vault.id } })
    const backup = await cancelled('backup')
    const { body: { backups } } = await service.call<{ backups: { id: string }[] }>('GET', '/v3/{project_id}/backups')
    assert.equal((await service.call('DELETE', `/v3/{project_id}/backups/${backups[0]?.id}`)).status, 204)
    const deletion = await cancelled('delete')

    await create(service, '/x/v1/roles', 'role', { name: 'retrier', actions: ['cbr:tasks:*', 'cbr:backups:delete'] })
    const { token } = await addUser(service, { name: 'retrier', project: { id: service.projectId }, role: 'retrier' })
    const retryAs = (id: string) => service.call<{ error_msg: string }>('POST', `/x/v1/{project_id}/tasks/${id}/retry`, undefined, { headers: { 'x-auth-token': token } })
    const denied = await retryAs(backup)
    assert.deepEqual([denied.status, denied.body.error_msg], [403, 'The action cbr:vaults:backup is not permitted.'])
    assert.equal((await retryAs(deletion)).status, 202)

    // Nor have it stopped.
    await service.call('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vault.id } })
    const { body: { operation_logs: waiting } } = await service.call<{ operation_logs: { id: string, operation_type: string }[] }>('GET', '/v3/{project_id}/operation-logs?status=waiting')
    const stopAs = async (type: string): Promise<unknown> => {
      const { id } = waiting.find((task) => task.operation_type === type) ?? { id: '' }
      return (await service.call('POST', `/x/v1/{project_id}/tasks/${id}/cancel`, undefined, { headers: { 'x-auth-token': token } })).status
    }
    assert.deepEqual([await stopAs('backup'), await stopAs('delete')], [403, 202])
  } finally {
    await fs.rm(root, { recursive: true, force: true })
  }
})
